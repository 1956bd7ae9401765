"""What others compare servers by (shared/data/server-compare): 29 TestScripts and 36 queries, over Synthea patients.

A query's answer is not what other servers say but what R4 says, worked out from the loaded resources by a predicate.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml

from tests.conformance.testscript import failures
from tests.live import Live
from tests.shared import SHARED, needed

COMPARE = needed("data", "server-compare")
SCRIPTS = sorted((COMPARE / "conformance").rglob("*.json"))
QUERIES = yaml.safe_load((COMPARE / "config" / "queries.yaml").read_text(encoding="utf-8"))["queries"]
# Small records, each with something that the queries ask for.
PATIENTS = "e4531916 d78af07c ee9f8dd8 cdf500b9 2a3d4d46 4ef9f896 32342551 df3f2f4e 27de96c6 80a75b5a".split()
Json = dict[str, Any]

# Scripts that ask for what is not offered, each with the reason. They are refused as R4 has it, never answered wrongly.
NOT_OFFERED = {
    f"bulk-data-v2/{name}": "bulk export is not part of this version: refused with an OperationOutcome"
    for name in (
        "MAY/ndjson-output-format-accepted.json", "MAY/system-export-discoverable.json",
        "MUST/patient-export-content-location.json", "MUST/patient-export-returns-202.json",
        "SHOULD/capability-declares-export.json", "SHOULD/group-export-discoverable.json",
    )
} | {"fhir-r4-base/MAY/bulk-data-export.json": "bulk export, as above"}  # fmt: skip


@pytest.fixture(scope="module")
def loaded(server: Live) -> list[Json]:
    """The resources of the sample as the server holds them."""
    with server.system() as client:
        for name in PATIENTS:
            (path,) = (SHARED / "data" / "synthea").glob(f"{name}*.json.gz")
            answer = client.post("", content=gzip.decompress(path.read_bytes()))
            assert answer.status_code == 200, answer.text[:500]
        return [each for type in TYPES for each in everything(client, f"{type}?_count=500")]


TYPES = "Patient Observation Condition Procedure Encounter MedicationRequest Practitioner Organization".split()


def everything(client: httpx.Client, url: str) -> Iterator[Json]:
    """Yield the matches of a search, page by page."""
    following: str | None = url
    while following:
        page = client.get(following).json()
        yield from matches(page)
        following = next((each["url"] for each in page["link"] if each["relation"] == "next"), None)


def matches(page: Json) -> list[Json]:
    return [each["resource"] for each in page.get("entry", ()) if each["search"]["mode"] == "match"]


@pytest.fixture
def client(server: Live, loaded: list[Json]) -> Iterator[httpx.Client]:
    with server.system() as client:
        yield client


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_holds(client: httpx.Client, path: Any) -> None:
    failed = list(failures(json.loads(path.read_bytes()), client))
    name = path.relative_to(COMPARE / "conformance" / "testscripts").as_posix()
    assert bool(failed) == (name in NOT_OFFERED), failed


def coded(resource: Json, code: str, of: str = "code") -> bool:
    """Return whether a CodeableConcept has this code ("system|code")."""
    system, _, value = code.rpartition("|")
    return any(
        each.get("system") == system and each["code"] == value for each in resource.get(of, {}).get("coding", ())
    )


def begins(texts: Any, start: str) -> bool:
    return any(text.casefold().startswith(start.casefold()) for text in texts)


def about(resource: Json, asked: str) -> bool:
    return resource["subject"]["reference"] == asked


def holds_word(resource: Json, word: str, of: str | None = None) -> bool:
    """Return whether a word stands in the resource, or in one element of it."""
    text = json.dumps(resource.get(of, {}) if of else resource, ensure_ascii=False)
    return re.search(rf"\b{word}\b", text, re.IGNORECASE) is not None


def families(patient: Json) -> list[str]:
    return [name["family"] for name in patient["name"]]


def shown(condition: Json) -> list[str]:
    code = condition["code"]
    return [code.get("text", ""), *(each.get("display", "") for each in code["coding"])]


Matching = Callable[[Json, dict[str, str]], bool]
BY_CODE: Matching = lambda resource, asked: coded(resource, asked["code"])  # noqa: E731
BY_SUBJECT: Matching = lambda resource, asked: about(resource, asked["patient"])  # noqa: E731

# By name of the query, whether a resource of the type is in the answer; asked: the query's parameters.
ANSWERS: dict[str, Matching] = {
    "observation_search_default": lambda _, asked: True,
    "observation_search_total_accurate": lambda _, asked: True,
    "observation_by_code": BY_CODE,
    "q1_uscore_observation_combo": lambda resource, asked: any(
        coded(each, asked["combo-code"]) for each in (resource, *resource.get("component", ()))
    ),
    "patient_by_gender": lambda patient, asked: patient["gender"] == asked["gender"],
    "patient_by_family_prefix": lambda patient, asked: begins(families(patient), asked["family"]),
    "patient_by_given_prefix": lambda patient, asked: begins(
        [given for name in patient["name"] for given in name["given"]], asked["given"]
    ),
    "patient_by_gender_family": lambda patient, asked: (
        patient["gender"] == asked["gender"] and begins(families(patient), asked["family"])
    ),
    "observation_by_height": BY_CODE,
    "observation_by_weight": BY_CODE,
    "observation_by_pain": BY_CODE,
    "observation_recent": lambda resource, asked: resource["effectiveDateTime"] >= asked["date"].removeprefix("ge"),
    "patient_revinclude_wildcard": lambda _, asked: True,
    "patient_by_family_exact": lambda patient, asked: begins(families(patient), asked["family"]),
    "observations_for_patient": BY_SUBJECT,
    "conditions_for_patient": BY_SUBJECT,
    "condition_by_code": BY_CODE,
    "procedure_by_code": BY_CODE,
    "encounter_by_patient": BY_SUBJECT,
    "medication_request_by_patient": BY_SUBJECT,
    "encounter_by_practitioner": lambda encounter, asked: asked["participant"] in [
        each["individual"]["reference"] for each in encounter["participant"]
    ],
    "encounter_by_location": lambda encounter, asked: asked["location"] in [
        each["location"]["reference"] for each in encounter.get("location", ())
    ],
    "patient_content_search": lambda patient, asked: holds_word(patient, asked["_content"]),
    "observation_content_search": lambda resource, asked: holds_word(resource, asked["_content"]),
    "condition_content_search": lambda resource, asked: holds_word(resource, asked["_content"]),
    "patient_text_narrative": lambda patient, asked: holds_word(patient, asked["_text"], of="text"),
    "condition_code_text_modifier": lambda condition, asked: begins(shown(condition), asked["code:text"]),
}  # fmt: skip

# Queries that R4 has refused, or that ask for what is not offered: the status, and why.
REFUSED = {
    "q7_error_unsupported_param": (400, "R4 Search, Handling Errors: an unknown parameter is not passed over"),
    "patient_name_text_modifier": (400, "R4 has :text on tokens and references, not on strings"),
    "patient_address_text_modifier": (400, "R4 has :text on tokens and references, not on strings"),
    "q6_expand_valueset": (404, "$expand is not offered, and the value set is not R4's"),
    "q6_lookup_loinc": (404, "$lookup is not offered; LOINC is not ours to hand on"),
    "patient_export": (404, "bulk export is not part of this version"),
}
# Queries about something else than a search; each has its own test below.
OTHERS = {"capability_statement", "q2_history_type", "patient_read_by_id"}


def sampled(query: Json, resources: list[Json]) -> dict[str, str]:
    """Return a value for each place of a query that is filled from the data."""
    by_type: dict[str, list[Json]] = {}
    for each in resources:
        by_type.setdefault(each["resourceType"], []).append(each)
    code = lambda type: "{system}|{code}".format(**by_type[type][0]["code"]["coding"][0])  # noqa: E731
    pools = {
        "patient_id": lambda: by_type["Patient"][0]["id"],
        "patient_family": lambda: by_type["Patient"][0]["name"][0]["family"],
        "condition_code": lambda: code("Condition"),
        "procedure_code": lambda: code("Procedure"),
        "practitioner_id": lambda: by_type["Practitioner"][0]["id"],
        "location_id": lambda: "none",  # these records of Synthea have no Location
    }
    return {name: pools[pool]() for name, pool in (query.get("sample") or {}).items()}


def filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: values[found[1]], text)


@pytest.mark.parametrize(
    "query", [each for each in QUERIES if each["name"] in ANSWERS], ids=lambda query: query["name"]
)
def test_a_query_finds_what_r4_says(client: httpx.Client, loaded: list[Json], query: Json) -> None:
    values = sampled(query, loaded)
    asked = {name: filled(text, values) for name, text in query["params"].items()}
    matching = ANSWERS[query["name"]]
    expected = {each["id"] for each in loaded if each["resourceType"] == query["path"] and matching(each, asked)}
    answer = client.get(query["path"], params=asked)
    assert answer.status_code == 200, answer.text
    page = answer.json()
    found = [each["id"] for each in matches(page)]
    assert {*found} <= expected
    assert len(found) == len({*found}) == min(len(expected), int(asked.get("_count", 50)))
    assert page.get("total", len(expected)) == len(expected)
    whole = httpx.QueryParams({**asked, "_count": "200"})
    assert {each["id"] for each in everything(client, f"{query['path']}?{whole}")} == expected


@pytest.mark.parametrize(
    "query", [each for each in QUERIES if each["name"] in REFUSED], ids=lambda query: query["name"]
)
def test_a_query_is_refused_with_an_outcome(client: httpx.Client, query: Json) -> None:
    answer = client.get(query["path"], params=query.get("params"), headers=query.get("headers"))
    assert (answer.status_code, answer.json()["resourceType"]) == (REFUSED[query["name"]][0], "OperationOutcome")


def test_every_query_is_one_of_these() -> None:
    names = [each["name"] for each in QUERIES]
    assert sorted(names) == sorted([*ANSWERS, *REFUSED, *OTHERS])


def test_the_history_of_a_type_has_the_latest_change_first(client: httpx.Client) -> None:
    page = client.get("Patient/_history", params={"_count": "1"}).json()
    assert (page["type"], len(page["entry"])) == ("history", 1)
    assert page["entry"][0]["request"]["method"] == "POST"


def test_what_includes_everything_brings_what_refers_to_the_patients(client: httpx.Client) -> None:
    page = client.get("Patient", params={"_count": "2", "_revinclude": "*"}).json()
    patients = {f"Patient/{each['id']}" for each in matches(page)}
    included = [each["resource"] for each in page["entry"] if each["search"]["mode"] == "include"]
    assert len(patients) == 2
    assert included
    assert all(any(name in json.dumps(each) for name in patients) for each in included)


def test_a_read_brings_the_resource(client: httpx.Client, loaded: list[Json]) -> None:
    answer = client.get(f"Patient/{loaded[0]['id']}")
    assert (answer.status_code, answer.json()) == (200, loaded[0])
