"""Every door through which a body leaves shows the same of it: what is withheld is withheld everywhere (D18, T22, T30)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import fhir_server
from tests.answers import FORM
from tests.consent_engine.build import HIV, actor, coding, deny
from tests.live import Live
from tests.redaction.world import (
    LABEL,
    MASK,
    PHONE,
    WORD,
    Json,
    composition,
    encounter,
    measured,
    obliged,
    observation,
    patient,
    section,
    to,
)

HELD = {"resourceType": "Patient", "id": "held", "telecom": [{"system": "phone", "value": PHONE}]}


@pytest.fixture(scope="module", autouse=True)
def stored(server: Live) -> None:
    server.put(
        patient("p"),
        patient("q"),
        observation("o", "p", encounter=to("Encounter/e"), note=[{"text": WORD}], **measured(5)),
        observation("c", "p", contained=[HELD], performer=[to("#held")], effectiveDateTime="2026-01-02"),
        observation("h", "p", meta={"security": [coding(*HIV)]}),
        encounter("e", "p"),
        composition(
            "x", "p", section("labs", "Observation/o"), section("hiv", "Observation/h", section=[section("in")])
        ),
        composition("y", "p", section("labs", "Observation/o"), section("gone", "Observation/never")),
        {"resourceType": "Bundle", "id": "b", "type": "collection", "entry": [{"resource": patient("p")}]},
    )
    # Another version of each, so that there is a history.
    server.put(
        patient("p", active=True),
        composition("x", "p", section("hiv", "Observation/h"), section("labs", "Observation/o")),
    )
    no_hiv = deny(actor=[actor("Practitioner/dr1")], securityLabel=[coding(*HIV)])
    server.put(obliged("k", "p", "Patient.telecom", "Observation.note", provision=[no_hiv]))


def inside(value: Any) -> Iterator[Json]:
    """Yield all resources in an answer, those in others as well."""
    if isinstance(value, dict):
        if "resourceType" in value and value["resourceType"] not in ("Parameters", "OperationOutcome"):
            yield value
        for each in value.values():
            yield from inside(each)
    elif isinstance(value, list):
        for each in value:
            yield from inside(each)


def got(path: str) -> Callable[[httpx.Client], httpx.Response]:
    return lambda client: client.get(path)


def posted(path: str, **data: str) -> Callable[[httpx.Client], httpx.Response]:
    return lambda client: client.post(path, data=data, headers=FORM)


def bundled(type: str, *urls: str) -> Callable[[httpx.Client], httpx.Response]:
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    return lambda client: client.post("", json={"resourceType": "Bundle", "type": type, "entry": entries})


# door, what it has to show of p's records: at least one of these types
DOORS = {
    "read": (got("Patient/p"), "Patient"),
    "vread": (got("Patient/p/_history/1"), "Patient"),
    "history of one": (got("Patient/p/_history"), "Patient"),
    "history of a type": (got("Patient/_history"), "Patient"),
    "history of all": (got("_history?_count=50"), "Patient Composition Observation"),
    "search": (got("Patient?_id=p"), "Patient"),
    "search by POST": (posted("Patient/_search", _id="p"), "Patient"),
    "search of several types": (got("?_type=Patient,Observation,Composition&_count=50"), "Patient Composition"),
    "search sorted by what is opened": (got("Patient?_sort=name"), "Patient"),
    "include": (got("Observation?_id=o&_include=Observation:subject"), "Patient Observation"),
    "include again": (
        got("Composition?_id=x&_include=Composition:entry&_include:iterate=Observation:subject"),
        "Patient Observation Composition",
    ),
    "revinclude": (got("Patient?_id=p&_revinclude=Observation:subject"), "Patient Observation"),
    "compartment": (got("Patient/p/*?_count=50"), "Patient Observation Composition"),
    "contained": (got("Patient?_contained=true&phone:missing=true"), "Patient"),
    "container": (got("Patient?_contained=true&_containedType=container&phone:missing=true"), "Observation"),
    "$everything": (got("Patient/p/$everything"), "Patient Observation Composition"),
    "$everything in pages": (got("Patient/p/$everything?_count=2"), "Patient"),
    "$everything of an encounter": (got("Encounter/e/$everything"), "Patient Observation"),
    "$document": (got("Composition/x/$document"), "Patient Observation Composition"),
    "$lastn": (got("Observation/$lastn?patient=p&max=5"), "Observation"),
    "batch": (bundled("batch", "Patient/p", "Composition/x", "Observation/o"), "Patient Composition Observation"),
    "transaction": (bundled("transaction", "Patient?_id=p", "Composition/x"), "Patient Composition"),
    "collection": (got("Observation/c"), "Observation Patient"),
    "composition": (got("Composition/x"), "Composition"),
    "version of a composition": (got("Composition/x/_history/1"), "Composition"),
    "composition of what is absent": (got("Composition/y"), "Composition"),
}


@pytest.mark.parametrize("door", DOORS)
def test_no_door_shows_what_is_withheld(doctor: httpx.Client, door: str) -> None:
    ask, types = DOORS[door]
    answer = ask(doctor)
    assert answer.status_code == 200, answer.text
    found = [each for each in inside(answer.json()) if each["resourceType"] != "Bundle" and each.get("id") != "q"]
    assert {each["resourceType"] for each in found} >= {*types.split()}
    for each in found:
        check(each)


def check(resource: Json) -> None:
    """Fail unless a record of p is shown without what is withheld, and says so."""
    said = resource.get("meta", {}).get("security", [])
    match resource["resourceType"]:
        case "Patient":
            assert resource["telecom"] == [MASK]
            assert "text" not in resource
            assert (LABEL in said) is (resource["id"] != "held")
        case "Observation":
            assert resource["note"] == [MASK]
            assert LABEL in said
        case "Composition":
            assert [each["title"] for each in resource["section"]] == ["labs"]
            assert "text" not in resource
            assert LABEL in said


@pytest.mark.parametrize(
    "shape", ["_summary=true", "_summary=text", "_summary=data", "_elements=telecom", "_elements=id"]
)
@pytest.mark.parametrize("door", ["Patient/p?", "Patient/p/_history?", "Patient?_id=p&"])
def test_what_is_asked_for_of_a_resource_is_taken_of_what_is_shown(doctor: httpx.Client, door: str, shape: str) -> None:
    answer = doctor.get(door + shape)
    assert answer.status_code == 200
    found = [each for each in inside(answer.json()) if each["resourceType"] == "Patient"]
    assert found
    for each in found:
        assert each.get("telecom", [MASK]) == [MASK]
        assert "text" not in each
        assert LABEL in each["meta"]["security"]
    assert PHONE not in answer.text


@pytest.mark.parametrize("path", ["Patient/p/$meta", "Patient/p/_history/1/$meta", "Composition/x/$meta"])
def test_meta_is_that_of_what_is_shown(doctor: httpx.Client, path: str) -> None:
    assert LABEL in doctor.get(path).json()["parameter"][0]["valueMeta"]["security"]


def test_a_version_keeps_its_etag(server: Live, doctor: httpx.Client) -> None:
    with server.system() as whole:
        assert doctor.head("Patient/p").headers["ETag"] == whole.head("Patient/p").headers["ETag"] == 'W/"2"'
    assert doctor.get("Patient/p", headers={"If-None-Match": 'W/"2"'}).status_code == 304


def test_who_owes_nothing_is_shown_all(server: Live) -> None:
    with (
        server.client("practitioner", "Practitioner/dr2") as other,
        server.client("patient", "Patient/p", purpose="PATRQT") as own,
    ):
        for client in (other, own):
            assert client.get("Patient/p").json()["telecom"] == patient("p")["telecom"]
            assert len(client.get("Composition/x").json()["section"]) == 2
            assert LABEL not in client.get("Composition/x").json().get("meta", {}).get("security", [])


def test_what_is_hidden_and_what_is_absent_look_the_same(server: Live, doctor: httpx.Client) -> None:
    """The section of an absent record leaves for everybody; that of a hidden one for whom it is hidden."""
    x, y = (doctor.get(f"Composition/{id}").json() for id in "xy")
    assert {**x, "id": "", "meta": x["meta"]["security"]} == {**y, "id": "", "meta": y["meta"]["security"]}
    with server.system() as system:
        assert [each["title"] for each in system.get("Composition/y").json()["section"]] == ["labs"]


def test_another_patient_of_whom_nothing_is_withheld_is_shown_whole(doctor: httpx.Client) -> None:
    assert doctor.get("Patient/q").json()["telecom"] == patient("q")["telecom"]
    found = doctor.get("Patient?_id=p,q").json()["entry"]
    assert {each["resource"]["id"]: each["resource"]["telecom"] == [MASK] for each in found} == {"p": True, "q": False}


def test_a_bundle_in_which_something_is_withheld_is_hidden_as_a_whole(server: Live, doctor: httpx.Client) -> None:
    assert doctor.get("Bundle/b").status_code == 404
    with server.client("practitioner", "Practitioner/dr2") as other:
        assert other.get("Bundle/b").status_code == 200


def test_a_document_that_is_stored_says_that_it_is_not_the_whole(server: Live) -> None:
    server.put(
        patient("s"),
        observation("s-o", "s"),
        composition("s-c", "s", section("labs", "Observation/s-o"), section("x", "Observation/none")),
    )
    body = {"resourceType": "Parameters", "parameter": [{"name": "persist", "valueBoolean": True}]}
    with server.system() as system:
        made = system.post("Composition/s-c/$document", json=body)
        assert made.status_code == 200, made.text
        assert made.json()["meta"]["security"] == [LABEL]
        assert len(made.json()["entry"][0]["resource"]["section"]) == 1


# Who opens bodies for the server itself: to file, to compare, to decide by; nobody is answered with what they open, but
# patients, and who speaks for them, with the Consents on which they take steps (holding.py), of which nothing is withheld.
OPENERS = (
    "consenting/following.py",
    "consenting/holding.py",
    "consenting/looking.py",
    "consenting/names.py",
    "consenting/reminders.py",
    "consenting/speaking.py",
    "consenting/ways/desk.py",
    "deliveries/purging.py",
    "interactions/terminology.py",
    "labelling/",
    "redaction/showing.py",
    "reindexing/",
    "store/",
)


def test_no_other_module_opens_bodies_than_the_one_that_redacts_them() -> None:
    root = Path(fhir_server.__file__).parent
    opening = re.compile(r"resources\.opened\(|history\.bodies\(")
    found = {str(each.relative_to(root)) for each in root.rglob("*.py") if opening.search(each.read_text("utf-8"))}
    assert "redaction/showing.py" in found
    assert {each for each in found if not each.startswith(OPENERS)} == set()
