"""A Binary is the record of whoever has what it belongs to, and as sensitive: whichever is stored first, and later too."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from tests.live import Live

Json = dict[str, Any]


@pytest.fixture
def key(server: Live) -> str:
    key = secrets.token_hex(4)
    server.put(*({"resourceType": "Patient", "id": f"{name}-{key}"} for name in ("p", "q")))
    return key


def document(key: str, of: str = "p", **elements: Any) -> Json:
    content = [{"attachment": {"contentType": "text/plain", "url": f"Binary/b-{key}"}}]
    said = {"status": "current", "subject": {"reference": f"Patient/{of}-{key}"}, "content": content, **elements}
    return {"resourceType": "DocumentReference", "id": f"d-{key}", **said}


def binary(key: str, **elements: Any) -> Json:
    context = {"reference": f"DocumentReference/d-{key}"}
    said = {"contentType": "text/plain", "data": "c2VjcmV0", "securityContext": context, **elements}
    return {"resourceType": "Binary", "id": f"b-{key}", **said}


def seen_by(server: Live, key: str) -> set[str]:
    """Return which of the patients see the Binary: now, and in its first version."""
    found = set()
    for name in ("p", "q"):
        with server.client("patient", f"Patient/{name}-{key}", "org1") as client:
            now, first = client.get(f"Binary/b-{key}"), client.get(f"Binary/b-{key}/_history/1")
        assert now.status_code == first.status_code
        found |= {name} if now.status_code == 200 else set()
    return found


def test_a_binary_that_comes_first_waits_for_what_it_belongs_to(server: Live, key: str) -> None:
    server.put(binary(key))
    assert seen_by(server, key) == set()
    server.put(binary(key, data="b3RoZXI="))  # an earlier version follows as well
    server.put(document(key))
    assert seen_by(server, key) == {"p"}


def test_a_binary_goes_with_what_it_belongs_to(server: Live, key: str) -> None:
    server.put(document(key), binary(key), binary(key, data="b3RoZXI="))
    assert seen_by(server, key) == {"p"}
    server.put(document(key, of="q"))
    assert seen_by(server, key) == {"q"}


@pytest.mark.parametrize("first", ["Binary", "DocumentReference"])
def test_a_binary_and_what_it_belongs_to_come_in_one_transaction(server: Live, key: str, first: str) -> None:
    parts = sorted((document(key), binary(key)), key=lambda each: each["resourceType"] != first)
    entries = [
        {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
        for each in parts
    ]
    with server.system() as client:
        answer = client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200
    assert seen_by(server, key) == {"p"}


@pytest.mark.parametrize("order", ["document first", "binary first", "labelled later"])
def test_a_binary_carries_the_labels_of_what_it_belongs_to(server: Live, key: str, order: str) -> None:
    psy = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"}]}
    steps = {
        "document first": [document(key, meta=psy), binary(key)],
        "binary first": [binary(key), document(key, meta=psy)],
        "labelled later": [document(key), binary(key), document(key, meta=psy)],
    }
    server.put(*steps[order])
    denied = {"type": "deny", "securityLabel": psy["security"]}
    scope = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]}
    with server.client("practitioner", "Practitioner/Dr1") as doctor:
        assert doctor.get(f"Binary/b-{key}").status_code == 200
        with server.client("patient", f"Patient/p-{key}", "org1") as patient:
            made = {"resourceType": "Consent", "status": "active", "scope": scope, "category": [{"text": "c"}]}
            stored = patient.post(
                "Consent", json={**made, "patient": {"reference": f"Patient/p-{key}"}, "provision": denied}
            )
            assert stored.status_code == 201
        for path in (f"Binary/b-{key}", f"DocumentReference/d-{key}", f"Binary/b-{key}/_history/1"):
            assert doctor.get(path).status_code == 404, path
