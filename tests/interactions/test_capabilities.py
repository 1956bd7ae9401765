"""GET [base]/metadata says what is offered; what it says is tried."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.live import Live


@pytest.fixture(scope="module")
def statement(server: Live) -> dict[str, Any]:
    answer = httpx.get(f"{server.base}/metadata")  # without a token: R4 has capabilities open to everybody
    assert answer.status_code == 200
    return dict(answer.json())


def resources(statement: dict[str, Any]) -> list[dict[str, Any]]:
    return list(statement["rest"][0]["resource"])


def test_the_statement_is_one_of_r4_for_this_base(server: Live, statement: dict[str, Any]) -> None:
    assert statement["resourceType"] == "CapabilityStatement"
    assert (statement["fhirVersion"], statement["kind"]) == ("4.0.1", "instance")
    assert statement["implementation"]["url"] == server.base
    assert "application/fhir+json" in statement["format"]


def test_every_search_parameter_that_is_listed_is_answered(server: Live, statement: dict[str, Any]) -> None:
    asked = [
        [("GET", f"{each['type']}?{found['name']}:missing=false&_summary=count", None) for found in each["searchParam"]]
        for each in resources(statement)
    ]
    answers = [(url, status) for of_type in batches(server, asked) for (_, url, _), status in of_type]
    assert len(answers) > 1500
    assert [each for each in answers if each[1] != "200"] == []


def test_every_include_that_is_listed_is_answered(server: Live, statement: dict[str, Any]) -> None:
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        for resource in resources(statement):
            if includes := resource["searchInclude"]:
                answer = doctor.get(resource["type"], params=[("_include", each) for each in includes])
                assert answer.status_code == 200, answer.text


def test_a_parameter_that_is_not_listed_is_refused(server: Live, statement: dict[str, Any]) -> None:
    listed = {each["type"]: {found["name"] for found in each["searchParam"]} for each in resources(statement)}
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        for type, name in (
            ("Location", "near"),
            ("Patient", "phonetic"),
            ("Patient", "_text"),
            ("Patient", "_content"),
        ):
            assert name not in listed[type]
            assert doctor.get(type, params={name: "x"}).status_code == 400


EXPECTED = {
    "read": ("GET", "{}/none", None, "404"), "vread": ("GET", "{}/none/_history/1", None, "404"),
    "history-instance": ("GET", "{}/none/_history", None, "404"), "search-type": ("GET", "{}?_count=0", None, "200"),
    "create": ("POST", "{}", {"foo": 1}, "422"), "update": ("PUT", "{}/none", {"foo": 1}, "422"),
    "delete": ("DELETE", "{}/none", None, "404"),
}  # fmt: skip


def test_every_interaction_that_is_listed_is_offered(server: Live, statement: dict[str, Any]) -> None:
    listed = {each["type"]: [found["code"] for found in each["interaction"]] for each in resources(statement)}
    assert listed.pop("AuditEvent") == ["read", "vread", "history-instance", "search-type"]
    assert all(set(codes) == set(EXPECTED) for codes in listed.values())
    asked = [
        [(method, url.format(type), body) for method, url, body, _ in map(EXPECTED.__getitem__, codes)]
        for type, codes in listed.items()
    ]
    for codes, answers in zip(listed.values(), batches(server, asked), strict=True):
        for code, (request, status) in zip(codes, answers, strict=True):
            assert status == EXPECTED[code][3], request


Asked = tuple[str, str, Any]


def batches(server: Live, asked: list[list[Asked]]) -> list[list[tuple[Asked, str]]]:
    """Send each list of requests as a batch, some at a time; return them with the status that each got."""
    with server.client("practitioner", "Practitioner/dr1") as doctor, ThreadPoolExecutor(8) as pool:

        def send(requests: list[Asked]) -> list[tuple[Asked, str]]:
            entries = [
                {"request": {"method": method, "url": url}, **({"resource": body} if body else {})}
                for method, url, body in requests
            ]
            answer = doctor.post("", json={"resourceType": "Bundle", "type": "batch", "entry": entries}).json()
            return [(each, told["response"]["status"]) for each, told in zip(requests, answer["entry"], strict=True)]

        return list(pool.map(send, asked))
