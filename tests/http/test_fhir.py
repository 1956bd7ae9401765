"""FHIR R4 RESTful API over HTTP: negotiation, headers, routes, and an OperationOutcome for whatever goes wrong."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.live import JSON, Live

PATIENT = {"resourceType": "Patient", "id": "p1", "name": [{"family": "张", "given": ["三"]}], "gender": "male"}
OBSERVATION = {
    "resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"},
    "subject": {"reference": "Patient/p1"},
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    server.put(PATIENT, OBSERVATION, {**PATIENT, "id": "deleted"})
    with server.system() as emr:
        assert emr.delete("Patient/deleted").status_code == 204


def refused(answer: httpx.Response, status: int, code: str, expression: str | None = None) -> dict[str, Any]:
    """Return the first issue of a refusal, which is an OperationOutcome with this status and code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith(JSON)
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    issue: dict[str, Any] = outcome["issue"][0]
    assert (issue["severity"], issue["code"]) == ("error", code), issue
    assert issue["diagnostics"]
    if expression:
        assert issue["expression"] == [expression]
    return issue


ACCEPTED = [
    None, JSON, "application/json", "*/*", "application/*", "text/html, application/fhir+json;q=0.5",
    "application/fhir+json; fhirVersion=4.0", "application/fhir+json; charset=utf-8",
]  # fmt: skip


