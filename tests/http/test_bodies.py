"""What a body is taken for: a patch, the Parameters of an operation, or a form; each in every form that R4 has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fhir_server.fhir_json import dump
from fhir_server.xml.write import to_xml
from tests.live import JSON, Live

XML, FORM, JSON_PATCH = "application/fhir+xml", "application/x-www-form-urlencoded", "application/json-patch+json"
PATIENT = {"resourceType": "Patient", "id": "p1", "active": True, "gender": "male"}
TAG = {"system": "urn:x", "code": "a"}


@pytest.fixture(scope="module")
def emr(server: Live) -> Iterator[httpx.Client]:
    server.put(PATIENT)
    with server.system() as client:
        yield client


def replacing(path: str, **value: Any) -> dict[str, Any]:
    """Return a FHIRPath Patch that replaces a value."""
    parts = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": path},
        {"name": "value", **value},
    ]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


PATCHES: list[tuple[str, bytes, dict[str, Any]]] = [
    (JSON_PATCH, b'[{"op":"replace","path":"/gender","value":"female"}]', {"gender": "female"}),
    (JSON, dump(replacing("Patient.gender", valueCode="other")), {"gender": "other"}),
    (XML, to_xml(replacing("Patient.active", valueBoolean=False)), {"active": False}),
    ("application/xml; charset=utf-8", to_xml(replacing("Patient.gender", valueCode="male")), {"gender": "male"}),
]


@pytest.mark.parametrize(("media", "body", "expected"), PATCHES, ids=[row[0] for row in PATCHES])
def test_a_patch_is_taken_in_every_form(emr: httpx.Client, media: str, body: bytes, expected: dict[str, Any]) -> None:
    answer = emr.patch("Patient/p1", content=body, headers={"Content-Type": media})
    assert answer.status_code == 200, answer.text
    assert answer.json().items() >= expected.items()
    assert emr.get("Patient/p1").json()["meta"]["versionId"] == answer.headers["ETag"].strip('W/"')


NO_PATCH = [
    (JSON_PATCH, b"{}", 400), (JSON_PATCH, b"nonsense", 400), (JSON_PATCH, dump(replacing("x", valueCode="x")), 400),
    (JSON, b"[]", 400), (JSON, dump(PATIENT), 400), (XML, to_xml(PATIENT), 400), (XML, b"<", 400), (JSON, b"", 400),
    ("application/merge-patch+json", b"{}", 415), ("application/xml-patch+xml", b"<diff/>", 415), ("", b"[]", 415),
]  # fmt: skip


@pytest.mark.parametrize(("media", "body", "status"), NO_PATCH)
def test_what_is_no_patch_of_its_media_type_is_refused(emr: httpx.Client, media: str, body: bytes, status: int) -> None:
    answer = emr.patch("Patient/p1", content=body, headers={"Content-Type": media})
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    if status == 415:  # RFC 5789, 2.2
        assert answer.headers["Accept-Patch"] == f"{JSON_PATCH}, {JSON}, {XML}"


META = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [TAG]}}]}


@pytest.mark.parametrize(("media", "body"), [(JSON, dump(META)), ("application/json", dump(META)), (XML, to_xml(META))])
def test_an_operation_takes_parameters_in_either_form(emr: httpx.Client, media: str, body: bytes) -> None:
    answer = emr.post("Patient/p1/$meta-add", content=body, headers={"Content-Type": media})
    assert answer.status_code == 200, answer.text
    assert answer.json()["parameter"][0]["valueMeta"]["tag"] == [TAG]


@pytest.mark.parametrize(
    "headers", [{}, {"Content-Type": JSON}, {"Content-Type": FORM}, {"Content-Type": "text/plain"}]
)
def test_an_operation_without_input_needs_no_body(emr: httpx.Client, headers: dict[str, str]) -> None:
    request = emr.build_request("POST", "Patient/p1/$meta", headers=headers)
    if not headers:
        del request.headers["Content-Type"]
    answer = emr.send(request)
    assert answer.status_code == 200, answer.text
    assert answer.json()["parameter"][0]["name"] == "return"


def test_an_operation_takes_a_form_like_a_query(emr: httpx.Client) -> None:
    queried = emr.get("Patient/p1/$everything", params={"_type": "Patient", "_count": "5"})
    posted = emr.post("Patient/p1/$everything?_type=Patient", data={"_count": "5"}, headers={"Content-Type": FORM})
    assert posted.status_code == queried.status_code == 200, posted.text
    assert [each["resource"] for each in posted.json()["entry"]] == [
        each["resource"] for each in queried.json()["entry"]
    ]
    assert emr.post("Patient/p1/$everything", data={"foo": "1"}, headers={"Content-Type": FORM}).status_code == 400


def test_an_operation_refuses_what_is_no_parameters(emr: httpx.Client) -> None:
    for body, media, status in (
        (b"{", JSON, 400),
        (b"<", XML, 400),
        (b"x", "text/plain", 415),
        (dump(PATIENT), JSON, 400),
    ):
        answer = emr.post("Patient/p1/$meta-add", content=body, headers={"Content-Type": media})
        assert answer.status_code == status, answer.text


def test_an_operation_answers_in_the_form_that_is_asked_for(emr: httpx.Client) -> None:
    answer = emr.get("Patient/p1/$meta?_format=xml")
    assert answer.headers["Content-Type"] == "application/fhir+xml; charset=utf-8"
    assert b'<Parameters xmlns="http://hl7.org/fhir">' in answer.content
    head = emr.head("Patient/p1/$meta?_format=xml")
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(answer.content)))
