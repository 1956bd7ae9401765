"""_summary, _elements and _total over HTTP (FHIR R4 Search, "Managing Returned Resources")."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server.interactions.searching import finding
from fhir_server.search.subset import SUBSETTED
from tests.answers import FORM
from tests.interactions.test_search import observation, pages
from tests.live import Live

Json = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    narrative = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'}
    server.put(
        {"resourceType": "Patient", "id": "p", "text": narrative, "gender": "male", "contact": [{"gender": "female"}]},
        *(observation(f"o{n}", "Patient/p", note=[{"text": "n"}], valueQuantity={"value": 1.50}) for n in range(4)),
    )


def resources(bundle: Json) -> dict[str, Json]:
    return {each["resource"]["id"]: each["resource"] for each in bundle["entry"]}


OBSERVED = {"resourceType", "id", "meta", "status", "code"}
PERSON = {"resourceType", "id", "meta"}


@pytest.mark.parametrize(
    ("asked", "of_match", "of_included"),
    [
        ("_summary=true", {*OBSERVED, "subject", "valueQuantity"}, {*PERSON, "gender"}),
        ("_summary=data", {*OBSERVED, "subject", "valueQuantity", "note"}, {*PERSON, "gender", "contact"}),
        ("_elements=note", {*OBSERVED, "note"}, PERSON),
        ("_elements=Observation.note,Patient.contact", {*OBSERVED, "note"}, {*PERSON, "contact"}),
    ],
)
def test_matches_and_what_is_included_are_cut_alike(
    doctor: httpx.Client, asked: str, of_match: set[str], of_included: set[str]
) -> None:
    query = f"subject=Patient/p&_include=Observation:subject&_count=2&{asked}"
    for page in pages(doctor, doctor.get(f"Observation?{query}").json()):
        found = resources(page)
        person = found.pop("p")
        assert len(found) == 2
        assert {*person} == of_included
        assert all({*each} == of_match for each in found.values())
        assert all(SUBSETTED in each["meta"]["tag"] for each in (person, *found.values()))
        assert page["total"] == 4


def test_what_is_cut_keeps_its_digits(doctor: httpx.Client) -> None:
    assert '"value":1.5,' not in doctor.get("Observation?_id=o1&_elements=value").text
    assert '"value":1.5}' in doctor.get("Observation?_id=o1&_elements=value").text


def test_the_narrative_alone(doctor: httpx.Client) -> None:
    [person] = resources(doctor.get("Patient?_id=p&_summary=text").json()).values()
    assert {*person} == {*PERSON, "text"}


def test_false_is_the_whole_and_count_is_a_number(doctor: httpx.Client) -> None:
    whole = doctor.get("Patient/p").json()
    assert resources(doctor.get("Patient?_id=p&_summary=false").json()) == {"p": whole}
    assert resources(doctor.get("Patient?_id=p&_elements=Observation.note").json()) == {"p": whole}
    counted = doctor.get("Observation?subject=Patient/p&_summary=count&_include=Observation:subject").json()
    assert (counted["total"], "entry" in counted) == (4, False)


def test_a_form_takes_them_too(doctor: httpx.Client) -> None:
    posted = doctor.post("Observation/_search", data={"_id": "o1", "_elements": "note"}, headers=FORM).json()
    assert {*resources(posted)["o1"]} == {*OBSERVED, "note"}


@pytest.mark.parametrize(
    "asked",
    ["_summary=all", "_elements=colour", "_elements=Patient.note", "_summary=true&_elements=note", "_total=some"],
)
def test_what_is_refused(doctor: httpx.Client, asked: str) -> None:
    assert doctor.get(f"Observation?{asked}").status_code == 400


@pytest.mark.parametrize(
    ("asked", "total"),
    [("", None), ("_total=none", None), ("_total=estimate", 4), ("_total=accurate", 4), ("_summary=count", 4)],
)
def test_a_large_total_is_counted_when_it_is_asked_for(
    doctor: httpx.Client, monkeypatch: pytest.MonkeyPatch, asked: str, total: int | None
) -> None:
    monkeypatch.setattr(finding, "MOST_COUNTED", 3)
    assert doctor.get(f"Observation?subject=Patient/p&_count=2&{asked}").json().get("total") == total


def test_a_total_is_counted_as_far_as_it_is_not_large(doctor: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "MOST_COUNTED", 4)
    assert doctor.get("Observation?subject=Patient/p&_count=2").json()["total"] == 4
    assert "total" not in doctor.get("?_type=Patient,Observation&_count=2").json()