@pytest.mark.parametrize("accept", ACCEPTED)
def test_the_answer_is_fhir_json_whenever_the_client_takes_it(server: Live, accept: str | None) -> None:
    token = server.token("practitioner", "Practitioner/dr1")
    headers = {"Authorization": f"Bearer {token}", **({"Accept": accept} if accept else {})}
    answer = httpx.get(f"{server.base}/Patient/p1", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("format", ["json", "application/json", "application/fhir%2Bjson", "application/fhir+json"])
def test_format_beats_the_accept_header(doctor: httpx.Client, format: str) -> None:
    assert doctor.get(f"Patient/p1?_format={format}", headers={"Accept": "application/fhir+xml"}).status_code == 200
    assert doctor.get(f"Patient?_format={format}", headers={"Accept": "application/fhir+xml"}).status_code == 200


@pytest.mark.parametrize("accept", ["text/turtle", "text/html", "nonsense", "application/fhir+xml; fhirVersion=5.0"])
def test_406_for_what_this_server_cannot_write(doctor: httpx.Client, accept: str) -> None:
    refused(doctor.get("Patient/p1", headers={"Accept": accept}), 406, "not-supported")
    refused(doctor.get("Patient/p1", params={"_format": accept}), 406, "not-supported")


@pytest.mark.parametrize(
    "sent",
    ["text/plain", "application/xml-patch+xml", "application/fhir+turtle", "application/x-www-form-urlencoded", ""],
)
def test_415_for_what_this_server_cannot_read(emr: httpx.Client, sent: str) -> None:
    for method, path in (("POST", "Patient"), ("PUT", "Patient/p1"), ("PATCH", "Patient/p1"), ("POST", "")):
        refused(emr.request(method, path, content=b"{}", headers={"Content-Type": sent}), 415, "not-supported")


def test_415_for_a_posted_search_that_is_not_a_form(doctor: httpx.Client) -> None:
    refused(doctor.post("Patient/_search", content=b"{}"), 415, "not-supported")


BAD_JSON = [
    b"",
    b"{",
    b"nonsense",
    b'{"a":1,"a":2}',
    b"\xff\xfe",
    b'{"a":NaN}',
    b"[" * 100_000,
    b'{"a":"\xed\xa0\x80"}',
]


@pytest.mark.parametrize("body", BAD_JSON, ids=[repr(each[:12]) for each in BAD_JSON])
def test_400_for_a_body_that_is_not_json(emr: httpx.Client, body: bytes) -> None:
    for method, path in (("POST", "Patient"), ("PUT", "Patient/p1"), ("POST", "")):
        refused(emr.request(method, path, content=body), 400, "invalid")


INVALID: list[tuple[Any, str, str | None]] = [
    ({"resourceType": "Patient", "gender": "X"}, "code-invalid", "Patient.gender"),
    ({"resourceType": "Patient", "foo": 1}, "structure", "Patient.foo"),
    ({"resourceType": "Patient", "birthDate": "yesterday"}, "value", "Patient.birthDate"),
    ({"resourceType": "Patient", "name": {"family": "x"}}, "structure", "Patient.name"),
    ({"resourceType": "Patient", "contact": [{"name": {"given": "x"}}]}, "structure", "Patient.contact[0].name.given"),
    ({"resourceType": "Nonsense"}, "not-supported", None),
    ({}, "required", None),
    ([], "structure", None),
    ("text", "structure", None),
]


@pytest.mark.parametrize(("body", "code", "expression"), INVALID, ids=[json.dumps(row[0])[:50] for row in INVALID])
def test_422_for_json_that_is_no_such_resource(emr: httpx.Client, body: Any, code: str, expression: str | None) -> None:
    answer = emr.post("Patient", json=body)
    issue = refused(answer, 422, answer.json()["issue"][0]["code"], expression)
    assert issue["code"] == code
    assert "yesterday" not in answer.text  # a value may be somebody's data


def test_400_for_a_body_of_another_type_than_the_url(emr: httpx.Client) -> None:
    refused(emr.post("Observation", json=PATIENT), 400, "invalid")
    refused(emr.put("Observation/p1", json=PATIENT), 400, "invalid")


@pytest.mark.parametrize("id", ["other", None])
def test_400_for_a_put_whose_body_has_another_id_or_none(emr: httpx.Client, id: str | None) -> None:
    body = {**PATIENT, "id": id} if id else {key: value for key, value in PATIENT.items() if key != "id"}
    refused(emr.put("Patient/p1", json=body), 400, "invalid", "Patient.id")


NOWHERE = [
    "Patient/none",
    "Nonsense",
    "Nonsense/1",
    "patient/p1",
    "Patient/p1/extra",
    "Patient/p1/_history/1/x",
    "a/b/c/d/e",
]
NOWHERE += [
    "Patient/p1/_history/99",
    "Patient/p1/_history/none",
    "Patient/none/_history",
    "Patient/",
    "Patient//",
    "/",
    "//",
]
NOWHERE += ["Patient/$nonsense", "Patient/p1/$nonsense", "$nonsense", "Patient/$nonsense/x", "Patient/p1/_history/$x"]
NOWHERE += [
    "_nonsense",
    "Patient/_nonsense",
    "Patient/p1/_nonsense",
    "Patient/p1/_history/1/_history",
    "Parameters/1",
    "%00",
]
NOWHERE += [
    "Patient/%00",
    "Patient/%ff",
    "Patient/%E5%BC%A0",
    "Patient/" + "a" * 3000,
    "Patient/..%2f..%2fetc",
    "%2e%2e/x",
]


@pytest.mark.parametrize("path", NOWHERE, ids=[each[:30] for each in NOWHERE])
def test_404_for_what_is_not_there(server: Live, path: str) -> None:
    status, body = raw(server, "GET", f"/fhir/{path}")
    assert status == 404, body
    assert json.loads(body)["issue"][0]["code"] == "not-found"


def raw(
    server: Live, method: str, target: str, token: str | None = None, body: bytes = b"", **headers: str
) -> tuple[int, bytes]:
    """Send a request whose target is not touched by any client library; return status and body."""
    connection = http.client.HTTPConnection(urlsplit(server.base).netloc, timeout=30)
    token = token or server.token("practitioner", "Practitioner/dr1")
    try:
        connection.request(method, target, body or None, {"Authorization": f"Bearer {token}", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


NOT_ALLOWED = [
    ("POST", "Patient/p1"), ("POST", "Patient/p1/_history"), ("DELETE", "Patient/p1/_history/1"), ("OPTIONS", "Patient"),
    ("PATCH", ""), ("PUT", ""), ("DELETE", ""), ("GET", "Patient/_search"), ("PUT", "Patient/_history"),
    ("DELETE", "_history"), ("PUT", "Patient/p1/$everything"), ("DELETE", "Patient/$everything"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), NOT_ALLOWED)
def test_405_for_a_method_that_the_url_does_not_take(emr: httpx.Client, method: str, path: str) -> None:
    answer = emr.request(method, path)
    refused(answer, 405, "not-supported")
    assert answer.headers["Allow"]  # RFC 9110, 15.5.6


def test_410_for_what_was_deleted(doctor: httpx.Client) -> None:
    refused(doctor.get("Patient/deleted"), 410, "deleted")
    refused(doctor.get("Patient/deleted/_history/2"), 410, "deleted")
    assert doctor.get("Patient/deleted/_history/1").status_code == 200
    assert doctor.get("Patient", params={"_id": "deleted"}).json()["total"] == 0


def test_413_for_a_body_that_is_too_large(server: Live) -> None:
    most = server.settings.max_body_bytes
    token = server.token("system", "Device/emr", scope="system/*.cruds")
    connection = http.client.HTTPConnection(urlsplit(server.base).netloc, timeout=30)
    connection.putrequest("POST", "/fhir/Patient")
    for name, value in (
        ("Authorization", f"Bearer {token}"),
        ("Content-Type", JSON),
        ("Content-Length", str(most + 1)),
    ):
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["issue"][0]["code"] == "too-long"
    connection.close()


def test_413_for_a_chunked_body_that_is_too_large(server: Live, emr: httpx.Client) -> None:
    chunk = b" " * (1024 * 1024)
    chunks = (chunk for _ in range(server.settings.max_body_bytes // len(chunk) + 1))
    refused(emr.post("Patient", content=chunks), 413, "too-long")


TOKENS = [None, "", "nonsense", "a.b.c", "eyJhbGciOiJub25lIn0.eyJyb2xlIjoic3lzdGVtIn0."]


@pytest.mark.parametrize("token", TOKENS)
def test_401_without_a_token_or_with_a_damaged_one(server: Live, token: str | None) -> None:
    with server.bearing(token) as client:
        for method, path in (
            ("GET", "Patient/p1"),
            ("GET", "Patient"),
            ("POST", "Patient"),
            ("POST", ""),
            ("GET", "x/y"),
        ):
            answer = client.request(method, path)
            refused(answer, 401, "login")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_401_with_a_token_that_is_changed_expired_or_of_another_installation(server: Live) -> None:
    claims = {
        "role": "practitioner",
        "fhirUser": "Practitioner/dr1",
        "org": "org1",
        "purpose": "TREAT",
        "scope": "user/*.rs",
    }
    good = server.bearer.issue(claims, lifetime=60)
    head, payload, signature = good.split(".")
    changed = ["x" + payload[1:], payload[:-1] + ("A" if payload[-1] != "A" else "B")]
    tokens = [*(f"{head}.{each}.{signature}" for each in changed), f"{head}.{payload}.{signature[:-2]}", good[:-1]]
    tokens += [server.bearer.issue(claims, lifetime=-1)]
    for token in tokens:
        with server.bearing(token) as client:
            refused(client.get("Patient/p1"), 401, "login")
    with server.bearing(server.bearer.issue(claims, lifetime=3)) as client:
        assert client.get("Patient/p1").status_code == 200
        time.sleep(3.5)
        refused(client.get("Patient/p1"), 401, "login")  # also when the server knows the token already


SCOPES = [
    ("user/Observation.rs", "GET", "Patient/p1"), ("user/Patient.s", "GET", "Patient/p1"),
    ("user/Patient.r", "GET", "Patient"),
    ("user/*.rs", "POST", "Patient"), ("user/*.c", "PUT", "Patient/p1"), ("user/*.cru", "DELETE", "Patient/p1"),
    ("system/*.cruds", "GET", "Patient/p1"), ("", "GET", "Patient/p1"), ("user/Patient.rs?gender=male", "GET", "Patient/p1"),
]  # fmt: skip


@pytest.mark.parametrize(("scope", "method", "path"), SCOPES)
def test_403_for_what_the_scopes_do_not_allow(server: Live, scope: str, method: str, path: str) -> None:
    with server.client("practitioner", "Practitioner/dr1", scope=scope) as client:
        refused(client.request(method, path, json=PATIENT if method in ("POST", "PUT") else None), 403, "forbidden")


def test_409_for_an_id_that_is_taken_by_what_the_writer_may_not_see(server: Live) -> None:
    with server.system("org2") as other:
        refused(other.put("Patient/p1", json=PATIENT), 409, "conflict")


def test_head_is_a_get_without_its_body(doctor: httpx.Client) -> None:
    for path in (
        "Patient/p1",
        "Patient?_id=p1",
        "metadata",
        "Patient/p1/_history",
        "Patient/p1/_history/1",
        "Patient/none",
    ):
        got, head = doctor.get(path), doctor.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        for name in ("ETag", "Last-Modified", "Content-Type"):
            assert head.headers.get(name) == got.headers.get(name)
        # RFC 9110, 8.6: a Content-Length, if sent, is that of the GET.
        assert head.headers.get("Content-Length") in (None, got.headers["Content-Length"])


QUERIES = [
    "family=%ff", "family=%E5%BC", "%ff=1", "&".join(["gender=male"] * 501), "_count=abc", "_count=-1",
    "_count=9999999999", "_sort=nonsense", "_include=nonsense", "birthdate=nonsense", "birthdate=2024-13-45",
    "_total=x", "_summary=x", "_cursor=", "_cursor=%00", "_cursor=a&_cursor=b", "_id:exact=x", "foo=1",
    "family:nonsense=x", "gender=", "birthdate=gt", "name:missing=maybe", "_id=", "_sort=a,b", "gender=,,", "gender=a,,b",
    "birthdate=1e400", "birthdate=99999-01-01", "subject=x", "organization.name.x=1", "_has:x=1", "_revinclude=x", "$where=1",
]  # fmt: skip


@pytest.mark.parametrize("query", QUERIES, ids=[each[:40] for each in QUERIES])
def test_400_for_a_query_that_means_nothing(server: Live, query: str) -> None:
    status, body = raw(server, "GET", f"/fhir/Patient?{query}")
    assert status == 400, body
    assert json.loads(body)["issue"][0]["severity"] == "error"


VALUES = [
    ".*",
    "$where",
    '{"$gt":""}',
    "^",
    "张.*",
    "(?i)a",
    "\\",
    "a|b|c",
    "|",
    "$ne",
    "\x00",
    "' or 1=1",
    "𠮷" * 200,
    "a" * 8000,
]


@pytest.mark.parametrize("value", VALUES, ids=[ascii(each[:12]) for each in VALUES])
def test_a_value_is_never_an_operator_or_a_pattern(doctor: httpx.Client, value: str) -> None:
    for name in (
        "family",
        "family:exact",
        "family:contains",
        "_id",
        "identifier",
        "gender",
        "organization",
        "_tag",
        "_profile",
    ):
        for answer in (
            doctor.get("Patient", params={name: value}),
            doctor.post(
                "Patient/_search", data={name: value}, headers={"Content-Type": "application/x-www-form-urlencoded"}
            ),
        ):
            assert answer.status_code in (200, 400), (name, answer.text)
            if answer.status_code == 200:
                assert answer.json()["total"] == 0, name
            else:
                assert value not in answer.text or len(value) < 2


def test_a_name_is_never_a_path_or_an_operator(doctor: httpx.Client) -> None:
    for name in (
        "$where",
        "$or",
        "body",
        "pat",
        "r.birthdate.lo",
        "ix",
        "_id.$gt",
        "",
        ".",
        "family.",
        ":missing",
        "\x00",
        "a" * 9000,
    ):
        assert doctor.get("Patient", params={name: "1"}).status_code == 400, name


def test_a_huge_query_is_refused_as_too_costly(doctor: httpx.Client) -> None:
    answer = doctor.get("Patient", params={"_id": ",".join(f"p{n}" for n in range(1001))})
    refused(answer, 400, "too-costly")


def test_lenient_handling_leaves_out_what_is_unknown_and_says_so(doctor: httpx.Client) -> None:
    refused(doctor.get("Patient", params={"_id": "p1", "foo": "secret"}), 400, "not-supported")
    answer = doctor.get("Patient", params={"_id": "p1", "foo": "secret"}, headers={"Prefer": "handling=lenient"})
    assert answer.status_code == 200
    (match, warning) = answer.json()["entry"]
    assert match["resource"]["id"] == "p1"
    assert warning["search"]["mode"] == "outcome"
    assert warning["resource"]["issue"][0]["severity"] == "warning"
    assert "secret" not in answer.text
    assert "foo=" not in answer.json()["link"][0]["url"]
    refused(
        doctor.get("Patient", params={"family:nonsense": "x"}, headers={"Prefer": "handling=lenient"}),
        400,
        "not-supported",
    )


def test_health_needs_no_token_and_says_nothing_of_the_records(server: Live) -> None:
    assert httpx.get(server.base.removesuffix("/fhir") + "/health").json() == {"status": "up"}
    assert httpx.get(server.base.removesuffix("/fhir") + "/nonsense").status_code == 404
