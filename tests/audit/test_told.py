"""What the log of an institution does not tell it: as which Patient of others a person acted, and whose else records are."""

from __future__ import annotations

import json
import secrets
from base64 import b64decode
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from fhir_server.resident_id import check_character
from tests.consent_engine.build import ACT_REASON, actor, consent, permit
from tests.databases import fresh
from tests.live import Live, live

Json = dict[str, Any]


class Person(NamedTuple):
    """Patients of one person: here of org1, there of org2, with an Observation of org2."""

    here: str
    there: str
    record: str


@pytest.fixture(scope="module")
def server(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("installation")
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name) as running:
        yield running


def patient(id: str, number: str | None = None) -> Json:
    known = [{"system": "urn:oid:2.16.156.10011.1.3", "value": number}] if number else []
    return {"resourceType": "Patient", "id": id, "name": [{"text": "张三"}], **({"identifier": known} if known else {})}


def observation(id: str, of: str) -> Json:
    said = {"status": "final", "code": {"text": "x"}, "subject": {"reference": f"Patient/{of}"}}
    return {"resourceType": "Observation", "id": id, **said}


@pytest.fixture
def person(server: Live) -> Person:
    key = secrets.token_hex(4)
    first = f"1101051949{secrets.randbelow(12) + 1:02}{secrets.randbelow(28) + 1:02}{secrets.randbelow(1_000):03}"
    number = first + check_character(first)
    server.put(patient(f"p{key}", number))
    server.put(patient(f"q{key}", number), observation(f"o{key}", f"q{key}"), organization="org2")
    return Person(f"p{key}", f"q{key}", f"o{key}")


def events(server: Live, organization: str, **asked: str) -> list[Json]:
    """Return the AuditEvents that an institution's auditors find, newest first, without what its own system stored."""
    with server.client("auditor", "Practitioner/auditor", organization) as auditor:
        found = auditor.get("AuditEvent", params={"_sort": "-_lastUpdated", "_count": "100", **asked}).json()
    events = [each["resource"] for each in found.get("entry", ())]
    return [
        each for each in events if each["agent"][0]["who"]["reference"] not in ("Device/emr-org1", "Device/emr-org2")
    ]


def own(server: Live, person: Person) -> httpx.Client:
    return server.client("patient", f"Patient/{person.here}", "org1", "PATRQT")


def test_a_person_is_named_by_the_patient_that_an_institution_knows(server: Live, person: Person) -> None:
    with own(server, person) as client:
        assert client.get(f"Observation/{person.record}").status_code == 200
        assert client.get("Observation", params={"patient": person.here}).json()["total"] == 1
    theirs = events(server, "org2", patient=f"Patient/{person.there}")
    assert len(theirs) == 2
    for each in theirs:
        assert each["agent"][0]["who"] == {"reference": f"Patient/{person.there}"}
        assert person.here not in json.dumps(each)
        assert "org1" not in json.dumps(each)
        with server.client("auditor", "Practitioner/auditor", "org2") as auditor:
            said = auditor.post(f"AuditEvent/{each['id']}/$replay").json()["parameter"]
        assert [one["valueBoolean"] for one in said if one["name"] == "same"] == [True]
    mine = events(server, "org1", agent=f"Patient/{person.here}")
    assert [each["agent"][1]["who"]["reference"] for each in mine] == ["Organization/org1"] * 2


ELSEWHERE = [
    "Observation/{record}",
    "Observation/{record}/_history",
    "Observation?_id={record}",
    "Observation?patient={there}",
    "Observation?patient={here}&_summary=count",
    "Patient/{there}/Observation?_count=5",
    "Patient/{there}/$everything",
    "Observation?patient={here}&_include=Observation:patient",
]


