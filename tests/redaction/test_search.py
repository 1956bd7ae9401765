"""What is withheld can be searched for as little as if it were not stored (consent.md, T32; consent-scenarios.md, D4).

Server A holds the whole records, with a Consent by which something of p's is withheld from Dr1. Server B holds of p what
Dr1 is shown, and no such Consent. Whatever Dr1 asks, both answer the same, the labels and times in `meta` aside.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.answers import FORM
from tests.live import Live
from tests.redaction.both import Both, asking, said, serving, without
from tests.redaction.world import (
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

WITHHELD = ("Patient.telecom", "Patient.birthDate", "Patient.name.given", "Observation.value", "Observation.encounter")


def whole() -> list[Json]:
    code = {"code": {"coding": [{"system": "urn:c", "code": "part"}]}}
    return [
        patient("p"),
        patient("q"),
        observation("po", "p", encounter=to("Encounter/e"), component=[{**code, **measured(7)}], **measured(5)),
        observation("pn", "p", component=[{**code, **measured(8)}]),
        observation("qo", "q", encounter=to("Encounter/e"), component=[{**code, **measured(7)}], **measured(5)),
        encounter("e", "q"),
        composition(
            "x", "p", section("labs", "Observation/po"), section("gone", "Observation/pn", "Observation/never")
        ),
        composition("y", "q", section("labs", "Observation/qo")),
    ]


def left() -> list[Json]:
    """Return the same records as Dr1 is shown them."""
    found: list[Json] = []
    for each in whole():
        if each["id"] == "p":
            given = {"name": [{"family": "Zhang", "_given": [MASK]}], "telecom": [MASK], "_birthDate": MASK}
            each = {**without(each, "text", "birthDate"), **given}
        elif each["id"] in ("po", "pn"):
            reason = {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "masked"}
            absent = {"dataAbsentReason": {"coding": [{**reason, "display": "Masked"}]}}
            each = {**without(each, "valueQuantity"), **absent, "encounter": MASK}
        elif each["id"] == "x":
            each = {**without(each, "text"), "section": each["section"][:1]}
        found.append(each)
    return found


@pytest.fixture(scope="module")
def both(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with serving(mongo_uri, tmp_path_factory) as (a, b):
        a.put(*whole(), obliged("k", "p", *WITHHELD))
        b.put(*left(), obliged("k", "p"))
        with asking(a, b) as clients:
            yield clients


# query; which records it finds ("" none; None: what B finds is enough)
ASKED = [
    (f"Patient?phone={PHONE}", "q"),
    (f"Patient?phone:not={PHONE}", "p"),
    (f"Patient?telecom={PHONE},x", "q"),
    ("Patient?email=p@example.org", ""),
    ("Patient?email=q@example.org", "q"),
    ("Patient?phone:missing=true", "p"),
    ("Patient?phone:missing=false", "q"),
    ("Patient?telecom:missing=true", "p"),
    ("Patient?birthdate=1980-01-01", ""),
    ("Patient?birthdate=1990-01-01", "q"),
    ("Patient?birthdate=lt1985", ""),
    ("Patient?birthdate=gt1900,lt1800", "q"),
    ("Patient?birthdate=ne1990-01-01", ""),
    ("Patient?birthdate:missing=true", "p"),
    ("Patient?birthdate:missing=false", "q"),
    (f"Patient?birthdate:missing=true&phone={PHONE}", ""),
    ("Patient?given=San", "q"),
    ("Patient?given:exact=Sanp", ""),
    ("Patient?given:missing=true", "p"),
    ("Patient?name=San", "q"),
    ("Patient?name=Zhang", "p q"),
    ("Patient?name:contains=anp", ""),
    ("Patient?name:contains=han", "p q"),
    ("Patient?phonetic=Sanp", ""),
    ("Patient?family=Zhang", "p q"),
    ("Patient?gender=female", "p q"),
    (f"Patient?_text={WORD}", "q"),
    (f"Patient?_content={WORD}", "q"),
    ("Patient?_content=Zhang", "p q"),
    ("Patient?_content=Sanp", ""),
    (f'Patient?_filter=phone eq "{PHONE}"', "q"),
    (f'Patient?_filter=not (phone eq "{PHONE}")', "p"),
    ("Patient?_filter=birthdate lt 1985-01-01", ""),
    ("Patient?_filter=birthdate pr false", "p"),
    (f'Patient?_filter=phone eq "{PHONE}" or family eq Zhang', "p q"),
    ("Patient?_sort=birthdate", "p q"),
    ("Patient?_sort=-birthdate", "q p"),
    ("Patient?_sort=given", "p q"),
    ("Patient?_sort=-given,_id", "q p"),
    ("Patient?_sort=-phone", "q p"),
    ("Patient?_sort=birthdate&_count=1", None),
    ("Patient?_summary=count&birthdate=lt1985", ""),
    ("Patient?_summary=count&phone:missing=true", None),
    ("Patient?_has:Observation:patient:value-quantity=gt4", "q"),
    ("Patient?_has:Observation:patient:combo-value-quantity=gt7.5", "p"),
    ("Patient?_has:Observation:patient:_id=po", "p"),
    ("Patient?_has:Observation:patient:encounter=e", "q"),
    (f"Observation?subject:Patient.phone={PHONE}", "qo"),
    ("Observation?patient.birthdate=lt1985", ""),
    ("Observation?patient.birthdate:missing=true", "pn po"),
    ("Observation?value-quantity=5", "qo"),
    ("Observation?value-quantity=gt1", "qo"),
    ("Observation?value-quantity:missing=true", "pn po"),
    ("Observation?combo-value-quantity=5", "qo"),
    ("Observation?combo-value-quantity=7", "po qo"),
    ("Observation?combo-value-quantity=gt7.5", "pn"),
    ("Observation?combo-value-quantity:missing=true", ""),
    ("Observation?component-value-quantity=7", "po qo"),
    ("Observation?code-value-quantity=1-8$5", "qo"),
    ("Observation?code-value-quantity=1-8$gt1", "qo"),
    ("Observation?code-value-quantity:missing=true", "pn po"),
    ("Observation?combo-code-value-quantity=part$7", "po qo"),
    ("Observation?combo-code-value-quantity=1-8$5", "qo"),
    ("Observation?component-code-value-quantity=part$gt6", "pn po qo"),
    ("Observation?encounter=e", "qo"),
    ("Observation?encounter:missing=true", "pn po"),
    ("Observation?encounter.status=finished", "qo"),
    ("Observation?encounter.patient=q", "qo"),
    ("Observation?_sort=value-quantity,_id", "pn po qo"),
    ("Observation?_sort=-value-quantity,_id", "qo pn po"),
    ("Observation?_sort=encounter,_id", "pn po qo"),
    ("Observation?_include=Observation:encounter&patient=p", None),
    ("Observation?_include=*&patient=p", None),
    ("Encounter?_revinclude=Observation:encounter", None),
    ("Encounter?_revinclude=*", None),
    ("Encounter?_has:Observation:encounter:code=1-8", "e"),
    ("Encounter?_has:Observation:encounter:patient=p", ""),
    ("Encounter?_has:Observation:encounter:patient=q", "e"),
    ("Encounter/e/Observation", "qo"),
    ("Encounter/e/*", None),
    ("Encounter/e/$everything", None),
    ("Patient/p/$everything?_type=Patient,Observation,Composition", None),
    ("Observation/$lastn?patient=p&value-quantity=5", ""),
    ("Observation/$lastn?patient=q", "qo"),
    ("Composition?section=labs", "x y"),
    ("Composition?section=gone", ""),
    ("Composition?section:not=gone", "x y"),
    ("Composition?section:missing=false", "x y"),
    ("Composition?entry=Observation/po", "x"),
    ("Composition?entry=Observation/pn", ""),
    ("Composition?entry=Observation/never", ""),
    ("Composition?entry=Observation/pn,Observation/qo", "y"),
    ("Composition?entry:Observation.code=1-8", "x y"),
    ("Composition?entry:Observation._id=pn", ""),
    ("Composition?entry:Observation.patient=q", "y"),
    (f"Composition?_text={WORD}", "y"),
    (f"Composition?_content={WORD}", "y"),
    ("Composition?_content=gone", ""),
    ("Composition?_content=labs", "x y"),
    ('Composition?_filter=section eq "gone"', ""),
    ('Composition?_filter=not (section eq "gone")', "x y"),
    ("Composition?_sort=section", None),
    ("Observation?_has:Composition:entry:_id=x", "po"),
    ("Observation?_has:Composition:entry:patient=p", "po"),
    ("Observation?_has:Composition:entry:section=gone", ""),
    ("Observation?_id=pn&_revinclude=Composition:entry", None),
    ("Observation?_id=po&_revinclude=Composition:entry", None),
    ("Composition?_include=Composition:entry", None),
    ("Composition?_total=accurate&section=gone", ""),
    ("?_type=Patient,Observation&_sort=_id", None),
]


@pytest.mark.parametrize(("path", "found"), ASKED)
def test_a_search_finds_what_it_would_find_if_only_what_is_shown_were_stored(
    both: Both, path: str, found: str | None
) -> None:
    of_a, of_b = both.a.get(path), both.b.get(path)
    assert of_a.status_code == 200, of_a.text
    assert said(of_a) == said(of_b)
    if found is not None:
        matches = [each for each in of_a.json().get("entry", ()) if each["search"]["mode"] == "match"]
        names = [each["resource"]["id"] for each in matches]
        assert (names if "_sort" in path else sorted(names)) == found.split()


@pytest.mark.parametrize(
    "path", [each for each, found in ASKED if found is not None and each.partition("?")[0].isalpha()]
)
def test_a_search_by_post_finds_the_same(both: Both, path: str) -> None:
    type, _, query = path.partition("?")
    posted = both.a.post(f"{type}/_search", content=query.encode(), headers=FORM)
    assert said(posted) == said(both.a.get(path))


@pytest.mark.parametrize("path", ["Patient?_sort=birthdate&_count=1", "Observation?_sort=-value-quantity&_count=1"])
def test_the_pages_of_an_order_by_what_is_withheld_are_the_same(both: Both, path: str) -> None:
    pages = []
    for client in both:
        answer, seen = client.get(path), []
        while True:
            seen.append(said(answer))
            links = {each["relation"]: each["url"] for each in answer.json()["link"]}
            if "next" not in links:
                break
            answer = client.get(links["next"])
        pages.append(seen)
    assert pages[0] == pages[1]
    assert len(pages[0]) > 1


@pytest.mark.parametrize("place", [f"{each['resourceType']}/{each['id']}" for each in whole()])
def test_a_read_shows_what_the_other_server_holds(both: Both, place: str) -> None:
    assert said(both.a.get(place)) == said(both.b.get(place))


CONDITIONS = [
    (f"phone={PHONE}", 201),
    ("birthdate=1980-01-01", 201),
    ("given=Sanp", 201),
    ("_id={id}", 200),
]


@pytest.mark.parametrize(("condition", "status"), CONDITIONS)
def test_a_condition_of_a_write_finds_as_little(server: Live, condition: str, status: int) -> None:
    """T28: a conditional create is answered with what it finds, so it finds nothing by what is withheld."""
    id = f"p{CONDITIONS.index((condition, status))}"
    server.put(patient(id), obliged(f"k-{id}", id, *WITHHELD, to="Device/emr-org1"))
    with server.system() as emr:
        new = {"resourceType": "Patient", "gender": "male"}
        answer = emr.post("Patient", json=new, headers={"If-None-Exist": condition.format(id=id)})
        assert answer.status_code == status, answer.text
        assert answer.json().get("telecom", []) == ([MASK] if status == 200 else [])
        assert PHONE not in answer.text
