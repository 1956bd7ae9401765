"""What those who keep Consents are told of the ones at fault, over random worlds (fhir_server/interactions/keepers.py).

Everybody else finds such a Communication as little as one that was never written. What it says, and whether it is written,
follows from the Consent and from what its keeper keeps: a Group, a RelatedPerson or a date of birth that another
institution has stored changes nothing in it, and nothing of what stands in the Consent is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.fhir_json import parse
from fhir_server.interactions.keepers import tell_of_lapsed, tell_of_written
from fhir_server.store.commit import Unit
from fhir_server.store.drafts import Written
from fhir_server.store.instants import microseconds
from tests.consent_engine.build import ACT_CODE, LOINC, actor, codings, concept, consent, obligation, permit
from tests.noninterference.agreements import ORGANIZATIONS, Json
from tests.noninterference.conftest import random_examples
from tests.noninterference.filled import EVERYTHING, Store
from tests.noninterference.oracle import NOW, User
from tests.noninterference.pair import Asked, Pair, visible
from tests.noninterference.questions import batch, users
from tests.noninterference.world import Step, World, worlds
from tests.noninterference.written import Records, Version

SYSTEM_SCOPES, AUDITOR_SCOPES = "system/*.cruds", "user/*.rs"


@st.composite
def resting(draw: st.DrawFn, prefix: str) -> World:
    """Draw Consents at fault or not, and what they rest on, each kept by any institution, or never written."""
    patient, proxy = f"{prefix}-pa1", f"{prefix}-rp1"
    to = {"reference": f"Patient/{patient}"}
    birth = draw(st.sampled_from([{}, {"birthDate": "1980"}, {"birthDate": "2008"}, {"birthDate": "2015-02-28"}]))
    member = {"entity": {"reference": draw(st.sampled_from(["Practitioner/dr1", f"Group/{prefix}-gr2"]))}}
    coded = {"status": "finished", "class": {"code": "A"}, "subject": to}
    ended = draw(st.sampled_from([{}, {}, {"active": False}, {"period": {"end": "2026-01"}}]))
    facts: list[Json] = [
        {"resourceType": "Patient", "id": patient, **birth},
        {"resourceType": "RelatedPerson", "id": proxy, "patient": to, **ended},
        {"resourceType": "Group", "id": f"{prefix}-gr1", "type": "person", "actual": True, "member": [member]},
        {"resourceType": "Encounter", "id": f"{prefix}-en1", **coded},
    ]
    written = [each for each in facts if draw(st.integers(0, 5))]
    written += [_resting_consent(draw, prefix, number) for number in range(draw(st.integers(1, 3)))]
    keepers = st.sampled_from(ORGANIZATIONS)
    steps = [
        Step(each["resourceType"], each["id"], each, draw(keepers), by_patient=draw(st.booleans())) for each in written
    ]
    return World([steps], [patient], [(each.type, each.id) for each in steps])


def _resting_consent(draw: st.DrawFn, prefix: str, number: int) -> Json:
    deny = {"type": "deny", "code": [concept(LOINC, "4548-4")]}
    provision = draw(
        st.sampled_from(
            [
                permit(actor=[actor(f"Group/{prefix}-gr1")]),
                permit(provision=[{**deny, "actor": [actor(f"Group/{prefix}-gr1")]}]),
                permit(data=[{"meaning": "related", "reference": {"reference": f"Encounter/{prefix}-en1"}}]),
                permit(purpose=codings("urn:x", "unknown")),
                permit(period={"end": "2020"}),
                permit(extension=[obligation("REDACT", "Consent.provision")]),
                permit(),
            ]
        )
    )
    made = consent(provision, patient={"reference": f"Patient/{prefix}-pa1"}, category=[concept(LOINC, "59284-0")])
    given = draw(st.sampled_from([{}, {}, {"policyRule": concept(ACT_CODE, "OPTOUT")}]))
    proxy = {"performer": [{"reference": f"RelatedPerson/{prefix}-rp1"}]} if draw(st.booleans()) else {}
    return {**made, "id": f"{prefix}-cs{number}", **given, **proxy}


def made(prefix: str) -> st.SearchStrategy[World]:
    """Return worlds; most are small, of what Consents rest on."""
    return st.integers(0, 3).flatmap(lambda n: resting(prefix) if n else worlds(prefix))


def tell(store: Store, consents: Sequence[Version]) -> dict[str, Json]:
    """Have those who keep these Consents told as when they are stored and when they are met; return all messages by id."""
    use, at = store.parts.services, microseconds(NOW)

    async def told() -> dict[str, Json]:
        found = await use.resources.many("Consent", [each.id for each in consents], EVERYTHING)
        contents = await use.resources.opened("Consent", list(found.values()))
        written = [
            Written("Consent", each["_id"], each["v"], each["at"], body, each)
            for each, body in zip(found.values(), contents, strict=True)
        ]
        unit = Unit()
        await tell_of_written(use, written, unit, at=at)
        await tell_of_lapsed(use, [(each.id, str(each.version)) for each in written], unit, at=at)
        await use.committer.commit(unit)
        documents = store.database["Communication"].find().to_list()
        bodies = await use.resources.opened("Communication", documents)
        return {each["_id"]: parse(body) for each, body in zip(documents, bodies, strict=True)}

    result: dict[str, Json] = store.run(told())
    return result


def consents_of(records: Records, organization: str | None = None) -> list[Version]:
    """Return the Consents that there are, of one institution or of all."""
    kept = [each for each in records.current() if each.type == "Consent"]
    return [each for each in kept if organization in (None, each.organization)]


def leaves(value: Any) -> Iterator[str]:
    """Yield every text that stands in a resource."""
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from leaves(each)


@settings(random_examples, max_examples=max(15, random_examples.max_examples // 4))
@given(st.data())
def test_a_message_follows_from_what_its_keeper_keeps_alone(servers: Pair, data: st.DataObject) -> None:
    """The other server holds what one institution has stored, and nothing else; its systems and auditors ask both."""
    world = data.draw(made(servers.fresh()), label="world")
    servers.store_a.write(world)
    records, organization = Records.of(world), data.draw(st.sampled_from(ORGANIZATIONS), label="keeper")
    kept = consents_of(records, organization)
    servers.store_b.hold((each, True) for each in records.current() if each.organization == organization)
    everything, theirs = tell(servers.store_a, kept), tell(servers.store_b, kept)
    assert everything == theirs
    paths = ["Consent/$enforcement", *(f"Consent/{each.id}/$enforcement" for each in consents_of(records))]
    for user in (
        User("system", f"Device/emr-{organization}", organization, "TREAT", SYSTEM_SCOPES),
        User("auditor", "Practitioner/auditor", organization, "HOPERAT", AUDITOR_SCOPES),
    ):
        token = servers.token(user)
        for gated, reference in servers.ask_all(token, [Asked("GET", path) for path in paths]):
            if difference := gated.differs_from(reference):
                pytest.fail(difference)


@settings(random_examples, max_examples=max(10, random_examples.max_examples // 6))
@given(st.data())
def test_a_message_says_nothing_of_what_is_in_the_consent(servers: Pair, data: st.DataObject) -> None:
    world = data.draw(made(servers.fresh()), label="world")
    servers.store_a.write(world)
    consents = {f"Consent/{each.id}/_history/{each.number}": each for each in consents_of(Records.of(world))}
    for message in tell(servers.store_a, list(consents.values())).values():
        (about,) = (each["reference"] for each in message["about"])
        consent = consents[about]
        assert message["recipient"] == [{"reference": f"Organization/{consent.organization}"}]
        assert {"subject", "encounter", "text", "contained"}.isdisjoint(message)
        said = message["payload"][0]["contentString"].removeprefix(about)
        told = {each for each in leaves(consent.content) if len(each) > 1 and each != "Consent"}
        assert {each for each in told if each in said} == set()


@settings(random_examples, max_examples=max(15, random_examples.max_examples // 4))
@given(st.data())
def test_who_may_not_see_a_message_is_answered_as_if_it_had_not_been_written(
    servers: Pair, data: st.DataObject
) -> None:
    world = data.draw(made(servers.fresh()), label="world")
    servers.store_a.write(world)
    messages = tell(servers.store_a, consents_of(Records.of(world)))
    user = data.draw(users(world), label="user")
    oracle, token = servers.oracle(world, user), servers.token(user)
    kept = [_version(id, each) for id, each in messages.items()]
    for each in kept:
        oracle.records.versions["Communication", each.id] = [each]
    servers.store_b.hold(visible(oracle))
    # What an institution's messages are about, and whose they are, as far as a search can ask for it.
    searches = ["Communication?_count=50", "Communication?_summary=count", "Communication?_total=accurate&_count=1"]
    searches += [f"Communication?recipient=Organization/{each}" for each in ORGANIZATIONS]
    searches += ["Communication?_lastUpdated=ge2026-06-15", "Communication?sent=2026-06-15&_sort=-sent"]
    searches += ["Organization?_revinclude=Communication:recipient", "Organization?_has:Communication:recipient:_id=x"]
    searches += ["Communication?_include=*", "Consent?_revinclude=*", "?_type=Communication,Consent&_count=100"]
    reads = [f"Communication/{id}{more}" for id in [*messages, "none"] for more in ("", "/_history", "/_history/1")]
    has = [f"Organization?_has:Communication:recipient:_id={id}" for id in messages]
    if difference := servers.difference(token, [batch([*reads, *has]), *(Asked("GET", path) for path in searches)]):
        pytest.fail(difference)


def _version(id: str, message: Json) -> Version:
    keeper = message["recipient"][0]["reference"].removeprefix("Organization/")
    said = {name: value for name, value in message.items() if name != "meta"}
    return Version("Communication", id, 1, microseconds(NOW), keeper, said, said)


def test_the_messages_of_these_worlds_are_of_every_kind(servers: Pair) -> None:
    """Whoever thins out the random worlds learns here that nothing is compared any more."""
    seen: set[str] = set()

    @settings(random_examples, max_examples=20)
    @given(st.data())
    def ask(data: st.DataObject) -> None:
        world = data.draw(made(servers.fresh()))
        servers.store_a.write(world)
        for message in tell(servers.store_a, consents_of(Records.of(world))).values():
            seen.add(message["payload"][0]["contentString"].split(" ")[1].split("。")[0])

    ask()
    assert len(seen) >= 3, seen
