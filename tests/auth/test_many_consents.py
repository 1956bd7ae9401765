"""A person who has said very much: every door answers by the newest of some hundred statements that take turns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.consent_engine.build import LOINC, TYPES, coding, concept, consent, deny, permit
from tests.live import Live, live

Json = dict[str, Any]
MANY = 300
PATIENT = "Patient/p"

# Of records with these codes: whether the newest statement about one of the codes permits them (see _provision).
RECORDS = {
    (0,): True,
    (1,): False,
    (150,): True,
    (151,): False,
    (298,): True,
    (299,): False,
    (MANY,): False,  # the newest denial names it too
    (MANY + 1,): False,  # nobody said anything of it
    (2, 299): False,
    (3, 298): True,
    (4, 5): False,
    (5, 6, MANY + 1): True,
}
SEEN = {"-".join(map(str, codes)) for codes, seen in RECORDS.items() if seen}


def _signed(number: int) -> str:
    return (date(2020, 1, 1) + timedelta(days=number)).isoformat()


def _provision(number: int) -> Json:
    """Permits and denials by turns, of two codes each: its own number, and the next, of which the next says otherwise."""
    codes = [concept(LOINC, f"c{number}"), concept(LOINC, f"c{number + 1}")]
    kind = deny if number % 2 else permit
    since = {"start": _signed(number)}
    return kind(code=codes, dataPeriod=since, **{"class": [coding(TYPES, "Observation")]})


def _consent(number: int, provision: Json) -> Json:
    named = {"resourceType": "Consent", "id": f"c{number}", "category": [{"text": "consent"}]}
    return {**consent(provision, dateTime=_signed(number), patient={"reference": PATIENT}), **named}


def _observation(codes: tuple[int, ...]) -> Json:
    return {
        "resourceType": "Observation",
        "id": "-".join(map(str, codes)),
        "status": "final",
        "code": concept(LOINC, *(f"c{code}" for code in codes)),
        "subject": {"reference": PATIENT},
        "effectiveDateTime": "2026-05-01",
    }


def _transaction() -> Json:
    said = (_consent(number, _provision(number)) for number in range(MANY))
    stored = [{"resourceType": "Patient", "id": "p"}, *map(_observation, RECORDS), *said]
    entries = [
        {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
        for each in stored
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


@pytest.fixture(scope="module")
def server(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder: Path = tmp_path_factory.mktemp("many")
    with live(mongo_uri, folder, database="many_consents", conflict_mode="newest-wins") as running:
        with running.system() as system:
            assert system.post("", json=_transaction()).status_code == 200
        yield running


@pytest.fixture
def doctor(server: Live) -> Iterator[httpx.Client]:
    with server.client("practitioner", "Practitioner/dr2", "org2") as client:
        yield client


@pytest.mark.parametrize("codes", RECORDS)
def test_a_record_is_read_where_the_newest_statement_about_it_permits(
    doctor: httpx.Client, codes: tuple[int, ...]
) -> None:
    answer = doctor.get(f"Observation/{'-'.join(map(str, codes))}")
    assert answer.status_code == (200 if RECORDS[codes] else 404)


@pytest.mark.parametrize("asked", [{"patient": PATIENT}, {}, {"status": "final", "_sort": "date"}])
def test_a_search_finds_and_counts_what_may_be_read(doctor: httpx.Client, asked: dict[str, str]) -> None:
    page = doctor.get("Observation", params=asked).json()
    assert {each["resource"]["id"] for each in page["entry"]} == SEEN
    counted = doctor.get("Observation", params={**asked, "_summary": "count"}).json()
    assert (page["total"], counted["total"]) == (len(SEEN), len(SEEN))
