"""Every published example is stored over HTTP, read back as it was, in JSON and in XML.

The examples are those of the R4 specification and of Taiwan's core guide. What is wrong in an example itself is listed,
and the list is held to be exact.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx
import pytest

from fhir_server.definitions.registry import registry
from fhir_server.fhir_json import canonical, dump, parse
from fhir_server.xml.read import from_xml
from fhir_server.xml.write import to_xml
from tests.databases import fresh
from tests.live import Live, live
from tests.shared import SHARED
from tests.unlabelled import unlabelled

pytestmark = pytest.mark.skipif(not (SHARED / "data").exists(), reason="needs the published examples in ../shared/data")

JSON, XML = "application/fhir+json", "application/fhir+xml"
MOST_ENTRIES, MOST_BYTES = 60, 1_000_000  # of one request
# Collection of examples: how it is sent.
COLLECTIONS = {"examples-r4": JSON, "tw-core-examples": XML}

# Examples that break R4's own rules: the code and place of the first issue, and why it is right.
FLAWED: dict[str, tuple[str, str, str]] = {
    "Questionnaire/qs1": (
        "required", "Questionnaire.item[0].item[0].linkId", "the items of a questionnaire have no linkId (1..1)",
    ),
    "SearchParameter/questionnaireresponse-extensions-QuestionnaireResponse-item-subject": (
        "value", "SearchParameter.id", "an id of 68 characters, 64 are allowed",
    ),
    **{
        f"SearchParameter/{of.lower()}-extensions-{of}-{name}": (
            "required", "SearchParameter.base", "a search parameter on no type at all (base is 1..*)",
        )
        for of in ("CodeSystem", "ValueSet")
        for name in ("author", "effective", "end", "keyword", "workflow")
    },
}  # fmt: skip
# Types that clients read and never write.
WRITTEN_BY_THE_SERVER = {"AuditEvent"}


class Example(NamedTuple):
    """A resource as it is published, and the entries of the answers to its PUT and its GET."""

    place: str
    resource: dict[str, Any]
    stored: dict[str, Any]
    read: dict[str, Any]

    @property
    def writable(self) -> bool:
        return self.place not in FLAWED and self.resource["resourceType"] not in WRITTEN_BY_THE_SERVER


def published(collection: str) -> Iterator[dict[str, Any]]:
    """Yield the examples of served types."""
    for path in sorted((SHARED / "data" / collection).glob("*.ndjson.gz")):
        if path.name.partition(".")[0] in registry().types:
            with gzip.open(path, "rb") as lines:
                yield from (parse(line.strip()) for line in lines)


def place(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def portions(resources: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield the resources in portions of one request each."""
    portion: list[dict[str, Any]] = []
    size = 0
    for resource in resources:
        length = len(dump(resource))
        if portion and (len(portion) == MOST_ENTRIES or size + length > MOST_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(resource)
        size += length
    yield portion


def sent(client: httpx.Client, kind: str, entries: list[dict[str, Any]], media: str) -> list[dict[str, Any]]:
    """Return the entries of the answer to a batch or transaction. media: the media type of request and answer."""
    if not entries:
        return []
    bundle = {"resourceType": "Bundle", "type": kind, "entry": entries}
    content = to_xml(bundle) if media == XML else dump(bundle)
    answer = client.post("", content=content, headers={"Content-Type": media, "Accept": media})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == f"{media}; charset=utf-8"
    found = (from_xml if media == XML else parse)(answer.content)["entry"]
    assert len(found) == len(entries)
    return list(found)


def put(client: httpx.Client, portion: list[dict[str, Any]], media: str) -> list[Example]:
    """Store what can be stored all at once, and try the others one by one."""
    by_place = {place(each): Example(place(each), each, {}, {}) for each in portion}
    for kind, writable in (("transaction", True), ("batch", False)):
        tried = [each for each in by_place.values() if each.writable is writable]
        puts = [{"resource": each.resource, "request": {"method": "PUT", "url": each.place}} for each in tried]
        for each, stored in zip(tried, sent(client, kind, puts, media), strict=True):
            by_place[each.place] = each._replace(stored=stored)
    return list(by_place.values())


def read(client: httpx.Client, portion: list[Example]) -> list[Example]:
    """Read what was stored: after all else was, since a Composition does not show sections of what is not there."""
    answers = sent(client, "batch", [{"request": {"method": "GET", "url": each.place}} for each in portion], JSON)
    return [each._replace(read=read) for each, read in zip(portion, answers, strict=True)]


@pytest.fixture(scope="module")
def ungated(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that shows everything: some of the examples are Consents, which would hide others."""
    with (
        fresh(mongo_uri) as name,
        live(mongo_uri, tmp_path_factory.mktemp("installation"), database=name, gated=False) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def examples(ungated: Live) -> list[Example]:
    jobs = [(part, media) for name, media in COLLECTIONS.items() for part in portions(list(published(name)))]
    with ungated.system() as client, ThreadPoolExecutor(4) as pool:
        stored = list(pool.map(lambda job: put(client, *job), jobs))
        return [each for done in pool.map(lambda portion: read(client, portion), stored) for each in done]


def content(resource: dict[str, Any]) -> bytes:
    """Return a resource without what the server writes: meta.versionId and meta.lastUpdated."""
    meta = {name: said for name, said in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    rest = {name: said for name, said in resource.items() if name != "meta"}
    return canonical({**rest, "meta": meta} if meta else rest)


def test_all_examples_of_served_types_are_tried(examples: list[Example]) -> None:
    assert len(examples) == 775 + 98
    assert len({each.place for each in examples}) == len(examples)


def test_every_example_is_stored_and_reads_back_as_it_was(examples: list[Example]) -> None:
    for each in examples:
        if each.writable:
            assert each.stored["response"]["status"] == "201", (each.place, each.stored)
            assert each.read["response"]["status"] == "200", each.place
            assert content(unlabelled(each.read["resource"])) == content(each.resource), each.place


def test_every_example_is_found_as_xml_that_says_the_same(ungated: Live, examples: list[Example]) -> None:
    found = {}
    with ungated.system() as client:
        for type in sorted({each.resource["resourceType"] for each in examples if each.writable}):
            answer = client.get(type, params={"_count": "500", "_format": "xml"})
            found |= {place(entry["resource"]): entry["resource"] for entry in from_xml(answer.content)["entry"]}
    written = {each.place for each in examples if each.writable}
    assert written <= found.keys()
    # Beside them those who keep Consents were told of the ones that contradict themselves or are not understood.
    assert {place.partition("/")[0] for place in found.keys() - written} == {"Communication"}
    for each in examples:
        if each.writable:
            assert canonical(found[each.place]) == canonical(each.read["resource"]), each.place


def test_an_example_is_refused_exactly_where_it_breaks_a_rule_of_r4(examples: list[Example]) -> None:
    refused = {}
    for each in examples:
        if each.resource["resourceType"] not in WRITTEN_BY_THE_SERVER and each.stored["response"]["status"] != "201":
            assert each.stored["response"]["status"] == "422", each.place
            issue = each.stored["response"]["outcome"]["issue"][0]
            refused[each.place] = (issue["code"], issue["expression"][0])
    assert refused == {place: said[:2] for place, said in FLAWED.items()}


def test_what_the_server_alone_writes_is_refused(examples: list[Example]) -> None:
    ours = [each for each in examples if each.resource["resourceType"] in WRITTEN_BY_THE_SERVER]
    assert ours
    assert {each.stored["response"]["status"] for each in ours} == {"403"}


def test_every_example_says_the_same_in_xml() -> None:
    """Those as well that are not stored, and those of types that are not served."""
    converted = 0
    for name in COLLECTIONS:
        for path in sorted((SHARED / "data" / name).glob("*.ndjson.gz")):
            with gzip.open(path, "rb") as lines:
                for resource in (parse(line.strip()) for line in lines):
                    for pretty in (False, True):
                        again = from_xml(to_xml(resource, pretty=pretty))
                        assert canonical(again) == canonical(resource), (path.name, resource.get("id"))
                    converted += 1
    assert converted == 817 + 98
