"""A Binary's content is served and taken as itself.

Source: FHIR R4 Binary, "Serving Binary Resources using the RESTful API".
"""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from fhir_server.http.binary import is_content
from tests.live import JSON, Live

PDF = b"%PDF-1.7 \x00\xff"
FORMS: dict[str, dict[str, Any]] = {
    "pdf": {"contentType": "application/pdf", "data": base64.b64encode(PDF).decode()},
    "json": {"contentType": "application/json", "data": base64.b64encode(b'{"a":1}').decode()},
    "odd": {"contentType": "张三", "data": "AAAA"},
    "empty": {"contentType": "application/pdf"},
}


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    server.put(*({"resourceType": "Binary", "id": id, **said} for id, said in FORMS.items()))


CONTENT = [None, "*/*", "application/pdf", "application/*", "image/png, application/pdf;q=0.5", "text/html, */*;q=0.1"]


@pytest.mark.parametrize("accept", CONTENT)
def test_the_content_is_what_is_read(emr: httpx.Client, accept: str | None) -> None:
    for path in ("Binary/pdf", "Binary/pdf/_history/1"):
        request = emr.build_request("GET", path, headers={"Accept": accept} if accept else {})
        if accept is None:
            del request.headers["Accept"]
        answer = emr.send(request)
        assert (answer.status_code, answer.content) == (200, PDF)
        assert answer.headers["Content-Type"] == "application/pdf"
        assert answer.headers["ETag"] == 'W/"1"'
        # What others stored must not act in a browser in this server's name.
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("sandbox")
        head = emr.head(path, headers={"Accept": accept or "*/*"})
        assert (head.content, head.headers["Content-Length"]) == (b"", str(len(PDF)))
        assert head.headers["Content-Type"] == "application/pdf"


RESOURCE = [
    (JSON, "", "json"), ("application/fhir+xml", "", "xml"), ("application/pdf, application/fhir+json;q=0.1", "", "json"),
    ("application/pdf", "?_format=json", "json"), ("*/*", "?_format=xml", "xml"), ("application/json", "", "json"),
    ("text/xml", "", "xml"),
]  # fmt: skip


@pytest.mark.parametrize(("accept", "query", "form"), RESOURCE)
def test_the_resource_is_read_where_fhir_is_asked_for(emr: httpx.Client, accept: str, query: str, form: str) -> None:
    answer = emr.get(f"Binary/pdf{query}", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith(f"application/fhir+{form}")
    assert base64.b64encode(PDF) in answer.content


def test_json_content_is_answered_to_who_asks_for_json_in_general(emr: httpx.Client) -> None:
    assert emr.get("Binary/json", headers={"Accept": "application/json"}).json() == {"a": 1}
    assert emr.get("Binary/json", headers={"Accept": JSON}).json()["resourceType"] == "Binary"


def test_what_has_no_content_or_no_media_type_is_answered_as_a_resource(emr: httpx.Client) -> None:
    for id in ("odd", "empty"):
        assert emr.get(f"Binary/{id}", headers={"Accept": "*/*"}).json()["id"] == id
    assert emr.get("Binary/empty", headers={"Accept": "application/pdf"}).status_code == 406


def test_406_for_who_takes_neither(emr: httpx.Client) -> None:
    answer = emr.get("Binary/pdf", headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (406, "not-supported")
    assert emr.get("Binary/none", headers={"Accept": "image/png"}).status_code == 404
    assert emr.get("Binary", headers={"Accept": "image/png"}).status_code == 406  # a search is none of its content


def test_content_passes_the_gate_of_a_read_and_is_recorded_like_one(server: Live) -> None:
    server.put({"resourceType": "Binary", "id": "hidden", **FORMS["pdf"]}, organization="org2")
    with server.client("practitioner", "Practitioner/dr7") as doctor:
        hidden, absent = (
            doctor.get(f"Binary/{id}", headers={"Accept": "application/pdf"}) for id in ("hidden", "none")
        )
        assert (hidden.status_code, hidden.content) == (absent.status_code, absent.content)
        assert doctor.get("Binary/pdf", headers={"Accept": "application/pdf"}).content == PDF
    with server.client("auditor", "Practitioner/auditor1", scope="user/AuditEvent.rs") as auditor:
        found = auditor.get(
            "AuditEvent", params={"agent": "Practitioner/dr7", "subtype": "read", "outcome": "0"}
        ).json()
        assert [entry["resource"]["entity"][0]["what"]["reference"] for entry in found["entry"]] == [
            "Binary/pdf/_history/1"
        ]


def test_content_is_written_as_itself(emr: httpx.Client) -> None:
    headers = {"Content-Type": "image/png", "X-Security-Context": "Patient/p1"}
    created = emr.post("Binary", content=PDF, headers=headers)
    assert created.status_code == 201
    assert created.json().items() >= {
        "contentType": "image/png", "data": base64.b64encode(PDF).decode(), "securityContext": {"reference": "Patient/p1"},
    }.items()  # fmt: skip
    replaced = emr.put(
        f"Binary/{created.json()['id']}", content=b"text", headers={"Content-Type": "text/plain; charset=utf-8"}
    )
    assert (replaced.status_code, replaced.json()["contentType"]) == (200, "text/plain; charset=utf-8")
    read = emr.get(f"Binary/{created.json()['id']}", headers={"Accept": "text/plain"})
    assert (read.content, read.headers["Content-Type"]) == (b"text", "text/plain; charset=utf-8")


def test_content_without_a_media_type_or_without_anything_is_refused(emr: httpx.Client) -> None:
    assert emr.post("Binary", content=b"x", headers={"Content-Type": ""}).status_code == 415
    assert emr.post("Binary", content=b"", headers={"Content-Type": "text/plain"}).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "Binary/1", True), ("HEAD", "Binary/1/_history/1", True), ("PUT", "Binary/1", False),
        ("GET", "Binary", False), ("GET", "Binary/_history", False), ("GET", "Binary/1/_history", False),
        ("GET", "Binary/$x", False), ("GET", "Patient/1", False), ("GET", "Patient/1/Binary", False),
    ],
)  # fmt: skip
def test_only_read_and_vread_of_a_binary_can_be_content(method: str, path: str, expected: bool) -> None:
    assert is_content(method, tuple(path.split("/"))) is expected
