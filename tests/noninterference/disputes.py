"""Random stores in which Consents contradict each other, so that it matters which of them counts."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.consent_engine.build import LOINC, TYPES, coding, concept, consent
from tests.noninterference.agreements import CLASSES, codes, dates
from tests.noninterference.world import Step, World, worlds


@st.composite
def disputed(draw: st.DrawFn, prefix: str) -> World:
    """Draw a world in which every patient has permitted and denied much of the same, once before and once after."""
    world = draw(worlds(prefix))
    groups = [[each for each in group if each.type != "Consent"] for group in world.groups]
    said = [step for n, id in enumerate(world.patients) for step in _both(draw, f"{prefix}-cs{n}", id)]
    places = [each for each in world.places if each[0] != "Consent"] + [(each.type, each.id) for each in said]
    return World([group for group in (*groups, said) if group], world.patients, places)


def _both(draw: st.DrawFn, id: str, patient: str) -> list[Step]:
    narrowed = st.one_of(
        st.just({}),
        codes.map(lambda code: {"code": [code]}),
        st.sampled_from(CLASSES).map(lambda type: {"class": [coding(TYPES, type)]}),
    )
    steps = []
    for n, kind in enumerate(draw(st.sampled_from([("permit", "deny"), ("permit", "deny", "permit")]))):
        said = {"type": kind, **draw(narrowed)}
        made = consent(said, patient={"reference": f"Patient/{patient}"}, category=[concept(LOINC, "59284-0")])
        dated = {"dateTime": draw(dates)} if draw(st.integers(0, 5)) else {}
        steps.append(Step("Consent", f"{id}{n}", {**made, "id": f"{id}{n}", **dated}, "h1", by_patient=True))
    return steps