def lets_in(server: Live, person: Person, user: str) -> None:
    """Have the patient let a relative see all of their records."""
    whose = {"patient": {"reference": f"Patient/{person.here}"}}
    server.put({"resourceType": "RelatedPerson", "id": user.partition("/")[2], **whose})
    given = consent(permit(actor=[actor(user)]))
    with own(server, person) as client:
        answer = client.post(
            "Consent", json={**given, **whose, "policyRule": {"text": "-"}, "category": [{"text": "x"}]}
        )
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("role", ["patient", "related-person"])
@pytest.mark.parametrize("path", ELSEWHERE)
def test_the_institution_of_a_patient_is_not_told_of_records_elsewhere(
    server: Live, person: Person, path: str, role: str
) -> None:
    """Neither which they are nor by which Patient they are another's: who keeps them is told, and the patient."""
    user = f"Patient/{person.here}" if role == "patient" else f"RelatedPerson/r{person.here}"
    if role == "related-person":
        lets_in(server, person, user)
    purpose = "PATRQT" if role == "patient" else "FAMRQT"
    with server.client(role, user, "org1", purpose, scope="user/*.rs") as client:
        answer = client.get(path.format(**person._asdict()))
        assert answer.status_code == 200, answer.text
    (mine, *_) = events(server, "org1", agent=user)
    said = json.dumps(mine) + "".join(b64decode(each["query"]).decode() for each in mine["entity"] if "query" in each)
    assert person.there not in said
    assert person.record not in said
    with server.client("auditor", "Practitioner/auditor", "org1") as auditor:
        again = auditor.post(f"AuditEvent/{mine['id']}/$replay")
    if again.status_code == 200:
        assert [one["valueBoolean"] for one in again.json()["parameter"] if one["name"] == "same"] == [True]
    (theirs, *_) = events(server, "org2", _sort="-date")
    if "_summary" not in path:
        assert f"Observation/{person.record}" in json.dumps(theirs)


def test_who_keeps_a_consent_is_not_told_as_which_other_patient_it_was_answered(server: Live, person: Person) -> None:
    body = {"resourceType": "Parameters", "parameter": [{"name": "way", "valueCode": "app"}]}
    with server.client("practitioner", "Practitioner/dr2", "org2") as doctor:
        asked = doctor.post(f"Patient/{person.there}/$request-authorization", json=body)
        assert asked.status_code == 201, asked.text
    with own(server, person) as client:
        assert client.post(f"Consent/{asked.json()['id']}/$confirm").status_code == 200
    confirmed, *_ = events(server, "org2", patient=f"Patient/{person.there}")
    assert "confirmed by the patient" in confirmed["outcomeDesc"]
    assert confirmed["agent"][0]["who"] == {"reference": f"Patient/{person.there}"}
    assert person.here not in json.dumps(events(server, "org2"))


def test_where_nothing_says_who_it_was_the_role_alone_is_told(server: Live, person: Person) -> None:
    with own(server, person) as client:
        assert client.get("Observation", params={"patient": person.here, "_summary": "count"}).json()["total"] == 1
        server.put(patient(f"x{person.here}"), organization="org2")
        assert client.get(f"Patient/x{person.here}").status_code == 404
    refused, counted, *_ = events(server, "org2", agent="Patient/not-told")
    assert (refused["outcome"], counted["outcome"]) == ("4", "0")
    for each in (refused, counted):
        assert f'"Patient/{person.here}"' not in json.dumps(each)
        assert each["agent"][0]["role"][0]["text"] == "patient"


def emergency(server: Live, person: Person) -> httpx.Client:
    said = {"purpose": "ETREAT", "reason": "昏迷", "patient": f"Patient/{person.here}"}
    return server.client("practitioner", "Practitioner/e", "org9", **said)


def notices(server: Live, organization: str) -> list[str]:
    """Return whom the notices that an institution keeps are for."""
    with server.client("system", f"Device/emr-{organization}", organization, scope="system/*.cruds") as system:
        found = system.get("Communication", params={"_count": "100"}).json()
    subjects = [each["resource"].get("subject") for each in found.get("entry", ())]
    return [each["reference"] for each in subjects if each]


