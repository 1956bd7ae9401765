"""Random stores in which somebody speaks for a child, or is only said to; and random requests of theirs."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from tests.consent_engine.build import LOINC, actor, concept, consent, deny, obligation, permit
from tests.noninterference.agreements import ORGANIZATIONS, Json, periods, rarely
from tests.noninterference.oracle import User
from tests.noninterference.world import ROLE_CODE, Step, World, worlds

RELATIONS = ["MTH", "MTH", "FTH", "GUARD", "HPOWATT", "FRND"]
BIRTHS = ["2015-02-28"] * 4 + ["2015", "2008-06-15", "2008-06-16", "2008", "1980", None]


@st.composite
def guarded(draw: st.DrawFn, prefix: str) -> World:
    """Draw a world in which somebody is written down as related to a child: mostly rightly, and by who keeps the child."""
    world = draw(worlds(prefix))
    child, related = draw(st.sampled_from(world.patients)), f"{prefix}-rp1"
    last = {(step.type, step.id): step for group in world.groups for step in group}
    kept = last.get(("Patient", child)) or Step("Patient", child, None, "h1")
    elsewhere = draw(st.integers(0, 4)) == 0
    recorded = last.get(("RelatedPerson", related))
    by = recorded.organization if recorded else draw(st.sampled_from(ORGANIZATIONS)) if elsewhere else kept.organization
    steps = [
        replace(kept, resource=_child(draw, child, kept.resource)),
        Step("RelatedPerson", related, _related(draw, child, related), by),
        Step("Consent", f"{prefix}-csg", _about(draw, child, related), "h1", by_patient=True),
    ]
    places = dict.fromkeys([*world.places, *((each.type, each.id) for each in steps)])
    return replace(world, groups=[*world.groups, steps], places=list(places))


def _child(draw: st.DrawFn, id: str, known: Json | None) -> Json:
    born = draw(st.sampled_from(BIRTHS))
    said = {name: value for name, value in (known or {"name": [{"family": "张"}]}).items() if name != "birthDate"}
    return {**said, "resourceType": "Patient", "id": id, **({"birthDate": born} if born else {})}


def _related(draw: st.DrawFn, child: str, id: str) -> Json:
    return {
        "resourceType": "RelatedPerson",
        "id": id,
        "patient": {"reference": f"Patient/{child}"},
        "relationship": [concept(ROLE_CODE, draw(st.sampled_from(RELATIONS)))],
        **({"period": draw(periods)} if draw(rarely) else {}),
        **({"active": False} if draw(rarely) else {}),
    }


def _about(draw: st.DrawFn, child: str, related: str) -> Json:
    """Return what the child's Consents say of who is related to them: of their Consents it changes nothing."""
    withheld = draw(st.sampled_from([["Consent.provision"], ["Consent.provision", "Patient.name"], []]))
    provisions = [
        permit(extension=[obligation("REDACT", each) for each in withheld]) if withheld else permit(),
        deny(),
    ]
    said = {**draw(st.sampled_from(provisions)), "actor": [actor(f"RelatedPerson/{related}")]}
    return consent(said, patient={"reference": f"Patient/{child}"}, category=[concept(LOINC, "59284-0")])


@st.composite
def guardians(draw: st.DrawFn, world: World) -> User:
    """Draw who asks as the one who is related to the child."""
    context = f"Patient/{draw(st.sampled_from(world.patients))}"
    scope = draw(st.sampled_from(["user/*.cruds"] * 3 + ["user/Consent.rs user/Patient.r", "patient/*.cruds"]))
    purpose = draw(st.sampled_from(["PATRQT"] * 3 + ["TREAT", "ETREAT"]))
    user = f"RelatedPerson/{world.patients[0].partition('-')[0]}-rp1"
    return User("related-person", user, draw(st.sampled_from(ORGANIZATIONS)), purpose, scope, context)
