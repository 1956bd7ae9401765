"""Scenarios E: search is no oracle; F: references, includes, history; G: revocation; H: several patients, writes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.consent_engine.build import HIV, LOINC, PSY, TYPES, N, codings, concept, deny, labels, permit
from tests.scenarios.world import FORM, OF_P1, VIRAL_LOAD, World, absent, ids, org1

DENY_HIV = org1(provision=[deny(securityLabel=labels(HIV))])
DENY_PSY = org1(provision=[deny(securityLabel=labels(PSY))])
DENY_CODE = org1(provision=[deny(code=[concept(LOINC, VIRAL_LOAD)])])


def observations(world: World, client: httpx.Client, **more: Any) -> httpx.Response:
    return client.get("Observation", params={"subject": world.ref("P1"), **more})


@pytest.mark.parametrize(
    "has",
    [
        f"_has:Observation:subject:code={VIRAL_LOAD}",
        *(f"_has:Observation:subject:code-value-quantity={VIRAL_LOAD}$gt{n}" for n in (100, 200, 400)),
        "_has:Observation:subject:_content=viral",
        "_has:Observation:subject:_security=HIV",
        f"_has:Observation:subject:_filter=code eq {VIRAL_LOAD}",
    ],
)
def test_e1_and_e2_a_reverse_chain_finds_nothing_by_what_is_hidden(world: World, has: str) -> None:
    (given,) = world.given(world.consent(DENY_HIV))
    asked = f"Patient?_id={world.id('P1')}&{has}"
    with world.doctor() as client:
        hidden, never = (
            client.get(asked),
            client.get(f"Patient?_id={world.id('P1')}&_has:Observation:subject:code=never"),
        )
        world.change(given, provision=org1())
        seen = client.get(asked)
    assert (hidden.status_code, hidden.json()["total"], hidden.json().get("entry")) == (200, 0, None)
    assert hidden.json().keys() == never.json().keys()
    assert seen.json()["total"] == ("$gt400" not in has)


def test_e2_no_comparison_of_a_hidden_value_finds_anything(world: World) -> None:
    (given,) = world.given(world.consent(DENY_HIV))
    asked = ["value-quantity=gt100", "value-quantity=lt300", "code-value-quantity=20447-9$gt200", "code=20447-9"]
    asked += [
        "encounter=Encounter/" + world.id("E1"),
        "date=2026-04-01",
        "_security=HIV",
        "code:not=x&date=lt2026-04-15",
    ]
    asked += ["value-quantity:missing=false", "encounter.status=finished", f"encounter:Encounter._id={world.id('E1')}"]
    with world.doctor() as client:
        for each in asked:
            found = client.get(f"Observation?subject={world.ref('P1')}&{each}").json()
            assert world.id("O2") not in ids(found), each
            assert found["total"] == len(ids(found)), each
        world.change(given, provision=org1())
        for each in asked:  # what is no longer hidden is found by every one of them
            assert world.id("O2") in ids(client.get(f"Observation?subject={world.ref('P1')}&{each}").json()), each


def test_e3_a_chain_stops_at_a_hidden_patient(world: World) -> None:
    (given,) = world.given(world.consent(org1(**{"class": codings(TYPES, "Observation")})))
    with world.doctor() as client:
        chain = {"subject:Patient.family": f"Zhang{world.key}"}
        assert client.get("Observation", params=chain).json()["total"] == 0
        world.change(given, provision=org1())
        assert client.get("Observation", params=chain).json()["total"] == 3


@pytest.mark.parametrize("sort", ["date", "-date", "_lastUpdated", "-_lastUpdated", "_id", "-_id"])
def test_e4_pages_are_full_and_no_link_leads_to_what_is_hidden(world: World, sort: str) -> None:
    world.given(world.consent(DENY_HIV))
    with world.doctor() as client:
        first = observations(world, client, _sort=sort, _count=1).json()
        second = client.get(link(first, "next")).json()
    assert [len(ids(first)), len(ids(second))] == [1, 1]
    assert {*ids(first), *ids(second)} == {world.id("O1"), world.id("O3")}
    assert (first["total"], second["total"]) == (2, 2)
    assert [each["relation"] for each in second["link"]] == ["self"]


def test_e5_counts_are_exact_and_of_what_is_seen(world: World) -> None:
    world.given(world.consent(DENY_HIV))
    with world.doctor() as client:
        for shape in ({"_summary": "count"}, {"_total": "accurate"}, {"_total": "estimate"}, {"_count": "0"}):
            assert observations(world, client, **shape).json()["total"] == 2
        assert "total" not in observations(world, client, _total="none").json()


@pytest.mark.parametrize("unknown", ["foo=bar", "foo:exact=x", "code:foo=x", "_filter=foo eq bar"])
def test_e6_an_unknown_filter_is_refused_and_never_widens(world: World, unknown: str) -> None:
    world.given(world.consent(DENY_HIV))
    with world.doctor() as client:
        answer = client.get(f"Observation?subject={world.ref('P1')}&{unknown}")
        assert answer.status_code == 400
        assert answer.json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    "found", ["_text=viral", "_content=viral", f"_filter=code eq {VIRAL_LOAD}", "_content=HIV OR viral"]
)
def test_e7_a_word_of_what_is_hidden_finds_nothing(world: World, found: str) -> None:
    (given,) = world.given(world.consent(DENY_HIV))
    asked = f"Observation?subject={world.ref('P1')}&{found}"
    with world.doctor() as client:
        hidden = client.get(asked).json()
        world.change(given, provision=org1())
        seen = client.get(asked).json()
    assert (hidden["total"], ids(hidden)) == (0, [])
    assert (seen["total"], ids(seen)) == (1, [world.id("O2")])


def test_e8_a_mention_does_not_make_a_record_the_patients_own(world: World) -> None:
    world.given(world.consent())
    with world.doctor() as client:
        assert client.get("Observation", params={"focus": world.ref("P1")}).json()["total"] == 0
        world.given(world.consent(patient="P2"), patient="P2")
        assert ids(client.get("Observation", params={"focus": world.ref("P1")}).json()) == [world.id("O9")]


def test_f1_an_include_brings_nothing_that_is_denied(world: World) -> None:
    world.given(world.consent(org1(provision=[deny(**{"class": codings(TYPES, "Encounter")})])))
    asked = {"_id": f"{world.id('O1')},{world.id('O2')}", "_include": "Observation:encounter"}
    with world.doctor() as client:
        found = client.get("Observation", params=asked).json()
        posted = client.post("Observation/_search", data=asked, headers=FORM).json()
    assert sorted(ids(found)) == sorted(ids(posted)) == sorted(map(world.id, ("O1", "O2")))


def test_f1_an_include_brings_what_is_permitted_marked_as_such(world: World) -> None:
    world.given(world.consent())
    with world.doctor() as client:
        asked = [("_id", world.id("O2")), ("_include", "Observation:encounter"), ("_include", "Observation:subject")]
        found = client.get("Observation", params=asked).json()
    assert {(each["resource"]["id"], each["search"]["mode"]) for each in found["entry"]} == {
        (world.id("O2"), "match"),
        (world.id("E1"), "include"),
        (world.id("P1"), "include"),
    }
    assert found["total"] == 1


def test_f1_an_include_of_an_appointments_other_patient_is_under_that_patients_consent(world: World) -> None:
    world.given(world.consent())
    world.given(world.consent(org1(**{"class": codings(TYPES, "Appointment")}), patient="P2"), patient="P2")
    with world.doctor() as client:
        found = client.get("Appointment", params={"_id": world.id("A1"), "_include": "Appointment:actor"}).json()
    assert sorted(ids(found)) == sorted(map(world.id, ("A1", "P1")))


def test_f2_a_reverse_include_is_under_the_consent_of_whom_it_belongs_to(world: World) -> None:
    world.given(world.consent())
    with world.doctor() as client:
        asked = {"_id": world.id("P1"), "_revinclude": "Observation:focus"}
        assert ids(client.get("Patient", params=asked).json()) == [world.id("P1")]
        world.given(world.consent(patient="P2"), patient="P2")
        assert ids(client.get("Patient", params=asked).json()) == [world.id("P1"), world.id("O9")]


def test_f4_the_history_of_what_is_denied_is_nowhere(world: World) -> None:
    world.given(world.consent(DENY_PSY))
    assert world.seen() == OF_P1 - {"C1"}


def test_f5_the_strictest_label_of_a_resources_life_rules_all_its_versions(world: World) -> None:
    (given,) = world.given(world.consent())
    plain, sensitive = world.record("C2"), world.record("C1")
    with world.live.system("Org1") as emr:
        for security in (sensitive["meta"], plain["meta"]):
            assert emr.put(world.ref("C2"), json={**plain, "meta": security}).status_code == 200
    with world.doctor() as client:
        assert len(ids(client.get(f"{world.ref('C2')}/_history").json())) == 3
        world.change(given, provision=DENY_PSY)
        for path in ("", "/_history", "/_history/1", "/_history/2", "/_history/3"):
            assert absent(client, world.ref("C2") + path)


@pytest.mark.parametrize("provision", [DENY_HIV, DENY_CODE], ids=["denied by label", "denied by code"])
def test_d12_a_record_that_was_hidden_stays_hidden_when_it_is_deleted(world: World, provision: Any) -> None:
    (given,) = world.given(world.consent())
    with world.live.system("Org1") as emr:
        assert emr.delete(world.ref("O2")).status_code == 204
    with world.doctor() as client:
        assert client.get(world.ref("O2")).status_code == 410
        world.change(given, provision=provision)
        for path in ("", "/_history", "/_history/1", "/_history/2"):
            assert absent(client, world.ref("O2") + path)


def test_g1_after_a_revocation_the_next_page_is_empty(world: World) -> None:
    (given,) = world.given(world.consent())
    with world.doctor() as client:
        first = observations(world, client, _count=1).json()
        world.change(given, status="inactive")
        after = client.get(link(first, "next"))
    assert after.status_code == 200
    assert (after.json()["total"], ids(after.json())) == (0, [])
    assert "next" not in {each["relation"] for each in after.json()["link"]}


def test_g2_a_page_link_of_somebody_else_is_the_same_as_garbage(world: World) -> None:
    world.given(world.consent())
    with world.doctor() as client, world.doctor("Dr2") as other, world.doctor(purpose="ETREAT") as emergency:
        following = link(observations(world, client, _count=1).json(), "next")
        garbage = other.get("Observation", params={"_cursor": "garbage"})
        elsewhere = client.get(following.replace("/Observation?", "/Condition?"))
        assert garbage.status_code == 400
        for answer in (other.get(following), emergency.get(following), client.get(following[:-4] + "AAAA"), elsewhere):
            assert (answer.status_code, answer.content) == (400, garbage.content)


def test_g4_a_known_etag_does_not_open_what_was_revoked(world: World) -> None:
    (given,) = world.given(world.consent())
    with world.doctor() as client:
        etag = client.get(world.ref("O1")).headers["ETag"]
        assert client.get(world.ref("O1"), headers={"If-None-Match": etag}).status_code == 304
        world.change(given, status="inactive")
        for known in ({"If-None-Match": etag}, {"If-Modified-Since": "Mon, 01 Jan 2035 00:00:00 GMT"}):
            answer = client.get(world.ref("O1"), headers=known)
            assert (answer.status_code, answer.content) == (404, client.get("Observation/never").content)


def test_h1_a_record_of_two_patients_needs_the_permit_of_both(world: World) -> None:
    world.given(world.consent())
    assert "A1" not in world.seen()
    world.given(world.consent(org1(**{"class": codings(TYPES, "Appointment")}), patient="P2"), patient="P2")
    assert world.seen() == OF_P1 | {"A1"}


def test_h3_a_conditional_create_creates_whatever_is_hidden_that_would_match(world: World) -> None:
    world.given(world.consent(DENY_HIV))
    with world.live.system("Org1") as emr:
        made = {each: value for each, value in world.record("O1").items() if each != "id"}
        answers = [
            emr.post("Observation", json=made, headers={"If-None-Exist": query})
            for query in (f"subject={world.ref('P1')}&code={VIRAL_LOAD}", "code=matches-nothing")
        ]
        assert [each.status_code for each in answers] == [201, 201]
        assert emr.post("Observation", json=made, headers={"If-None-Exist": f"_id={world.id('O1')}"}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_h4_what_is_hidden_cannot_be_changed(world: World, method: str) -> None:
    (given,) = world.given(world.consent(DENY_HIV))
    record: Any = world.record("O2")
    never: Any = {**record, "id": "never-existed"}
    if method == "PATCH":
        record = never = {"resourceType": "Parameters"}
    with world.doctor() as client:
        answer = client.request(method, world.ref("O2"), json=record)
        other = client.request(method, "Observation/never-existed", json=never)
        assert answer.status_code == 404
        assert answer.content == other.content
        world.change(given, provision=org1())
        assert client.get(world.ref("O2")).headers["ETag"] == 'W/"1"'


def test_h4_a_system_cannot_change_what_is_hidden_either(world: World) -> None:
    (given,) = world.given(world.consent(DENY_HIV))
    with world.live.system("Org1") as emr:
        assert emr.put(world.ref("O2"), json=world.record("O2")).status_code == 409
        assert emr.delete(world.ref("O2")).status_code == 404
        world.change(given, provision=org1())
        assert emr.get(world.ref("O2")).headers["ETag"] == 'W/"1"'


def test_d16_a_permit_to_access_is_no_permit_to_correct(world: World) -> None:
    action = [concept("http://terminology.hl7.org/CodeSystem/consentaction", "access")]
    world.given(world.consent(org1(action=action)))
    with world.doctor() as client:
        assert client.get(world.ref("O1")).status_code == 200
        assert client.put(world.ref("O1"), json=world.record("O1")).status_code == 403
        assert client.delete(world.ref("O1")).status_code == 403


def test_a_binary_is_as_hidden_as_the_document_that_it_belongs_to(world: World) -> None:
    binary = {
        "resourceType": "Binary", "id": world.id("B1"), "contentType": "text/plain", "data": "c2VjcmV0",
        "securityContext": {"reference": world.ref("D1")},
    }  # fmt: skip
    world.live.put(binary, organization="Org1")
    with world.doctor() as client:
        assert absent(client, world.ref("D1"))
        assert absent(client, f"Binary/{world.id('B1')}")


def test_t42_a_consent_is_shown_like_any_record_of_the_patient(world: World) -> None:
    (given,) = world.given(world.consent(permit(**{"class": codings(TYPES, "Observation")})))
    with world.doctor() as client, world.patient() as patient, world.patient("P2") as other:
        assert absent(client, f"Consent/{given['id']}")
        assert absent(other, f"Consent/{given['id']}")
        assert patient.get(f"Consent/{given['id']}").status_code == 200


def test_t3_a_patient_sees_the_records_of_their_own_compartment_alone(world: World) -> None:
    with world.patient() as patient:
        for name in ("P1", "O1", "O2", "C1"):
            assert patient.get(world.ref(name)).status_code == 200
        for name in ("P2", "O9", "O7", "A1"):
            assert absent(patient, world.ref(name))


def test_d1_a_label_that_is_hidden_cannot_be_asked_for(world: World) -> None:
    world.given(world.consent(org1(securityLabel=labels(N))))
    with world.doctor() as client:
        assert client.get("Observation", params={"subject": world.ref("P1"), "_security": "R"}).json()["total"] == 0


def link(bundle: Any, relation: str) -> str:
    """Return the URL of a Bundle's link."""
    return next(each["url"] for each in bundle["link"] if each["relation"] == relation)
