"""XML in and out over HTTP: everything that is said in JSON is said in XML, refusals included."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from fhir_server.fhir_json import canonical, dump, parse
from fhir_server.xml.read import from_xml
from fhir_server.xml.write import to_xml
from tests.live import JSON, Live

XML = "application/fhir+xml"
PATIENT: dict[str, Any] = {
    "resourceType": "Patient", "id": "p1", "name": [{"family": "张", "given": ["三"]}], "gender": "male",
}  # fmt: skip
WEIGHT = (
    b'{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"x"},'
    b'"subject":{"reference":"Patient/p1"},"valueQuantity":{"value":70.50,"unit":"kg"}}'
)


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    server.put(PATIENT, *({**PATIENT, "id": f"q{n}"} for n in range(3)))
    with server.system() as emr:
        assert emr.put("Observation/o1", content=WEIGHT).status_code == 201


def xml(answer: httpx.Response) -> dict[str, Any]:
    """Return the JSON of an answer that is XML."""
    assert answer.headers["Content-Type"] == "application/fhir+xml; charset=utf-8", answer.text
    assert answer.content.startswith(b"<?xml")
    return from_xml(answer.content)


def sent_as_xml(
    client: httpx.Client, method: str, path: str, resource: dict[str, Any], **headers: str
) -> httpx.Response:
    """Send a resource as XML, and do not say what to answer."""
    request = client.build_request(method, path, content=to_xml(resource), headers={"Content-Type": XML, **headers})
    if "Accept" not in headers:
        del request.headers["Accept"]
    return client.send(request)


GOT = [
    "Patient/p1", "Patient/p1/_history/1", "Observation/o1", "Patient/p1/_history", "Patient?_id=p1", "Observation",
    "Observation?_include=Observation:subject", "Patient?_id=none", "Patient?_summary=count", "metadata",
    "Patient/none", "x/y", "Patient?foo=1", "Patient/p1/$nonsense",
]  # fmt: skip


@pytest.mark.parametrize("path", GOT)
def test_what_is_read_in_json_is_read_in_xml(doctor: httpx.Client, path: str) -> None:
    as_json = doctor.get(path)
    as_xml = doctor.get(path, headers={"Accept": XML})
    assert as_xml.status_code == as_json.status_code
    assert canonical(xml(as_xml)) == canonical(parse(as_json.content))
    for name in ("ETag", "Last-Modified"):
        assert as_xml.headers.get(name) == as_json.headers.get(name)


@pytest.mark.parametrize("path", GOT)
@pytest.mark.parametrize("media", [JSON, XML])
def test_head_has_the_headers_of_get(doctor: httpx.Client, path: str, media: str) -> None:
    got, head = (doctor.request(method, path, headers={"Accept": media}) for method in ("GET", "HEAD"))
    assert (head.status_code, head.content) == (got.status_code, b"")
    for name in ("ETag", "Last-Modified", "Content-Type", "Cache-Control"):
        assert head.headers.get(name) == got.headers.get(name)
    # RFC 9110, 8.6: a Content-Length is that of the GET. (Cursors and failures differ from one answer to the next.)
    assert abs(int(head.headers["Content-Length"]) - int(got.headers["Content-Length"])) < 10


@pytest.mark.parametrize(
    "format", ["xml", "text/xml", "application/xml", "application/fhir%2Bxml", "application/fhir+xml"]
)
def test_format_asks_for_xml(doctor: httpx.Client, format: str) -> None:
    assert xml(doctor.get(f"Patient/p1?_format={format}"))["id"] == "p1"
    assert xml(doctor.get(f"metadata?_format={format}"))["resourceType"] == "CapabilityStatement"


def test_pretty_is_indented_in_both_forms(doctor: httpx.Client) -> None:
    for path in ("Observation/o1", "Observation", "metadata"):
        plain = doctor.get(path)
        indented = doctor.get(path, params={"_pretty": "true"})
        assert b'\n  "' in indented.content
        assert plain.content.count(b"\n") == 0
        if path != "Observation":  # whose links say how they were asked for
            assert canonical(parse(indented.content)) == canonical(parse(plain.content))
        assert b"\n  <" in doctor.get(path, params={"_pretty": "true", "_format": "xml"}).content
    assert b"70.50" in doctor.get("Observation/o1?_pretty=true").content


def test_the_links_of_a_page_ask_for_the_same_form(doctor: httpx.Client) -> None:
    first = xml(doctor.get("Patient?_count=2&_format=xml&_pretty=true"))
    for link in first["link"]:
        assert dict(parse_qsl(urlsplit(link["url"]).query)).items() >= {("_format", "xml"), ("_pretty", "true")}
    (following,) = [link["url"] for link in first["link"] if link["relation"] == "next"]
    second = xml(doctor.get(following))
    found = {entry["resource"]["id"] for page in (first, second) for entry in page["entry"]}
    assert len(found) == 4
    # One that was asked for by header stays as it is.
    assert all("_format" not in link["url"] for link in xml(doctor.get("Patient", headers={"Accept": XML}))["link"])


def test_a_posted_search_says_in_its_form_how_to_answer(doctor: httpx.Client) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = doctor.post("Patient/_search?gender=male", data={"_id": "p1", "_format": "xml"}, headers=headers)
    assert [entry["resource"]["id"] for entry in xml(answer)["entry"]] == ["p1"]
    assert doctor.post("Patient/_search", data={"_format": "html"}, headers=headers).status_code == 406
    everything = doctor.post("Patient/_search?_id=p1", headers=headers)
    assert everything.json()["total"] == 1  # an empty form


def test_a_resource_is_written_in_xml(emr: httpx.Client) -> None:
    resource = parse(WEIGHT.replace(b'"o1"', b'"o2"'))
    created = sent_as_xml(emr, "PUT", "Observation/o2", resource)
    assert created.status_code == 201
    assert xml(created)["valueQuantity"]["value"] == 70.5  # in the form that was sent
    assert b'"value":70.50' in emr.get("Observation/o2").content
    assert b'value="70.50"' in emr.get("Observation/o2", headers={"Accept": "text/xml"}).content
    posted = sent_as_xml(emr, "POST", "Patient", PATIENT, Accept=JSON)
    assert posted.status_code == 201
    assert posted.headers["Location"].startswith(f"{emr.base_url!s}Patient/{posted.json()['id']}/_history/1")
    assert posted.json()["name"] == PATIENT["name"]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_bundle_is_carried_out_in_xml(emr: httpx.Client, kind: str) -> None:
    entries = [
        {"fullUrl": "urn:uuid:9f0c0c0e-0000-4000-8000-000000000001", "resource": {**PATIENT, "id": "x1"},
         "request": {"method": "PUT", "url": "Patient/x1"}},
        {"request": {"method": "GET", "url": "Patient/p1"}},
        {"request": {"method": "GET", "url": "Patient?_id=p1"}},
    ]  # fmt: skip
    answer = xml(sent_as_xml(emr, "POST", "", {"resourceType": "Bundle", "type": kind, "entry": entries}))
    assert answer["type"] == f"{kind}-response"
    put, read, searched = answer["entry"]
    assert put["response"]["status"] in ("200", "201")
    assert read["resource"]["id"] == "p1"
    assert searched["resource"]["entry"][0]["resource"]["id"] == "p1"


PREFERRED = [
    (None, "Patient"), ("return=representation", "Patient"), ("return=minimal", None), ("Return=Minimal", None),
    ("return=OperationOutcome", "OperationOutcome"), ("return=operationoutcome", "OperationOutcome"),
    ("handling=lenient; return=minimal", None), ('handling=strict, return="OperationOutcome"', "OperationOutcome"),
    ("respond-async", "Patient"), ("return=nonsense", "Patient"),
]  # fmt: skip


@pytest.mark.parametrize(("prefer", "expected"), PREFERRED)
def test_prefer_says_what_a_write_returns(emr: httpx.Client, prefer: str | None, expected: str | None) -> None:
    headers = {"Prefer": prefer} if prefer else {}
    answer = emr.post("Patient", json=PATIENT, headers=headers)
    assert answer.status_code == 201
    assert answer.headers["ETag"] == 'W/"1"'
    assert answer.headers["Location"]
    assert answer.headers["Last-Modified"]
    if expected is None:
        assert answer.content == b""
        assert "Content-Type" not in answer.headers
    else:
        assert answer.json()["resourceType"] == expected
        in_xml = sent_as_xml(emr, "POST", "Patient", PATIENT, **headers)
        assert xml(in_xml)["resourceType"] == expected


def refused(answer: httpx.Response, status: int, code: str, expression: str | None = None) -> str:
    """Return the words of a refusal in XML."""
    assert answer.status_code == status, answer.text
    issue = xml(answer)["issue"][0]
    assert (issue["severity"], issue["code"]) == ("error", code)
    assert issue.get("expression") == ([expression] if expression else None)
    return str(issue["diagnostics"])


def test_a_refusal_is_told_in_the_form_that_was_asked_for(server: Live, emr: httpx.Client) -> None:
    taken = {"Accept": XML}
    with server.bearing(None) as stranger:
        refused(stranger.get("Patient/p1", headers=taken), 401, "login")
        refused(stranger.get("Patient/p1?_format=xml"), 401, "login")
    refused(emr.get("Patient/none", headers=taken), 404, "not-found")
    refused(emr.get("nowhere/at/all/x", headers=taken), 404, "not-found")
    not_allowed = emr.request("DELETE", "Patient/p1/_history", headers=taken)
    refused(not_allowed, 405, "not-supported")
    assert not_allowed.headers["Allow"] == "GET, HEAD"
    refused(emr.put("Patient/p1", content=b"{", headers=taken), 400, "invalid")
    refused(emr.put("Patient/p1", content=b"x", headers={**taken, "Content-Type": "text/plain"}), 415, "not-supported")
    refused(emr.put("Patient/p1", json={**PATIENT, "foo": 1}, headers=taken), 422, "structure", "Patient.foo")
    refused(emr.get("Patient?_foo=1&_format=xml"), 400, "not-supported")


def test_a_refusal_is_told_in_json_to_who_takes_neither(emr: httpx.Client) -> None:
    for path, status in (("Patient/p1", 406), ("metadata", 406)):
        answer = emr.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
        assert answer.json()["issue"][0]["code"] == "not-supported"


NO_RESOURCE: list[tuple[str, int, str, str | None]] = [
    ("", 400, "invalid", None),
    ("<Patient", 400, "invalid", None),
    ("<!DOCTYPE x [<!ENTITY a 'b'>]><Patient xmlns='http://hl7.org/fhir'/>", 400, "invalid", None),
    ("<Patient xmlns='http://hl7.org/fhir'><foo/></Patient>", 422, "structure", "Patient.foo"),
    ("<Patient xmlns='http://hl7.org/fhir'><gender value='X'/></Patient>", 422, "code-invalid", "Patient.gender"),
    ("<Patient xmlns='http://hl7.org/fhir'><active value='1'/></Patient>", 422, "value", "Patient.active"),
    ("<Patient xmlns='http://hl7.org/fhir'><name/></Patient>", 422, "structure", "Patient.name[0]"),
    ("<Nonsense xmlns='http://hl7.org/fhir'/>", 422, "not-supported", None),
    ("<ActivityDefinition xmlns='http://hl7.org/fhir'/>", 422, "not-supported", None),
    ("<Observation xmlns='http://hl7.org/fhir'><status value='final'/><code><text value='x'/></code></Observation>",
     400, "invalid", None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "code", "expression"), NO_RESOURCE, ids=[row[0][:50] for row in NO_RESOURCE]
)
def test_xml_that_is_no_such_resource_is_refused_as_json_is(
    emr: httpx.Client, body: str, status: int, code: str, expression: str | None
) -> None:
    answer = emr.post("Patient", content=body.encode(), headers={"Content-Type": XML, "Accept": XML})
    refused(answer, status, code, expression)


SENT = [
    ("application/fhir+json; charset=gb18030", {}), ("application/fhir+xml; charset=utf-16", {}),
    ("application/fhir+json; fhirVersion=3.0", {}), ("application/fhir+json", {"Content-Encoding": "gzip"}),
]  # fmt: skip


@pytest.mark.parametrize(("content_type", "headers"), SENT)
def test_415_for_another_encoding_or_version(emr: httpx.Client, content_type: str, headers: dict[str, str]) -> None:
    answer = emr.post("Patient", content=dump(PATIENT), headers={"Content-Type": content_type, **headers})
    assert answer.status_code == 415
    assert answer.json()["issue"][0]["code"] == "not-supported"


def test_parameters_of_writes_that_take_none_are_refused(emr: httpx.Client) -> None:
    for method, path in (
        ("POST", "Patient?identifier=x"),
        ("PUT", "Patient/p1?identifier=x"),
        ("DELETE", "Patient/p1?x=1"),
    ):
        answer = emr.request(method, path, json=PATIENT)
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "not-supported")
    assert emr.put("Patient/p1?_format=json&_pretty=true", json=PATIENT).status_code == 200


@pytest.mark.parametrize("media", [JSON, XML])
def test_a_byte_order_mark_is_no_part_of_the_body(emr: httpx.Client, media: str) -> None:
    body = to_xml(PATIENT) if media == XML else dump(PATIENT)
    assert emr.post("Patient", content=b"\xef\xbb\xbf" + body, headers={"Content-Type": media}).status_code == 201


def test_a_header_may_come_in_several_lines(emr: httpx.Client) -> None:
    headers = [
        ("Accept", "text/html"),
        ("Accept", XML),
        ("Prefer", "handling=lenient"),
        ("Prefer", "return=OperationOutcome"),
    ]
    request = httpx.Request("POST", f"{emr.base_url}Patient", content=dump(PATIENT), headers=[
        *headers, ("Content-Type", JSON), ("Authorization", emr.headers["Authorization"]),
    ])  # fmt: skip
    assert xml(emr.send(request))["resourceType"] == "OperationOutcome"


def test_a_304_has_no_body_in_any_form(doctor: httpx.Client) -> None:
    for method in ("GET", "HEAD"):
        answer = doctor.request(method, "Patient/p1", headers={"Accept": XML, "If-None-Match": 'W/"1"'})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == 'W/"1"'
        assert "Content-Type" not in answer.headers
        assert "Content-Length" not in answer.headers