def test_a_count_in_an_emergency_tells_those_whose_records_it_opened_by_their_own_patients(
    server: Live, person: Person
) -> None:
    """The count has records of another patient too, whom a Consent opens, kept by an institution that knows nobody else."""
    other = f"z{person.here}"
    said = {**consent(permit(actor=[actor("Organization/org9")])), "id": f"c{other}", "policyRule": {"text": "-"}}
    said |= {"patient": {"reference": f"Patient/{other}"}, "category": [{"text": "x"}]}
    server.put(patient(other), observation(f"o{other}", other), said, organization="org3")
    ids = f"{person.record},o{other}"
    with emergency(server, person) as doctor:
        assert doctor.get("Observation", params={"_id": ids, "_summary": "count"}).json()["total"] == 2
    assert f"Patient/{person.there}" in notices(server, "org2")
    assert person.here not in str(notices(server, "org2"))
    assert notices(server, "org3") == []
    assert f"Patient/{person.here}" not in notices(server, "org1")  # none of its records were counted
    with own(server, person) as client:
        found = client.get("Communication", params={"subject": f"Patient/{person.here}"}).json()
    assert [each["resource"]["subject"]["reference"] for each in found["entry"]] == [f"Patient/{person.there}"]


def test_a_count_of_what_consents_open_is_no_emergency(server: Live, person: Person) -> None:
    other = f"y{person.here}"
    said = {**consent(permit(actor=[actor("Organization/org9")])), "id": f"c{other}", "policyRule": {"text": "-"}}
    said |= {"patient": {"reference": f"Patient/{other}"}, "category": [{"text": "x"}]}
    server.put(patient(other), observation(f"o{other}", other), said, organization="org4")
    with emergency(server, person) as doctor:
        assert doctor.get("Observation", params={"_id": f"o{other}", "_summary": "count"}).json()["total"] == 1
    (event, *_) = events(server, "org4", agent="Practitioner/e")
    assert "break-glass" not in event.get("outcomeDesc", "")
    assert notices(server, "org4") == []


def consented(server: Live, id: str, organization: str) -> None:
    """Store an Observation with its Patient, who lets org9 in."""
    said = {**consent(permit(actor=[actor("Organization/org9")])), "id": f"c{id}", "policyRule": {"text": "-"}}
    said |= {"patient": {"reference": f"Patient/{id}"}, "category": [{"text": "x"}]}
    server.put(patient(id), observation(f"o{id}", id), said, organization=organization)


@pytest.mark.parametrize("asked", ["Observation?_id={}", "Observation?_id={}&_summary=count"])
def test_an_emergency_is_told_with_its_reason_to_those_whose_records_it_opened_alone(
    server: Live, person: Person, asked: str
) -> None:
    """The log of who keeps what a Consent opens is the same, whether the same answer broke the glass elsewhere or not."""
    other = f"a{person.here}"
    consented(server, other, "org6")
    with emergency(server, person) as doctor:
        for ids in (f"o{other}", f"o{other},{person.record}"):
            assert doctor.get(asked.format(ids)).status_code == 200
    alone, together = (stripped(each) for each in events(server, "org6", agent="Practitioner/e")[:2])
    assert alone == together
    assert "break-glass" not in str(together)
    assert "昏迷" not in str(together)
    assert together["purposeOfEvent"][0]["coding"][0]["code"] == "ETREAT"
    with server.client("auditor", "Practitioner/auditor", "org6") as auditor:
        said = auditor.post(f"AuditEvent/{ids_of(server, 'org6')[0]}/$replay")
    if "_summary" not in asked:
        assert [one["valueBoolean"] for one in said.json()["parameter"] if one["name"] == "same"] == [True]
    if "_count" not in asked:
        (opened, *_) = events(server, "org2", agent="Practitioner/e")
        assert "break-glass" in opened["outcomeDesc"]
        assert opened["agent"][0]["purposeOfUse"][0]["text"] == "昏迷"


