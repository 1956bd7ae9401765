"""Who speaks for a patient sees that patient's Consents, as the patient does, and nothing more; nobody else sees any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.consenting.world import (
    ASKS,
    KEEPS,
    asked,
    doctor,
    done,
    observation,
    patient,
    person,
    resident_id,
    sees,
    step,
)
from tests.live import Live

Json = dict[str, Any]
ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
YEAR = datetime.now(UTC).year
MINOR, GROWN = f"{YEAR - 8}-06-01", "1980-01-01"


def related(id: str, of: str, code: str = "MTH", **more: Any) -> Json:
    relationship = [{"coding": [{"system": ROLE_CODE, "code": code}]}]
    named = {"patient": {"reference": f"Patient/{of}"}, "relationship": relationship}
    return {"resourceType": "RelatedPerson", "id": id, **named, **more}


def token(server: Live, id: str, organization: str = ASKS) -> httpx.Client:
    return server.client("related-person", f"RelatedPerson/{id}", organization, "FAMRQT", scope="user/*.cruds")


@contextmanager
def family(server: Live, name: str, number: int, born: str, *others: Json) -> Iterator[tuple[httpx.Client, str, str]]:
    """Yield the mother's client, and the Consents that both hospitals have asked a child for."""
    person(server, name, number, born)
    server.put(related(f"{name}-mother", f"{name}-1"), *others, organization=ASKS)
    with doctor(server) as here, doctor(server, KEEPS) as there, token(server, f"{name}-mother") as mother:
        yield mother, asked(here, f"{name}-1"), asked(there, f"{name}-2")


def read(client: httpx.Client, id: str) -> tuple[int, ...]:
    """Return how reading, its versions and a search are answered: a status each, and how many the search finds."""
    history = client.get(f"Consent/{id}/_history").status_code
    found = client.get("Consent", params={"_id": id, "_total": "accurate"}).json()["total"]
    return client.get(f"Consent/{id}").status_code, history, found


HIDDEN = (404, 404, 0)


def test_a_guardian_sees_the_childs_consents_and_answers_and_ends_them(server: Live) -> None:
    with family(server, "kid", 301, MINOR) as (mother, here, there), doctor(server) as asking:
        assert [read(mother, each) for each in (here, there)] == [(200, 200, 1)] * 2
        assert {each["resource"]["id"] for each in mother.get("Consent").json()["entry"]} == {here, there}
        # Nothing else of the child, by whichever way.
        for path in ("Patient/kid-1", "Patient/kid-2", "Observation/kid", "RelatedPerson/kid-mother"):
            assert mother.get(path).status_code == 404
        for path in (
            "Observation",
            "Patient",
            "Provenance",
            "Communication",
            "Patient?_has:Consent:patient:status=proposed",
        ):
            assert "entry" not in mother.get(path).json()
        assert done(mother, here, "confirm")["performer"] == [{"reference": "RelatedPerson/kid-mother"}]
        assert sees(asking, "kid")
        # For the other hospital's Patient she was not recorded: her yes would not hold there, her no does.
        assert step(mother, there, "confirm").status_code == 404
        assert done(mother, there, "decline")["status"] == "rejected"
        assert done(mother, here, "revoke")["status"] == "inactive"
        assert not sees(asking, "kid")


def test_nobody_writes_by_it(server: Live) -> None:
    with family(server, "kept", 302, MINOR) as (mother, here, _):
        consent = mother.get(f"Consent/{here}").json()
        assert mother.put(f"Consent/{here}", json=consent).status_code == 403
        assert mother.delete(f"Consent/{here}").status_code == 403
        assert mother.post("Consent", json=consent).status_code == 403


NOT_BELIEVED: list[tuple[str, str, Json]] = [
    ("no role that the law knows", MINOR, {"code": "NBOR"}),
    ("it is over", MINOR, {"code": "MTH", "period": {"end": "2020-01-01"}}),
    ("it was ended", MINOR, {"code": "MTH", "active": False}),
    ("of age", GROWN, {"code": "MTH"}),
]


