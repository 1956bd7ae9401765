"""_include and _revinclude over HTTP (FHIR R4 Search, "Including other resources in result")."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.interactions.test_search import observation, pages
from tests.live import Live

Json = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    def to(reference: str) -> Json:
        return {"reference": reference}

    server.put(
        {"resourceType": "Organization", "id": "top", "name": "Group"},
        {"resourceType": "Organization", "id": "part", "name": "Hospital", "partOf": to("Organization/top")},
        {"resourceType": "Practitioner", "id": "gp"},
        {"resourceType": "Patient", "id": "p", "managingOrganization": to("Organization/part"),
         "generalPractitioner": [to("Practitioner/gp")]},
        {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "A"},
         "subject": to("Patient/p"), "serviceProvider": to("Organization/part")},
        observation("o1", "Patient/p", encounter=to("Encounter/e"), performer=[to("Organization/part")]),
        observation("o2", f"{server.base}/Patient/p/_history/1", hasMember=[to("Observation/o1")]),
        observation("o3", "Patient/p", derivedFrom=[to("Observation/o2"), to("Observation/absent")]),
        observation("o4", "urn:uuid:0a3f6a5e-3c8d-4f0e-8d0b-0d8f0d8f0d8f"),
        {"resourceType": "Provenance", "id": "prov", "recorded": "2024-01-01T00:00:00Z",
         "target": [to("Observation/o1")], "agent": [{"who": to("Practitioner/gp")}]},
        *({"resourceType": "Questionnaire", "id": f"q{n}", "status": "active", "url": "http://a.example/q", "version": n}
          for n in "12"),
        {"resourceType": "QuestionnaireResponse", "id": "bare", "status": "completed", "subject": to("Patient/p"),
         "questionnaire": "http://a.example/q"},
        {"resourceType": "QuestionnaireResponse", "id": "of2", "status": "completed", "subject": to("Patient/p"),
         "questionnaire": "http://a.example/q|2"},
    )  # fmt: skip


def split(bundle: Json) -> tuple[list[str], list[str]]:
    """Return the places of the matches and of what is included."""
    found: dict[str, list[str]] = {"match": [], "include": []}
    for each in bundle.get("entry", ()):
        found[each["search"]["mode"]].append(f"{each['resource']['resourceType']}/{each['resource']['id']}")
    return found["match"], found["include"]


EVERYTHING = ["Encounter/e", "Organization/part", "Patient/p"]
ROWS = [
    ("Observation?_id=o1&_include=Observation:subject", ["Patient/p"]),
    ("Observation?_id=o1,o2,o3&_include=Observation:subject", ["Patient/p"]),
    ("Observation?_id=o1&_include=Observation:subject:Patient", ["Patient/p"]),
    ("Observation?_id=o1&_include=Observation:subject:Group", []),
    ("Observation?_id=o1&_include=*", EVERYTHING),
    ("Observation?_id=o1&_include=Observation:*", EVERYTHING),
    ("Observation?_id=o1&_include=Observation:*:Patient", ["Patient/p"]),
    ("Observation?_id=o4&_include=*", []),
    ("Observation?_id=o3&_include=Observation:derived-from", ["Observation/o2"]),
    ("Observation?_id=o2,o3&_include=Observation:derived-from", []),
    ("Observation?_id=o1&_include=Observation:subject&_include=Observation:encounter", ["Encounter/e", "Patient/p"]),
    (
        "Observation?_id=o1&_include=Observation:subject&_include:iterate=Patient:organization",
        ["Patient/p", "Organization/part"],
    ),
    (
        "Observation?_id=o1&_include=Observation:subject&_include:recurse=Patient:organization"
        "&_include:iterate=Organization:partof",
        ["Patient/p", "Organization/part", "Organization/top"],
    ),
    ("Organization?_id=part&_include=Organization:partof", ["Organization/top"]),
    ("Patient?_id=p&_include=Patient:organization&_include:iterate=Organization:partof",
     ["Organization/part", "Organization/top"]),
    ("Patient?_id=p&_include:iterate=*", ["Organization/part", "Practitioner/gp", "Organization/top"]),
    ("Patient?_id=p&_revinclude=Encounter:subject", ["Encounter/e"]),
    ("Patient?_id=p&_revinclude=Observation:subject", ["Observation/o1", "Observation/o2", "Observation/o3"]),
    ("Patient?_id=p&_revinclude=Observation:subject:Patient", ["Observation/o1", "Observation/o2", "Observation/o3"]),
    ("Patient?_id=p&_revinclude=Observation:subject:Group", []),
    ("Encounter?_id=e&_revinclude=Observation:*", ["Observation/o1"]),
    ("Organization?_id=part&_revinclude=*", ["Encounter/e", "Observation/o1", "Patient/p"]),
    ("Encounter?_id=e&_revinclude=Observation:encounter&_revinclude:iterate=Provenance:target",
     ["Observation/o1", "Provenance/prov"]),
    ("Encounter?_id=e&_revinclude=Observation:encounter&_include:iterate=Observation:performer",
     ["Observation/o1", "Organization/part"]),
    ("Organization?_id=top&_revinclude:iterate=Organization:partof", ["Organization/part"]),
    ("Observation?_id=o1&_revinclude=Observation:has-member", ["Observation/o2"]),
    ("Observation?_id=o1,o2&_revinclude=Observation:has-member", []),
    ("QuestionnaireResponse?_id=of2&_include=QuestionnaireResponse:questionnaire", ["Questionnaire/q2"]),
    ("QuestionnaireResponse?_id=bare&_include=*", ["Patient/p", "Questionnaire/q1", "Questionnaire/q2"]),
    ("QuestionnaireResponse?_id=bare&_include=QuestionnaireResponse:questionnaire:Questionnaire",
     ["Questionnaire/q1", "Questionnaire/q2"]),
    ("Questionnaire?_id=q1&_revinclude=QuestionnaireResponse:questionnaire",
     ["QuestionnaireResponse/bare", "QuestionnaireResponse/of2"]),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), ROWS, ids=[query for query, _ in ROWS])
def test_what_is_included(doctor: httpx.Client, query: str, expected: list[str]) -> None:
    answer = doctor.get(query)
    assert answer.status_code == 200, answer.text
    matches, included = split(answer.json())
    assert included == expected
    assert answer.json()["total"] == len(matches)
    assert not {*matches} & {*included}


def test_each_page_includes_what_belongs_to_it(doctor: httpx.Client) -> None:
    asked = {"_id": "o1,o2,o4", "_include": "Observation:encounter", "_count": "1"}
    read = [split(page) for page in pages(doctor, doctor.get("Observation", params=asked).json())]
    assert read == [(["Observation/o1"], ["Encounter/e"]), (["Observation/o2"], []), (["Observation/o4"], [])]


def test_a_search_of_several_types_includes_too(doctor: httpx.Client) -> None:
    found = doctor.get(
        "?_type=Encounter,Patient&_id=e,p&_include=Patient:organization&_revinclude=Observation:encounter"
    )
    assert split(found.json()) == (["Encounter/e", "Patient/p"], ["Observation/o1", "Organization/part"])
    assert split(doctor.get("?_id=e&_include=Encounter:service-provider").json())[1] == ["Organization/part"]


@pytest.mark.parametrize(
    "asked",
    [
        "_include=Observation", "_include=Patient:organization", "_include=Observation:code", "_include=Observation:none",
        "_include=Nothing:subject", "_include=Observation:subject:Encounter", "_include=Observation:*:Nothing",
        "_include:last=Observation:subject", "_revinclude=Observation:", "_include=Observation:subject:Patient:x",
        "_include=Observation:subject&_summary=text",
    ],
)  # fmt: skip
def test_what_cannot_be_included_is_refused(doctor: httpx.Client, asked: str) -> None:
    assert doctor.get(f"Observation?{asked}").status_code == 400


def test_a_count_includes_nothing(doctor: httpx.Client) -> None:
    assert "entry" not in doctor.get("Observation?_include=*&_summary=count").json()


def test_more_than_one_answer_should_hold_is_refused_with_advice(server: Live, doctor: httpx.Client) -> None:
    server.put({"resourceType": "Patient", "id": "many"})
    entries = [
        {"resource": observation(f"m{n}", "Patient/many"), "request": {"method": "PUT", "url": f"Observation/m{n}"}}
        for n in range(1_001)
    ]
    with server.system() as system:
        answer = system.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        assert answer.status_code == 200, answer.text
    refused = doctor.get("Patient?_id=many&_revinclude=Observation:subject")
    assert (refused.status_code, refused.json()["issue"][0]["code"]) == (400, "too-costly")
    assert "_count" in refused.json()["issue"][0]["diagnostics"]
    assert doctor.get("Patient?_id=many&_revinclude=Observation:subject:Group").status_code == 200
    assert doctor.get("Observation?subject=Patient/many&_count=500&_include=Observation:subject").status_code == 200


def test_a_chain_of_references_is_not_followed_without_end(server: Live, doctor: httpx.Client) -> None:
    steps = [{"derivedFrom": [{"reference": f"Observation/chain{n - 1}"}]} if n else {} for n in range(40)]
    server.put(*(observation(f"chain{n}", "Patient/chained", **step) for n, step in enumerate(steps)))
    short = doctor.get("Observation?_id=chain20&_include:iterate=Observation:derived-from")
    assert len(split(short.json())[1]) == 20
    long = doctor.get("Observation?_id=chain39&_include:iterate=Observation:derived-from")
    assert (long.status_code, long.json()["issue"][0]["code"]) == (400, "too-costly")


def test_who_may_only_read_or_only_search_is_included_by_that_alone(server: Live) -> None:
    scope = "user/Observation.s user/Patient.rs user/Encounter.r"
    with server.client("practitioner", "Practitioner/dr1", scope=scope) as narrow:
        assert split(narrow.get("Observation?_id=o1&_include=*").json())[1] == ["Encounter/e", "Patient/p"]
        found = narrow.get("Patient?_id=p&_revinclude=Observation:subject&_revinclude=Encounter:subject").json()
        assert split(found)[1] == ["Observation/o1", "Observation/o2", "Observation/o3"]
