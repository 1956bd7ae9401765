"""GET [base]/metadata says what is offered; all that it says is tried, and what it does not say is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from fhir_server.definitions.registry import ANY_TYPE, SearchParameter, registry
from fhir_server.http import media
from fhir_server.interactions import routes
from fhir_server.interactions.capabilities import OF_SYSTEM, OF_TYPES, capability_statement, supported
from fhir_server.interactions.changes import OURS
from fhir_server.operations.table import OPERATIONS
from fhir_server.search.modifiers import taken_by
from fhir_server.settings import Settings
from tests.conformance.connection import Connection
from tests.live import Live

R4 = registry()
Asked = tuple[str, str, Any]  # method, URL below the base, body
AT_ONCE = 32  # connections
TOGETHER = 10  # parameters of one search
NOTHING_HERE = "There is nothing at this URL."


@pytest.fixture(scope="module")
def statement(server: Live) -> dict[str, Any]:
    answer = httpx.get(f"{server.base}/metadata")  # without a token: R4 has capabilities open to everybody
    assert answer.status_code == 200
    return dict(answer.json())


def resources(statement: dict[str, Any]) -> list[dict[str, Any]]:
    return list(statement["rest"][0]["resource"])


def codes(listed: list[dict[str, str]]) -> list[str]:
    return [each["code"] for each in listed]


def test_the_statement_is_one_of_r4_for_this_base(server: Live, statement: dict[str, Any]) -> None:
    assert statement["resourceType"] == "CapabilityStatement"
    assert (statement["fhirVersion"], statement["kind"]) == ("4.0.1", "instance")
    assert statement["implementation"]["url"] == server.base
    with server.system() as client:  # which has it validated
        assert client.post("CapabilityStatement", json=statement).status_code == 201


@pytest.mark.parametrize("format", media.FORMATS)
def test_every_format_that_is_listed_is_written(server: Live, statement: dict[str, Any], format: str) -> None:
    assert format in statement["format"]
    answer = httpx.get(f"{server.base}/metadata", params={"_format": format})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/fhir+")
    assert answer.headers["content-type"].partition(";")[0].endswith(format.rpartition("+")[2])


# What is asked of each type, and the one status by which the interaction is known from a path that is not there.
INTERACTIONS: dict[str, tuple[Asked, int]] = {
    "read": (("GET", "{}/none", None), 404),
    "vread": (("GET", "{}/none/_history/1", None), 404),
    "update": (("PUT", "{}/none", {"foo": 1}), 422),
    "patch": (("PATCH", "{}/none", []), 404),
    "delete": (("DELETE", "{}/none", None), 404),
    "history-instance": (("GET", "{}/none/_history", None), 404),
    "history-type": (("GET", "{}/_history?_count=1", None), 200),
    "create": (("POST", "{}", {"foo": 1}), 422),
    "search-type": (("GET", "{}?_count=0", None), 200),
    "search-system": (("GET", "?_type=Patient&_count=1", None), 200),
    "history-system": (("GET", "_history?_count=1", None), 200),
    "transaction": (("POST", "", {"resourceType": "Bundle", "type": "transaction"}), 200),
    "batch": (("POST", "", {"resourceType": "Bundle", "type": "batch"}), 200),
}


def status(client: httpx.Client, asked: Asked) -> tuple[int, str]:
    """Return the status of an answer and, of a refusal, what it says."""
    method, url, body = asked
    kind = media.JSON_PATCH if method == "PATCH" else "application/fhir+json"
    answer = client.request(method, url, json=body, headers={"Content-Type": kind} if body is not None else {})
    return answer.status_code, said_in(answer.content)


def said_in(content: bytes) -> str:
    found: str = json.loads(content or b"{}").get("issue", [{}])[0].get("diagnostics", "")
    return found


def statuses(server: Live, asked: Sequence[Asked]) -> list[tuple[int, str]]:
    """Return the same of many requests, over some connections at a time."""
    bearer = {"Authorization": f"Bearer {server.token('system', 'Device/emr', scope='system/*.cruds')}"}
    found: dict[int, tuple[int, str]] = {}
    left = iter(enumerate(asked))

    async def ask() -> None:
        async with Connection("127.0.0.1", server.settings.port, timeout=60) as connection:
            for number, (method, url, body) in left:
                kind = media.JSON_PATCH if method == "PATCH" else "application/fhir+json"
                sent = b"" if body is None else json.dumps(body).encode()
                headers = bearer | ({} if body is None else {"Content-Type": kind})
                answer = await connection.ask(method, f"/fhir/{url}", headers, sent)
                found[number] = (answer.status, said_in(answer.body))

    async def all_of_them() -> None:
        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))

    asyncio.run(all_of_them())
    return [found[number] for number in range(len(asked))]


def test_every_interaction_on_a_type_is_offered_where_it_is_listed_and_only_there(
    server: Live, statement: dict[str, Any]
) -> None:
    listed = {each["type"]: codes(each["interaction"]) for each in resources(statement)}
    assert listed.keys() == R4.types
    tried = [(type, code) for type in sorted(listed) for code in OF_TYPES]
    asked = [
        (method, url.format(type), body) for type, code in tried for (method, url, body), _ in [INTERACTIONS[code]]
    ]
    for (type, code), (found, said) in zip(tried, statuses(server, asked), strict=True):
        if code in listed[type]:
            assert (found, said == NOTHING_HERE) == (INTERACTIONS[code][1], False), (type, code, said)
        else:
            assert found in (403, 405), (type, code)


@pytest.mark.parametrize("code", OF_SYSTEM)
def test_every_interaction_on_the_system_is_offered_if_it_is_listed(
    server: Live, statement: dict[str, Any], code: str
) -> None:
    with server.system() as client:
        found, said = status(client, INTERACTIONS[code][0])
    listed = code in codes(statement["rest"][0]["interaction"])
    assert (found == INTERACTIONS[code][1]) == listed, said


@pytest.mark.parametrize("code", sorted({*OF_TYPES, *OF_SYSTEM} & routes.INTERACTIONS.keys()))
def test_router_and_statement_are_made_from_one_table(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    method, url, _ = INTERACTIONS[code][0]
    parts = tuple(url.format("Patient").partition("?")[0].split("/")) if url.partition("?")[0] else ()
    assert routes.interaction_of(method, parts, ())
    monkeypatch.delitem(routes.INTERACTIONS, code)
    assert routes.interaction_of(method, parts, ()) is None
    rest = capability_statement(R4, Settings(), base="", version="", formats=(), patches=())["rest"][0]
    assert code not in codes(rest["interaction"])
    assert all(code not in codes(each["interaction"]) for each in rest["resource"])


NO_OPERATION = "There is no such operation here."


def test_every_operation_is_offered_where_it_is_listed_and_only_there(server: Live, statement: dict[str, Any]) -> None:
    rest = statement["rest"][0]
    every = {each.code for each in OPERATIONS.values()} | {"validate", "nosuch"}
    listed = {("", each["name"]) for each in rest["operation"]}
    listed |= {(f"{each['type']}/", found["name"]) for each in rest["resource"] for found in each["operation"]}
    assert len(listed) > len(R4.types)
    tried = [(place, code) for place in ("", *(f"{type}/" for type in sorted(R4.types))) for code in sorted(every)]
    urls = {f"{place}{id}${code}": (place, code) for place, code in tried for id in (("", "none/") if place else ("",))}
    answers = statuses(server, [("POST", url, None) for url in urls])
    found = {
        asked
        for asked, (status, said) in zip(urls.values(), answers, strict=True)
        if status not in (403, 405) and said != NO_OPERATION
    }
    # Of what is not there nothing can be changed either way, so on these types a 404 says nothing.
    ours = {(f"{type}/", each.code) for type in OURS for each in OPERATIONS.values() if each.affects_state}
    assert found - ours == listed
    assert not listed & ours


VALUES = {
    "token": "http://example.org|a", "string": "a", "date": "ge2020-01-01", "number": "1", "uri": "http://example.org/a",
    "quantity": "1|http://unitsofmeasure.org|mg", "special": "25.04|121.5|1|km",
}  # fmt: skip


def value(parameter: SearchParameter) -> str:
    """Return a well-formed value of a parameter."""
    if parameter.type == "composite":
        return "$".join(VALUES.get(part.type, "Patient/1") for part in parameter.components)
    return VALUES.get(parameter.type) or f"{parameter.targets[0] if parameter.targets else 'Patient'}/1"


def test_every_search_parameter_is_answered_where_it_is_listed(server: Live, statement: dict[str, Any]) -> None:
    """Several are asked together: one that is not answered makes the whole search a refusal."""
    asked, count = [], 0
    for each in resources(statement):
        listed = [found["name"] for found in each["searchParam"]]
        defined = R4.parameters(each["type"])
        assert {*listed} == supported(R4, each["type"]).keys()
        said = [f"{code}={quote(value(defined[code]))}" for code in listed]
        count += len(said)
        asked += [
            ("GET", f"{each['type']}?{'&'.join(said[at : at + TOGETHER])}&_summary=count", None)
            for at in range(0, len(said), TOGETHER)
        ]
    answers = statuses(server, asked)
    assert [(url, said) for (_, url, _), (found, said) in zip(asked, answers, strict=True) if found != 200] == []
    assert count > 1_500


def test_a_search_parameter_is_refused_where_it_is_not_listed(server: Live, statement: dict[str, Any]) -> None:
    """Every one of other types: all at once where what is not answered is left out and named, and one by itself."""
    listed = {each["type"]: {found["name"] for found in each["searchParam"]} for each in resources(statement)}
    every = {code for type in R4.types for code in R4.parameters(type)}
    others = {type: sorted(every - codes) for type, codes in listed.items()}
    one = [("GET", f"{type}?{each[place % len(each)]}=1", None) for place, (type, each) in enumerate(others.items())]
    assert {found for found, _ in statuses(server, one)} == {400}
    with server.system() as client:
        for type, codes in others.items():
            answer = client.get(type, params=dict.fromkeys(codes, "1"), headers={"Prefer": "handling=lenient"})
            told = next(each["resource"] for each in answer.json()["entry"] if each["search"]["mode"] == "outcome")
            assert [each["diagnostics"] for each in told["issue"]] == [
                f"Ignored the parameter {each}." for each in codes
            ]


def test_a_parameter_that_is_defined_but_not_answered_is_not_listed() -> None:
    left_out = {(type, code) for type in R4.types for code in R4.parameters(type)} - {
        (type, code) for type in R4.types for code in supported(R4, type)
    }
    assert left_out == LEFT_OUT


# Search parameters that R4 defines and this server does not answer.
LEFT_OUT: set[tuple[str, str]] = set()

# One value for each parameter that has no definition of its own, or that every type has.
GENERAL = {
    "_list": "1", "_has": None, "_filter": "name co a", "_contained": "false", "_containedType": "container",
    "_count": "1", "_elements": "id", "_include": "*", "_revinclude": "*", "_sort": "_id", "_summary": "true",
    "_total": "none", "_type": "Patient", "_id": "1", "_lastUpdated": "ge2020", "_profile": "http://example.org/a",
    "_security": "R", "_source": "http://example.org/a", "_tag": "a", "_text": "a", "_content": "a",
}  # fmt: skip


def test_every_parameter_of_all_searches_is_answered(server: Live, statement: dict[str, Any]) -> None:
    listed = [each["name"] for each in statement["rest"][0]["searchParam"]]
    assert len(listed) == len(set(listed))
    assert {*listed} >= supported(R4, ANY_TYPE).keys()
    with server.system() as client:
        for name in listed:
            text = GENERAL[name]
            name = name if text else "_has:Observation:patient:code"
            answer = client.get("Patient", params={name: text or "a"})
            assert answer.status_code == 200, (name, answer.text)


MODIFIED = {
    ("token", "in"): "http://hl7.org/fhir/ValueSet/administrative-gender",
    ("token", "not-in"): "http://hl7.org/fhir/ValueSet/administrative-gender",
    ("token", "above"): "http://terminology.hl7.org/CodeSystem/condition-clinical|active",
    ("token", "below"): "http://terminology.hl7.org/CodeSystem/condition-clinical|active",
    ("token", "of-type"): "http://terminology.hl7.org/CodeSystem/v2-0203|MR|1",
    ("token", "not"): "a", ("token", "text"): "a", ("string", "exact"): "a", ("string", "contains"): "a",
    ("string", "text"): "a", ("uri", "above"): "http://example.org/a", ("uri", "below"): "http://example.org/a",
    ("reference", "identifier"): "http://example.org|a",
}  # fmt: skip


def modified() -> Iterator[tuple[str, SearchParameter, str]]:
    """Yield each modifier with a parameter of each type that takes it."""
    tried = set()
    for type in ("Patient", "Observation", "Condition", "ValueSet", "Location", "RiskAssessment"):
        for parameter in R4.parameters(type).values():
            for modifier in taken_by(parameter):
                # Only identifiers have a type, and only they are asked by it.
                fits = modifier != "of-type" or parameter.code == "identifier"
                if fits and parameter.code[0] != "_" and (parameter.type, modifier) not in tried:
                    tried.add((parameter.type, modifier))
                    yield type, parameter, modifier


@pytest.mark.parametrize(("type", "parameter", "modifier"), [*modified()], ids=lambda each: getattr(each, "code", each))
def test_every_modifier_that_the_statement_names_is_taken(
    server: Live, type: str, parameter: SearchParameter, modifier: str
) -> None:
    text = "true" if modifier == "missing" else MODIFIED[parameter.type, modifier]
    with server.system() as client:
        answer = client.get(type, params={f"{parameter.code}:{modifier}": text})
        assert answer.status_code == 200, answer.text


def test_every_include_that_is_listed_is_answered(server: Live, statement: dict[str, Any]) -> None:
    asked = [
        (
            "GET",
            f"{each['type']}?_count=1&" + "&".join(f"{name}={quote(include)}" for include in listed[at : at + 20]),
            None,
        )
        for each in resources(statement)
        for name, listed in (("_include", each["searchInclude"]), ("_revinclude", each["searchRevInclude"]))
        for at in range(0, len(listed), 20)
    ]
    wrong = [each for each, found in zip(asked, batch(server, asked), strict=True) if found != "200"]
    assert len(asked) > 200
    assert wrong == []


def test_every_compartment_that_is_listed_is_searched(server: Live, statement: dict[str, Any]) -> None:
    listed = statement["rest"][0]["compartment"]
    assert len(listed) == 5  # all that R4 defines: Device, Encounter, Patient, Practitioner, RelatedPerson
    with server.system() as client:
        for url in listed:
            code = next(type for type in R4.types if type.lower() == url.rpartition("/")[2])
            for type in (sorted(R4.compartment(code))[0], "*"):
                found, said = status(client, ("GET", f"{code}/none/{type}", None))
                assert found in (200, 404), (code, type, said)
                assert said != NOTHING_HERE


def batch(server: Live, asked: list[Asked], size: int = 100) -> list[str]:
    """Return the status of each answer; the requests are sent as batches, some at a time."""

    def send(part: list[Asked]) -> list[str]:
        entries = [{"request": {"method": method, "url": url}} for method, url, _ in part]
        answer = client.post("", json={"resourceType": "Bundle", "type": "batch", "entry": entries})
        return [each["response"]["status"][:3] for each in answer.json()["entry"]]

    with server.client("practitioner", "Practitioner/dr1") as client, ThreadPoolExecutor(3) as pool:
        found = pool.map(send, [asked[at : at + size] for at in range(0, len(asked), size)])
        return [each for part in found for each in part]
