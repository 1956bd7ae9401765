"""_filter over HTTP (FHIR R4, "_filter parameter"); the examples of that page among them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from tests.answers import FORM, ids
from tests.interactions import asking
from tests.interactions.asking import Json, found, loinc, to
from tests.live import Live


def patient(id: str, given: str, born: str, **more: Any) -> Json:
    return {"resourceType": "Patient", "id": id, "name": [{"given": [given]}], "birthDate": born, **more}


def observation(id: str, code: str, subject: str, **more: Any) -> Json:
    return asking.observation(id, f"Patient/{subject}", code=loinc(code), **more)


def kilograms(value: float) -> Json:
    return {"valueQuantity": {"value": value, "unit": "kg"}}


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    server.put(
        patient("peter", "Peter", "2015-01-01", gender="male"),
        patient("petra", "Petra", "2010-01-01", gender="female"),
        patient("ann", "Ann", "2015-06-01", address=[{"city": "北京市"}]),
        observation("weight", "1234-5", "peter", effectiveDateTime="2024-01", **kilograms(70)),
        observation("height", "8302-2", "petra", **kilograms(5)),
        observation("both", "1234-5", "ann", hasMember=[to("Observation/4")], **kilograms(6)),
        observation("4", "4", "ann"),
    )


@pytest.mark.parametrize(
    ("type", "text", "expected"),
    [
        # the page's own examples; R4 has no parameter "related", its successor is has-member
        ("Patient", 'name co "pet"', ["peter", "petra"]),
        ("Patient", 'given eq "peter" and birthdate ge 2014-10-10', ["peter"]),
        ("Observation", "code eq http://loinc.org|1234-5", ["both", "weight"]),
        ("Observation", 'subject.name co "pet"', ["height", "weight"]),
        ("Observation", "has-member pr true", ["both"]),
        ("Observation", "has-member.code pr false", ["4", "height", "weight"]),
        ("Observation", "has-member re Observation/4", ["both"]),
        ("Observation", "has-member[status eq final].code eq 4", ["both"]),
        # together
        ("Patient", "gender eq male or gender eq female", ["peter", "petra"]),
        ("Patient", "not (gender eq male)", ["ann", "petra"]),
        ("Patient", "gender ne male", ["petra"]),
        ("Patient", "birthdate ge 2014 and (given ew a or address-city co 京)", ["ann"]),
        ("Patient", "given ew ra or birthdate lt 2011", ["petra"]),
        ("Observation", "subject:Patient[gender eq male and birthdate ge 2014].name sw p", ["weight"]),
        ("Observation", "code-value-quantity[code eq 1234-5].value-quantity gt 10", ["weight"]),
        ("Observation", "date po 2024", ["weight"]),
        ("Observation", "_id eq 4", ["4"]),
    ],
)
def test_a_filter_finds(doctor: httpx.Client, type: str, text: str, expected: list[str]) -> None:
    assert found(doctor, f"{type}?{urlencode({'_filter': text})}") == expected
    assert found(doctor, type, posted={"_filter": text}) == expected


def test_a_filter_stands_beside_other_parameters(doctor: httpx.Client) -> None:
    asked = [("_filter", "birthdate ge 2014"), ("_filter", "given sw pet"), ("gender", "male,female")]
    assert ids(doctor.get("Patient", params=asked).json()) == ["peter"]
    assert ids(doctor.get("Patient", params=[("_filter", "_id eq ann"), ("gender", "male")]).json()) == []


def test_a_filter_that_cannot_be_read_is_refused_with_its_place(doctor: httpx.Client) -> None:
    answer = doctor.get("Patient", params={"_filter": 'given eq "peter" und birthdate ge 2014'})
    assert answer.status_code == 400
    [issue] = answer.json()["issue"]
    assert issue["code"] == "value"
    assert "character 18" in issue["diagnostics"]
    assert "peter" not in answer.text


HOSTILE = [
    "$where",
    ".*",
    '{"$ne":null}',
    "[$ne]",
    "a\x00b",
    "\x00",
    "\ud7ff\uffff",
    "'; return true; //",
    "x" * 20_000,
    "(" * 20_000,
    "\\" * 5_000,
    ",".join("a" * 2_000),
    "|" * 3_000,
    "$" * 3_000,
    '"' * 1_001,
    "%00",
    "..",
    "-",
    "\u202e",
]
NAMES = {
    "Patient": [
        *("name", "name:exact", "name:contains", "identifier", "identifier:of-type", "gender:not", "birthdate"),
        *("organization", "organization.name", "organization:identifier", "organization.partof.name"),
        *("_id", "_id:not", "_lastUpdated", "_tag", "_profile", "_list", "_filter", "_has:Observation:patient:code"),
        *(
            "_has:Observation:patient:_has:Group:member:name",
            "link._has:Observation:subject:code:text",
            "_text",
            "_content",
        ),
        *("name:missing", "gender:in", "gender:not-in", "gender:above", "gender:below"),
    ],
    "Observation": ["value-quantity", "code-value-quantity", "combo-code-value-concept", "code:in", "code:below"],
    "RiskAssessment": ["probability"],
    "ValueSet": ["url", "url:above", "url:below"],
    "Location": ["near"],
}


@pytest.mark.parametrize(("type", "name"), [(type, name) for type, names in NAMES.items() for name in names])
def test_text_that_attacks_is_a_value_or_is_refused(doctor: httpx.Client, type: str, name: str) -> None:
    for text in HOSTILE:
        answer = doctor.post(f"{type}/_search", data={name: text}, headers=FORM)
        assert answer.status_code in (200, 400), (name, text[:40], answer.text)
        if answer.status_code == 200 and ":missing" not in name and "not" not in name:
            assert answer.json()["total"] == 0, (name, text[:40])


FILTERS = [
    "name eq {}",
    'name sw "{}"',
    "organization[name eq {}].name eq {}",
    "not (_id eq {})",
    "{}",
    "{} eq x",
    "name {} x",
]


@pytest.mark.parametrize("pattern", FILTERS)
def test_a_filter_that_attacks_is_read_or_refused(doctor: httpx.Client, pattern: str) -> None:
    for text in HOSTILE:
        data = {"_filter": pattern.replace("{}", text)}
        answer = doctor.post("Patient/_search", data=data, headers=FORM)
        assert answer.status_code in (200, 400), (data["_filter"][:60], answer.text)


@pytest.mark.parametrize(
    "name", ["$where", "name.$where", "_has:$where:a:b", "_has:Observation:$ne:b", "na\x00me", "." * 500, ":" * 500]
)
def test_a_name_that_attacks_is_refused(doctor: httpx.Client, name: str) -> None:
    answer = doctor.get("Patient", params={name: "x"})
    assert answer.status_code == 400
    assert "$" not in answer.text
