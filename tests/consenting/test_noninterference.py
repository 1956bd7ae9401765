"""Who asks for a status, or for an authorization, learns nothing of hidden Patients, nor of others' affairs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.consenting.world import (
    ASKS,
    KEEPS,
    THIRD,
    ask,
    asked,
    doctor,
    done,
    in_days,
    observation,
    parameters,
    patient,
    resident_id,
    step,
)
from tests.live import Live

SEEN = ("content-type", "location", "etag", "content-length")


@pytest.fixture(scope="module")
def asking(server: Live) -> Iterator[httpx.Client]:
    with doctor(server) as client:
        yield client


def told(answer: httpx.Response, **names: str) -> tuple[int, bytes, dict[str, str]]:
    """Return all of an answer. names: what stands for ids that differ."""
    text, headers = answer.content, {name: answer.headers.get(name, "") for name in SEEN}
    for plain, id in names.items():
        text = text.replace(id.encode(), plain.encode())
        headers = {name: value.replace(id, plain) for name, value in headers.items()}
    if names:
        headers.pop("content-length")
    return answer.status_code, text, headers


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_hidden_patient_is_answered_as_an_absent_one(server: Live, asking: httpx.Client, method: str) -> None:
    server.put(patient("hidden", resident_id("19700101", 1)), observation("behind", "hidden"), organization=KEEPS)
    for operation in ("$authorization-status", "$request-authorization"):
        if method == "GET" and operation == "$request-authorization":
            continue
        body = parameters(purpose="TREAT") if method == "POST" else None
        hidden = asking.request(method, f"Patient/hidden/{operation}", json=body)
        never = asking.request(method, f"Patient/absent/{operation}", json=body)
        assert hidden.status_code == 404
        assert told(hidden) == told(never)


def test_an_authorization_of_another_is_answered_as_an_absent_one(server: Live, asking: httpx.Client) -> None:
    known = resident_id("19700101", 2)
    server.put(patient("theirs", known), organization=KEEPS)
    with doctor(server, KEEPS) as elsewhere:
        id = asked(elsewhere, "theirs")
    for name in ("verify", "confirm", "decline", "revoke"):
        proof = {"code": "123456"} if name == "verify" else {}
        hidden, never = step(asking, id, name, **proof), step(asking, "absent", name, **proof)
        assert hidden.status_code == 404
        assert told(hidden) == told(never)


def same(asking: httpx.Client) -> None:
    """Compare what is told of two patients of whom the one who asks knows the same, and how much is found of them."""
    first, second = (asking.get(f"Patient/{id}/$authorization-status") for id in ("busy", "calm"))
    assert told(first, id="busy", consent=consent_in(first)) == told(second, id="calm", consent=consent_in(second))
    for place in ("Consent?patient=", "Provenance?patient=", "Communication?subject=Patient/"):
        found = [asking.get(f"{place}{id}&_summary=count").json()["total"] for id in ("busy", "calm")]
        assert found[0] == found[1], place


def consent_in(answer: httpx.Response) -> str:
    found = re.search(r"Consent/([0-9a-f-]{36})", answer.text)
    return found[1] if found else "none"


def test_authorizations_of_others_change_nothing(server: Live, asking: httpx.Client) -> None:
    """Of two patients one has authorizations for, and questions of, other institutions at every step; the other has none."""
    busy, calm = resident_id("19700101", 3), resident_id("19700101", 4)
    server.put(patient("busy", busy), patient("calm", calm), organization=ASKS)
    server.put(patient("busy-2", busy), organization=KEEPS)
    server.put(patient("busy-3", busy), organization=THIRD)
    with (
        doctor(server, KEEPS) as second,
        doctor(server, THIRD) as third,
        server.client("patient", "Patient/busy", ASKS, "PATRQT") as person,
        server.client("patient", "Patient/calm", ASKS, "PATRQT") as quiet,
    ):
        same(asking)
        theirs = asked(second, "busy-2")
        same(asking)
        done(person, theirs, "confirm")
        same(asking)
        asked(third, "busy-3", type="Condition")
        answers = [ask(asking, id, expires=in_days(200)) for id in ("busy", "calm")]
        same(asking)
        bodies = [each.json() for each in answers]
        for body in bodies:
            assert len(body["meta"]["lastUpdated"]) == len("2026-01-01T00:00:00.000Z")
        unlike = {"id", "meta", "dateTime", "patient"}
        plain = [{key: value for key, value in body.items() if key not in unlike} for body in bodies]
        for each in plain:
            del each["provision"]["period"]["start"]
        assert plain[0] == plain[1]
        assert [each.status_code for each in answers] == [201, 201]
        for client, body in ((person, bodies[0]), (quiet, bodies[1])):
            done(client, body["id"], "confirm")
        same(asking)
        done(person, theirs, "revoke")
        same(asking)
        for client, body in ((person, bodies[0]), (quiet, bodies[1])):
            done(client, body["id"], "revoke")
        same(asking)
        # How often others have asked does not count either.
        while ask(second, "busy-2").status_code == 201:
            continue
        assert [ask(asking, id).status_code for id in ("busy", "calm")] == [201, 201]


DOORS = (
    "Consent?_total=accurate&_sort=_lastUpdated",
    "Consent?status=proposed,active&_total=accurate",
    "Consent?_include=Consent:patient&_revinclude=Provenance:target",
    "Consent?patient.name=李&_total=accurate",
    "Consent?actor=Organization/h1&_summary=count",
    "Patient?_has:Consent:patient:status=proposed&_total=accurate",
    "?_type=Consent,Patient,Observation&_total=accurate",
    "Consent/_history",
    "_history",
    "Consent/theirs-never",
    "Patient/child-1/$everything",
)


def test_what_a_guardian_is_answered_rests_on_the_childs_consents_alone(server: Live, asking: httpx.Client) -> None:
    """Other children, their guardians and Consents, and all other records of the own child change no answer."""
    parent = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}]}

    def child(name: str, number: int) -> None:
        known = resident_id("20200101", number)
        server.put(patient(f"{name}-1", known, "2020-01-01"), organization=ASKS)
        server.put(patient(f"{name}-2", known, "2020-01-01"), organization=KEEPS)
        of = {"patient": {"reference": f"Patient/{name}-1"}, "relationship": [parent]}
        server.put({"resourceType": "RelatedPerson", "id": f"{name}-mother", **of}, organization=ASKS)

    child("child", 11)
    asked(asking, "child-1")
    mother = server.client("related-person", "RelatedPerson/child-mother", ASKS, "FAMRQT", scope="user/*.rs")
    with mother, doctor(server, KEEPS) as elsewhere:
        before = [told(mother.get(each)) for each in DOORS]
        assert b"Consent" in before[0][1]
        child("other", 12)
        theirs = asked(asking, "other-1")
        asked(elsewhere, "other-2")
        server.put(observation("of-child", "child-2"), organization=KEEPS)
        server.put(observation("of-other", "other-1"), organization=ASKS)
        assert [told(mother.get(each)) for each in DOORS] == before
        hidden, never = mother.get(f"Consent/{theirs}"), mother.get("Consent/theirs-never")
        assert told(hidden) == told(never)
