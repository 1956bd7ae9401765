"""Every official example of a served type, and Taiwan's, is found by every search parameter whose value it carries.

The examples are stored once in a running server; the questions are made by carried.py. They are asked together with the
example's id, several in one search: it has to meet all of them, so the answer is one number: one. Those of a search that
answers otherwise are asked one by one. What is wrong in an example or in R4's own definition is listed.
"""

from __future__ import annotations

import gzip
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import pytest
from pymongo import MongoClient

from fhir_server.definitions.registry import registry
from fhir_server.fhir_json import dump, parse
from tests.conformance.carried import carried, narrated
from tests.conformance.test_examples import portions
from tests.live import live
from tests.shared import needed

R4 = registry()
FOLDERS = (needed("data", "examples-r4"), needed("data", "tw-core-examples"))
ENTRIES = 50  # in one Bundle
AT_ONCE = 3  # Bundles on the way
TOGETHER = 12  # questions in one search

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


def answered(client: httpx.Client, bundles: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries of the answers to Bundles, of which some are sent at a time."""

    def send(bundle: dict[str, Any]) -> list[dict[str, Any]]:
        answer = client.post("", content=dump({"resourceType": "Bundle", **bundle}))
        assert answer.status_code == 200, answer.text
        return list(answer.json()["entry"])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [each for answers in pool.map(send, bundles) for each in answers]


def puts(type: str, resources: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a batch or transaction that stores resources under their own ids."""
    entries = [{"resource": each, "request": {"method": "PUT", "url": name_of(each)}} for each in resources]
    return {"type": type, "entry": entries}


@pytest.fixture(scope="module")
def client(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server that holds all examples; ungated, since some examples are Consents that deny."""
    database = f"test_{secrets.token_hex(6)}"
    folder: Path = tmp_path_factory.mktemp("examples")
    with live(mongo_uri, folder, database=database, gated=False) as server, server.system() as client:
        named = {name_of(each): each for of_type in examples().values() for each in of_type}
        flawed = [named.pop(each) for each in NOT_STORED]
        refused = answered(client, [puts("batch", flawed)])
        assert [each["response"]["status"] for each in refused] == ["422"] * len(flawed)
        stored = answered(client, (puts("transaction", part) for part in portions(list(named.values()))))
        assert [each["response"]["status"] for each in stored] == ["201"] * len(named)
        yield client
    with MongoClient[Any](mongo_uri) as database_server:
        database_server.drop_database(database)


@cache
def asked_of(name: str) -> tuple[str, ...]:
    """Return the questions, each one parameter of a query, that find the example of a name."""
    (resource,) = (each for each in examples()[name.partition("/")[0]] if name_of(each) == name)
    return tuple(dict.fromkeys(questions_of(resource)))


def questions_of(resource: dict[str, Any]) -> Iterator[str]:
    for code, parameter in R4.parameters(resource["resourceType"]).items():
        if code not in ("_id", "_lastUpdated"):  # the server's own to say
            for modifier, text in carried(resource, parameter):
                yield f"{code}{':' if modifier else ''}{modifier}={quote(text, safe='')}"
    if word := narrated(resource):
        yield f"_text={word}"
        yield f"_content={word}"


class Search(NamedTuple):
    """A search for one example by questions that it has all to meet."""

    type: str
    id: str
    questions: tuple[str, ...]

    @property
    def entry(self) -> dict[str, Any]:
        url = f"{self.type}?{'&'.join(self.questions)}&_id={self.id}&_summary=count"
        return {"request": {"method": "GET", "url": url}}

    @property
    def name(self) -> str:
        return f"{self.type}?{'&'.join(self.questions)} {self.id}"


def searches(resource: dict[str, Any], size: int) -> Iterator[Search]:
    """Yield the searches that ask all questions of an example, so many in one."""
    asked = asked_of(name_of(resource))
    for at in range(0, len(asked), size):
        yield Search(resource["resourceType"], resource["id"], asked[at : at + size])


def failed(client: httpx.Client, tried: list[Search]) -> dict[Search, Any]:
    """Return the searches that do not find their example, with what is answered."""
    parts = [tried[at : at + ENTRIES] for at in range(0, len(tried), ENTRIES)]
    answers = answered(client, ({"type": "batch", "entry": [each.entry for each in part]} for part in parts))
    return {
        search: answer.get("resource") or answer["response"].get("outcome")
        for search, answer in zip(tried, answers, strict=True)
        if answer.get("resource", {}).get("total") != 1
    }


@pytest.mark.parametrize("type", sorted(examples()))
def test_an_example_is_found_by_every_parameter_whose_value_it_carries(client: httpx.Client, type: str) -> None:
    stored = [each for each in examples()[type] if name_of(each) not in NOT_STORED]
    together = failed(client, [search for each in stored for search in searches(each, TOGETHER)])
    alone = [Search(each.type, each.id, (question,)) for each in together for question in each.questions]
    missed = {search.name: said for search, said in failed(client, alone).items()}
    listed = {each for each in NOT_FOUND if each.startswith(f"{type}?")}
    assert missed.keys() == listed, {each: missed.get(each, "found") for each in missed.keys() ^ listed}
    # What all questions of a search find one by one, they find together.
    for search, said in together.items():
        assert any(Search(search.type, search.id, (each,)).name in missed for each in search.questions), (search, said)


def test_thousands_of_questions_are_asked() -> None:
    assert sum(len(asked_of(name_of(each))) for of_type in examples().values() for each in of_type) > 20_000