def test_what_a_consent_opens_to_who_breaks_the_glass_is_told_without_the_reason(server: Live, person: Person) -> None:
    """Under the purpose BTG nothing is seen without a reason: it comes out again without knowing it."""
    id = f"b{person.here}"
    opens = consent(permit(actor=[actor("Organization/org9")], purpose=[{"system": ACT_REASON, "code": "BTG"}]))
    opens |= {"id": f"c{id}", "policyRule": {"text": "-"}, "category": [{"text": "x"}]}
    server.put(patient(id), {**opens, "patient": {"reference": f"Patient/{id}"}}, organization="org8")
    said = {"purpose": "BTG", "reason": "昏迷", "patient": f"Patient/{id}"}
    with server.client("practitioner", "Practitioner/btg", "org9", **said) as doctor:
        assert doctor.get(f"Patient/{id}").status_code == 200
    (event,) = events(server, "org8", agent="Practitioner/btg")
    assert "昏迷" not in str(event)
    with server.client("auditor", "Practitioner/auditor", "org8") as auditor:
        again = auditor.post(f"AuditEvent/{event['id']}/$replay").json()["parameter"]
    assert [one["valueBoolean"] for one in again if one["name"] == "same"] == [True]


def test_a_refused_attempt_in_an_emergency_is_told_without_its_reason(server: Live, person: Person) -> None:
    """The reason was stated for the patient in context; the record that it does not open is another's."""
    other = f"r{person.here}"
    server.put(patient(other), organization="org7")
    with emergency(server, person) as doctor:
        assert doctor.get(f"Patient/{other}").status_code == 404
    with server.client("practitioner", "Practitioner/e", "org9", purpose="ETREAT") as doctor:
        assert doctor.get(f"Patient/{other}").status_code == 404
    found = events(server, "org7", agent="Practitioner/e")
    assert [each["outcome"] for each in found] == ["4", "4"]
    assert "昏迷" not in str(found)
    (mine, *_) = [each for each in events(server, "org9", agent="Practitioner/e") if "purposeOfUse" in each["agent"][0]]
    assert mine["agent"][0]["purposeOfUse"][0]["text"] == "昏迷"


def ids_of(server: Live, organization: str) -> list[str]:
    return [each["id"] for each in events(server, organization, agent="Practitioner/e")]


def stripped(event: Json) -> Json:
    """Return an event without what is new in each: id, times, and the digests that are bound to the id."""
    kept = {**event, "id": "", "recorded": "", "meta": {}}
    kept["entity"] = [
        {**each, "detail": [one for one in each.get("detail", ()) if one["type"] not in ("at", "predicate")]}
        for each in event["entity"]
    ]
    return kept


SEARCHES = [
    "Observation?patient={}",
    "Observation?subject=Patient/{}&_summary=count",
    "Patient/{}/Observation",
    "Patient/{}/*",
    "Patient?_id={}",
    "?_type=Observation,Encounter&patient={}",
    "Observation/$lastn?patient={}",
    "Encounter?patient._id={}",
    "Observation?patient=nobody,{}",
]


@pytest.mark.parametrize("path", SEARCHES)
def test_a_search_that_names_a_patient_says_so_to_ones_own_auditors_alone(
    server: Live, person: Person, path: str
) -> None:
    user = f"Practitioner/s{secrets.token_hex(4)}"
    with server.client("practitioner", user, "org5") as doctor:
        for id in (person.there, "never"):
            answer = doctor.get(path.format(id))
            assert (answer.status_code, answer.json()["total"]) == (200, 0)
    never, named = events(server, "org5", agent=user)
    for event, id in ((named, person.there), (never, "never")):
        assert f"Patient/{id}" in [each["what"]["reference"] for each in event["entity"] if "what" in each]
    one, two = (
        json.dumps({**each, "id": "", "recorded": "", "meta": {}, "entity": kinds(each)}) for each in (never, named)
    )
    assert one == two
    assert [each["id"] for each in events(server, "org5", patient=f"Patient/{person.there}", agent=user)] == [
        named["id"]
    ]
    assert events(server, "org2", agent=user) == []


def kinds(event: Json) -> list[str]:
    return sorted(str(each["role"]["code"]) for each in event["entity"])
