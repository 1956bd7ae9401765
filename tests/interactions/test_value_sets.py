"""Searches by value sets and code hierarchies over HTTP: :in, :not-in, :above, :below (FHIR R4 Search, "token")."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.interactions import asking
from tests.interactions.asking import refused
from tests.live import Live

FRUIT = {
    "resourceType": "CodeSystem", "id": "fruit", "url": "urn:fruit", "status": "active", "content": "complete",
    "concept": [{"code": "fruit", "concept": [{"code": "apple", "concept": [{"code": "fuji"}]}, {"code": "pear"}]}],
}  # fmt: skip


def value_set(id: str, *include: dict[str, Any], url: str | None = None, **said: Any) -> dict[str, Any]:
    composed = {"compose": {"include": list(include)}} if include else {}
    return {"resourceType": "ValueSet", "id": id, "url": url or f"urn:vs:{id}", "status": "active", **composed, **said}


def observation(id: str, code: str, system: str | None = "urn:fruit") -> dict[str, Any]:
    coding = {"code": code, **({"system": system} if system else {})}
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"coding": [coding]}}


def listed(*codes: str, system: str = "urn:fruit") -> dict[str, Any]:
    return {"system": system, "concept": [{"code": code} for code in codes]}


def is_a(code: str) -> dict[str, Any]:
    return {"system": "urn:fruit", "filter": [{"property": "concept", "op": "is-a", "value": code}]}


@pytest.fixture(scope="module")
def emr(server: Live) -> Iterator[httpx.Client]:
    server.put(
        FRUIT,
        value_set("apples", is_a("apple")),
        value_set("all", {"system": "urn:fruit"}),
        value_set("elsewhere", {"system": "urn:veg"}),
        value_set("made-of", {"valueSet": ["urn:vs:apples"]}, listed("pear")),
        value_set("ring", {"valueSet": ["urn:vs:ring"]}),
        value_set("patterned", {"system": "urn:fruit", "filter": [{"property": "code", "op": "regex", "value": "a.*"}]}),
        value_set("versions-1", listed("pear"), url="urn:vs:versions", version="1.9"),
        value_set("versions-2", listed("fuji"), url="urn:vs:versions", version="1.10"),
        value_set("versions-3", listed("apple"), url="urn:vs:versions", version="2", status="draft"),
        *(observation(code, code) for code in ("fruit", "apple", "fuji", "pear", "unknown")),
        observation("veg", "carrot", "urn:veg"),
        observation("plain", "apple", None),
        {"resourceType": "Patient", "id": "f", "gender": "female"},
        {"resourceType": "Patient", "id": "u"},
        {"resourceType": "Encounter", "id": "imp", "status": "finished",
         "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"}},
        {"resourceType": "Encounter", "id": "acute", "status": "finished",
         "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "ACUTE"}},
    )  # fmt: skip
    with server.system() as client:
        yield client


def found(client: httpx.Client, query: str) -> set[str]:
    return {*asking.found(client, query)}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Observation?code:in=urn:vs:apples", {"apple", "fuji"}),
        ("Observation?code:in=ValueSet/apples", {"apple", "fuji"}),
        ("Observation?code:in=urn:vs:all", {"fruit", "apple", "fuji", "pear"}),
        ("Observation?code:in=urn:vs:elsewhere", {"veg"}),
        ("Observation?code:in=urn:vs:made-of", {"apple", "fuji", "pear"}),
        ("Observation?code:in=urn:vs:apples,urn:vs:elsewhere", {"apple", "fuji", "veg"}),
        ("Observation?code:not-in=urn:vs:all", {"unknown", "veg", "plain"}),
        # The latest of the active ones, unless a version is named.
        ("Observation?code:in=urn:vs:versions", {"fuji"}),
        ("Observation?code:in=urn:vs:versions|1.9", {"pear"}),
        ("Observation?code:in=urn:vs:versions|2", {"apple"}),
        ("Observation?code:below=urn:fruit|apple", {"apple", "fuji"}),
        ("Observation?code:above=urn:fruit|apple", {"apple", "fruit"}),
        ("Observation?code:below=urn:fruit|unknown", {"unknown"}),
        ("Patient?gender:in=http://hl7.org/fhir/ValueSet/administrative-gender", {"f"}),
        ("Patient?gender:not-in=http://hl7.org/fhir/ValueSet/administrative-gender", {"u"}),
        ("Encounter?class:in=http://terminology.hl7.org/ValueSet/v3-ActEncounterCode", {"imp", "acute"}),
        ("Encounter?class:below=http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP", {"imp", "acute"}),
        ("Encounter?class:above=http://terminology.hl7.org/CodeSystem/v3-ActCode|IMP", {"imp"}),
    ],
)
def test_what_is_found_is_what_the_value_set_or_the_hierarchy_has(
    emr: httpx.Client, query: str, expected: set[str]
) -> None:
    assert found(emr, query) == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("Observation?code:in=urn:vs:nowhere", "value"),
        ("Observation?code:in=ValueSet/nowhere", "value"),
        ("Observation?code:in=urn:vs:versions|7", "value"),
        ("Observation?code:in=urn:vs:ring", "not-supported"),
        ("Observation?code:in=urn:vs:patterned", "not-supported"),
        ("Observation?code:in=http://hl7.org/fhir/ValueSet/body-site", "not-supported"),
        ("Observation?code:not-in=urn:vs:ring", "not-supported"),
        ("Observation?code:below=urn:veg|carrot", "not-supported"),
        ("Observation?code:below=http://snomed.info/sct|22298006", "not-supported"),
    ],
)
def test_what_cannot_be_told_is_refused_and_never_silently_empty(emr: httpx.Client, query: str, code: str) -> None:
    issue = refused(emr, query)
    assert issue["code"] == code
    assert query.partition("=")[2] not in issue["diagnostics"]


def test_a_changed_value_set_counts_from_the_next_request_on(server: Live, emr: httpx.Client) -> None:
    server.put(value_set("changing", listed("pear")), value_set("over", {"valueSet": ["urn:vs:changing"]}))
    assert found(emr, "Observation?code:in=urn:vs:over") == {"pear"}
    server.put(value_set("changing", listed("fuji")))
    assert found(emr, "Observation?code:in=urn:vs:over") == {"fuji"}
    assert emr.delete("ValueSet/changing").status_code == 204
    assert emr.get("Observation?code:in=urn:vs:over").status_code == 400


def test_a_value_set_stored_here_stands_before_that_of_the_standard(server: Live, emr: httpx.Client) -> None:
    url = "http://hl7.org/fhir/ValueSet/marital-status"
    server.put({**observation("m", "M", "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus")})
    assert found(emr, f"Observation?code:in={url}") == {"m"}
    server.put(value_set("marital", listed("pear"), url=url))
    assert found(emr, f"Observation?code:in={url}") == {"pear"}
    assert emr.delete("ValueSet/marital").status_code == 204
    assert found(emr, f"Observation?code:in={url}") == {"m"}


def test_what_the_requester_may_not_see_is_not_known(server: Live, emr: httpx.Client) -> None:
    """A token without the type answers as a server would that has no such value set, or R4's own alone."""
    server.put(value_set("gendered", listed("pear"), url="http://hl7.org/fhir/ValueSet/contact-point-use"))
    with server.client("system", "Device/emr-org1", scope="system/Observation.rs") as narrow:
        for url in ("urn:vs:apples", "ValueSet/apples"):
            hidden, absent = (narrow.get(f"Observation?code:in={each}") for each in (url, "urn:vs:nowhere"))
            assert (hidden.status_code, hidden.json()["issue"]) == (absent.status_code, absent.json()["issue"])
        assert narrow.get("Observation?code:below=urn:fruit|apple").status_code == 400
        assert found(narrow, "Observation?code:in=http://hl7.org/fhir/ValueSet/contact-point-use") == set()
    assert found(emr, "Observation?code:in=http://hl7.org/fhir/ValueSet/contact-point-use") == {"pear"}


def test_no_value_set_opens_a_record_of_others(server: Live, emr: httpx.Client) -> None:
    server.put(observation("theirs", "fuji"), organization="org2")
    assert "theirs" not in found(emr, "Observation?code:in=urn:vs:apples")
    with server.system("org2") as client:
        assert found(client, "Observation?code:in=urn:vs:apples") == {"theirs"}
