"""Two hospitals that keep records of the same persons, and what one says to the other's server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from fhir_server.resident_id import TYPE, check_character
from tests.live import Live

Json = dict[str, Any]
ASKS, KEEPS, THIRD = "h1", "h2", "h3"
DOCTOR = "Practitioner/dr1"
RESIDENT_ID = "urn:oid:2.16.156.10011.1.3"


def resident_id(born: str, number: int) -> str:
    """Return a valid resident id number of somebody who does not exist. born: YYYYMMDD."""
    first = f"110105{born}{number:03}"
    return first + check_character(first)


def patient(id: str, number: str, born: str = "1980-01-01", phone: str = "13800000001") -> Json:
    kind = {"coding": [{"system": TYPE[0], "code": TYPE[1]}]}
    return {
        "resourceType": "Patient", "id": id, "birthDate": born, "name": [{"text": "李患者"}],
        "identifier": [{"type": kind, "system": RESIDENT_ID, "value": number}],
        "telecom": [{"system": "phone", "use": "mobile", "value": phone}],
    }  # fmt: skip


def observation(id: str, of: str) -> Json:
    return {
        "resourceType": "Observation", "id": id, "status": "final", "code": {"text": "血糖"},
        "subject": {"reference": f"Patient/{of}"}, "effectiveDateTime": "2026-01-01T08:00:00Z",
    }  # fmt: skip


def organization(id: str, name: str) -> Json:
    return {"resourceType": "Organization", "id": id, "name": name}


def person(server: Live, name: str, number: int, born: str = "1980-01-01") -> None:
    """Store a person as Patient/name-1 of who asks and Patient/name-2 of who keeps Observation/name."""
    known = resident_id(born.replace("-", ""), number)
    server.put(patient(f"{name}-1", known, born), organization=ASKS)
    server.put(patient(f"{name}-2", known, born), observation(name, f"{name}-2"), organization=KEEPS)


def doctor(server: Live, organization: str = ASKS) -> httpx.Client:
    return server.client("practitioner", DOCTOR, organization)


def own(server: Live, name: str) -> httpx.Client:
    """Return the client of a person's own token."""
    return server.client("patient", f"Patient/{name}-1", ASKS, "PATRQT")


@contextmanager
def both(server: Live, name: str) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Yield the clients of who asks, and of the person."""
    with doctor(server) as asking, own(server, name) as answering:
        yield asking, answering


def parameters(**values: Any) -> Json:
    """Return a Parameters resource. values: texts; a list for what is given several times; an object is a Period."""
    several = [
        (name, each) for name, value in values.items() for each in (value if isinstance(value, list) else [value])
    ]
    kinds = {str: "valueString", dict: "valuePeriod"}
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": name, kinds[type(each)]: each} for name, each in several],
    }


def in_days(days: int) -> str:
    """Return the day that comes so many days from now."""
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


def ask(client: httpx.Client, patient: str, **values: Any) -> httpx.Response:
    return client.post(f"Patient/{patient}/$request-authorization", json=parameters(**{"way": "app", **values}))


def asked(client: httpx.Client, patient: str, **values: Any) -> str:
    """Return the id of the Consent of a new question."""
    answer = ask(client, patient, **values)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def step(client: httpx.Client, consent: str, name: str, **values: Any) -> httpx.Response:
    body = parameters(**values) if values else None
    return client.post(f"Consent/{consent}/${name}", json=body)


def done(client: httpx.Client, consent: str, name: str, **values: Any) -> Json:
    """Return the Consent after a step that can be taken."""
    answer = step(client, consent, name, **values)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def said(consent: Json) -> Json:
    """Return what our extension of a Consent says, by name."""
    parts = consent["extension"][0]["extension"]
    return {each["url"]: next(value for name, value in each.items() if name != "url") for each in parts}


def status(client: httpx.Client, patient: str, **query: str) -> Json:
    """Return what is told of the status, by name."""
    answer = client.get(f"Patient/{patient}/$authorization-status", params=query)
    assert answer.status_code == 200, answer.text
    parts = answer.json()["parameter"]
    return {each["name"]: next(value for name, value in each.items() if name != "name") for each in parts}


def sees(client: httpx.Client, name: str) -> bool:
    """Return whether somebody sees the Observation that the other hospital keeps of a person."""
    answer = client.get(f"Observation/{name}")
    found = client.get("Observation", params={"_id": name, "_total": "accurate"}).json()["total"]
    assert (answer.status_code, found) in ((200, 1), (404, 0))
    return found == 1
