"""Every official example of a served type, and Taiwan's, is found by every search parameter whose value it carries.

The examples are stored once in a running server; the questions are made by carried.py, and each is asked together with
the example's id, so that its answer is one number: one. What is wrong in an example or in R4's own definition is listed.
"""

from __future__ import annotations

import gzip
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pymongo import MongoClient

from fhir_server.definitions.registry import registry
from fhir_server.fhir_json import dump, parse
from tests.conformance.carried import carried, narrated
from tests.live import live
from tests.shared import needed

R4 = registry()
FOLDERS = (needed("data", "examples-r4"), needed("data", "tw-core-examples"))
ENTRIES = 50  # in one Bundle
AT_ONCE = 3  # Bundles on the way

# Examples that cannot be stored: what is wrong with them. AuditEvents are written by the server alone.
_NO_BASE = "SearchParameter.base is required, and the example has none"
NOT_STORED = {
    "Questionnaire/qs1": "Questionnaire.item.linkId is required, and some items have none",
    "SearchParameter/questionnaireresponse-extensions-QuestionnaireResponse-item-subject": "the id is too long",
    **{
        f"SearchParameter/{source}-extensions-{type}-{name}": _NO_BASE
        for source, type in (("codesystem", "CodeSystem"), ("valueset", "ValueSet"))
        for name in ("author", "effective", "end", "keyword", "workflow")
    },
}
# Questions that do not find their example, as "query id": what is wrong in the example, or the limit that is met.
_SWAPPED = "latitude and longitude are swapped in the example: no latitude is 121 degrees"
_LONG = "a text in a composite is filed by its first 32 characters; a longer question is refused, not misread"
NOT_FOUND = {
    "Library?predecessor=library-fhir-helpers-predecessor library-fhir-helpers": "a canonical that is no URL, but an id",
    **{
        f"Location?near=121.45941895179722%7C25.043085494729105%7C1%7Ckm {id}": _SWAPPED
        for id in ("loc-ent-example", "loc-er-example", "loc-hrad-example")
    },
    **{
        f"Observation?code-value-string={code}%24{text} {id}": _LONG
        for id, code, text in (
            (
                "trachcare",
                "http%3A%2F%2Fsnomed.info%2Fsct%7C410211008",
                "Mother%20is%20trained%20to%20change%20her%20child%27s%20tracheostomy%20tube",
            ),
            (
                "obs-careExp-example",
                "http%3A%2F%2Floinc.org%7C95541-9",
                quote("For critical or end-of-life care\\, here are some examples of the things that I wo", safe=""),
            ),
            (
                "obs-treatment-intervention-preference-example",
                "http%3A%2F%2Floinc.org%7C75773-2",
                quote("If I am having significant pain or suffering\\, I would like my doctors to consult", safe=""),
            ),
        )
    },
}


@cache
def examples() -> dict[str, list[dict[str, Any]]]:
    """Return the examples by served type."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in (path for folder in FOLDERS for path in sorted(folder.glob("*.ndjson.gz"))):
        type = path.name.partition(".")[0]
        if type in R4.types and type != "AuditEvent":
            found.setdefault(type, []).extend(map(parse, gzip.decompress(path.read_bytes()).splitlines()))
    return found


def name_of(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def sent(client: httpx.Client, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the answers to the entries of a batch, some Bundles at a time."""

    def send(part: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
        answer = client.post("", content=dump({"resourceType": "Bundle", "type": "batch", "entry": part}))
        assert answer.status_code == 200, answer.text
        return list(answer.json()["entry"])

    parts = [tuple(entries[at : at + ENTRIES]) for at in range(0, len(entries), ENTRIES)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [each for answers in pool.map(send, parts) for each in answers]


@pytest.fixture(scope="module")
def client(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server that holds all examples; ungated, since some examples are Consents that deny."""
    database = f"test_{secrets.token_hex(6)}"
    folder: Path = tmp_path_factory.mktemp("examples")
    with live(mongo_uri, folder, database=database, gated=False) as server, server.system() as client:
        resources = [each for of_type in examples().values() for each in of_type]
        entries = [{"resource": each, "request": {"method": "PUT", "url": name_of(each)}} for each in resources]
        answers = sent(client, entries)
        stored = dict(zip(map(name_of, resources), (each["response"]["status"] for each in answers), strict=True))
        refused = {name for name, status in stored.items() if not status.startswith("20")}
        assert refused == NOT_STORED.keys()
        yield client
    with MongoClient[Any](mongo_uri) as database_server:
        database_server.drop_database(database)


def asked_of(resource: dict[str, Any]) -> Iterator[str]:
    """Yield the queries, without the id, that find an example."""
    type = resource["resourceType"]
    for code, parameter in R4.parameters(type).items():
        if code not in ("_id", "_lastUpdated"):  # the server's own to say
            for modifier, text in carried(resource, parameter):
                yield f"{type}?{code}{':' if modifier else ''}{modifier}={quote(text, safe='')}"
    if word := narrated(resource):
        yield f"{type}?_text={word}"
        yield f"{type}?_content={word}"


@pytest.mark.parametrize("type", sorted(examples()))
def test_an_example_is_found_by_every_parameter_whose_value_it_carries(client: httpx.Client, type: str) -> None:
    asked = [
        (query, resource["id"])
        for resource in examples()[type]
        if name_of(resource) not in NOT_STORED
        for query in dict.fromkeys(asked_of(resource))
    ]
    entries = [{"request": {"method": "GET", "url": f"{query}&_id={id}&_summary=count"}} for query, id in asked]
    missed = {
        f"{query} {id}": answer.get("resource") or answer["response"].get("outcome")
        for (query, id), answer in zip(asked, sent(client, entries), strict=True)
        if answer.get("resource", {}).get("total") != 1
    }
    listed = {each for each in NOT_FOUND if each.startswith(f"{type}?")}
    assert missed.keys() == listed, {each: missed.get(each, "found") for each in missed.keys() ^ listed}


def test_thousands_of_questions_are_asked() -> None:
    assert sum(len(set(asked_of(each))) for of_type in examples().values() for each in of_type) > 10_000