@pytest.mark.parametrize("number", range(len(NOT_BELIEVED)))
def test_who_does_not_speak_for_the_patient_sees_nothing(server: Live, number: int) -> None:
    _, born, said = NOT_BELIEVED[number]
    name = f"not{number}"
    known = family(server, name, 310 + number, born, related(f"{name}-r", f"{name}-1", **said))
    with known as (_, here, there), token(server, f"{name}-r") as stranger:
        assert [read(stranger, each) for each in (here, there)] == [HIDDEN, HIDDEN]
        for each in ("confirm", "decline", "revoke"):
            assert step(stranger, here, each).status_code == step(stranger, "never", each).status_code == 404


def test_the_guardian_of_another_child_sees_nothing_of_this_one(server: Live) -> None:
    with (
        family(server, "one", 320, MINOR) as (mother, here, there),
        family(server, "two", 321, MINOR) as (other, *theirs),
    ):
        assert [read(other, each) for each in (here, there)] == [HIDDEN, HIDDEN]
        assert [read(mother, each) for each in theirs] == [HIDDEN, HIDDEN]
        assert step(other, here, "revoke").status_code == 404


def test_another_institution_makes_nobody_a_guardian_of_ones_patient(server: Live) -> None:
    with family(server, "theirs", 322, MINOR) as (_, here, there):
        server.put(related("intruder", "theirs-1"), organization=KEEPS)
        with token(server, "intruder", KEEPS) as intruder:
            assert [read(intruder, each) for each in (here, there)] == [HIDDEN, HIDDEN]
            assert step(intruder, here, "confirm").status_code == 404


def test_who_was_given_a_lasting_power_speaks_for_a_grown_person(server: Live) -> None:
    with family(server, "ill", 323, GROWN, related("ill-guard", "ill-1", "GUARD")) as (mother, here, there):
        with token(server, "ill-guard") as guardian:
            assert [read(guardian, each) for each in (here, there)] == [(200, 200, 1)] * 2
        assert [read(mother, each) for each in (here, there)] == [HIDDEN, HIDDEN]


def test_it_ends_when_the_child_comes_of_age_and_a_replay_knows_how_it_was(server: Live) -> None:
    start = datetime.now(UTC)
    birthday = f"{start.year - 17}-01-01"  # of age next year
    with family(server, "soon", 324, birthday) as (mother, here, there):
        assert read(mother, here) == (200, 200, 1)
        server.clock.now = start.replace(year=start.year + 1, month=1, day=2)
        try:
            again = server.client("related-person", "RelatedPerson/soon-mother", ASKS, "FAMRQT", scope="user/*.rs")
            with again:
                assert [read(again, each) for each in (here, there)] == [HIDDEN, HIDDEN]
        finally:
            server.clock.now = None
    with server.client("auditor", "Practitioner/auditor", ASKS, "HOPERAT", scope="user/*.rs") as auditor:
        asked_for = {"agent": "RelatedPerson/soon-mother", "subtype": "read", "entity": f"Consent/{here}"}
        found = [each["resource"] for each in auditor.get("AuditEvent", params=asked_for).json()["entry"]]
        assert {each["outcome"] for each in found} == {"0", "4"}
        for event in found:
            replayed = auditor.get(f"AuditEvent/{event['id']}/$replay").json()["parameter"]
            assert next(each["valueBoolean"] for each in replayed if each["name"] == "same")


def test_a_corrected_record_ends_it_at_once(server: Live) -> None:
    with family(server, "ended", 325, MINOR) as (mother, here, _):
        assert read(mother, here) == (200, 200, 1)
        server.put(related("ended-mother", "ended-1", active=False), organization=ASKS)
        assert read(mother, here) == HIDDEN
        server.put(related("ended-mother", "ended-1"), organization=ASKS)
        assert read(mother, here) == (200, 200, 1)
        known = resident_id(GROWN.replace("-", ""), 326)
        server.put(patient("ended-1", known, GROWN), observation("ended-o", "ended-1"), organization=ASKS)
        assert read(mother, here) == HIDDEN
