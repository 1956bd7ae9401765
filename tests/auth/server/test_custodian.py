"""An EMR writes only as its own custodian: with a token of the token endpoint, over real HTTP (consent.md, D16)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from fhir_server.auth.server.clients import Kind
from tests.auth.server.apps import App, Desk, app

Json = dict[str, Any]
PATIENT = {"resourceType": "Patient", "id": "of-one"}
RECORD = {
    "resourceType": "Observation", "id": "of-one", "status": "final", "code": {"text": "x"},
    "subject": {"reference": "Patient/of-one"},
}  # fmt: skip


@pytest.fixture(scope="module")
def emrs(desk: Desk) -> tuple[App, App]:
    """The EMR of org1, which has stored a Patient and an Observation, and that of org2."""
    one = app(desk, Kind.BACKEND)
    with bearing(one) as client:
        for resource in (PATIENT, RECORD):
            assert client.put(f"{resource['resourceType']}/{resource['id']}", json=resource).status_code == 201
    return one, app(desk, Kind.BACKEND, organization="org2", system_user="Device/emr-org2")


def bearing(app: App, **said: Any) -> httpx.Client:
    """Return an HTTP client with a token of the app's own."""
    answer = app.backend(client_assertion=app.assertion(**said))
    assert answer.status_code == 200, answer.text
    return app.desk.server.bearing(answer.json()["access_token"])


def test_what_it_writes_is_its_own_and_hidden_from_others(emrs: tuple[App, App]) -> None:
    one, other = emrs
    with bearing(one) as mine, bearing(other) as theirs:
        assert mine.get("Observation/of-one").status_code == 200
        assert theirs.get("Observation/of-one").status_code == 404
        assert theirs.get("Observation").json().get("entry") is None


def test_it_neither_changes_nor_deletes_what_another_has_stored(emrs: tuple[App, App]) -> None:
    one, other = emrs
    changed = {**RECORD, "code": {"text": "y"}}
    patch = [{"op": "replace", "path": "/status", "value": "amended"}]
    entry = {"request": {"method": "PUT", "url": "Observation/of-one"}, "resource": changed}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    with bearing(one) as mine, bearing(other) as theirs:
        tried = {
            "update": theirs.put("Observation/of-one", json=changed),
            "patch": theirs.patch(
                "Observation/of-one", json=patch, headers={"Content-Type": "application/json-patch+json"}
            ),
            "delete": theirs.delete("Observation/of-one"),
            "transaction": theirs.post("", json=bundle),
            "conditional update": theirs.put("Observation", params={"_id": "of-one"}, json=changed),
        }
        assert {what: answer.status_code for what, answer in tried.items() if answer.is_success} == {
            what: tried[what].status_code for what in tried if what == "delete" and tried[what].status_code == 204
        }
        kept = mine.get("Observation/of-one")
        assert (kept.status_code, kept.headers["ETag"], kept.json()["code"]) == (200, 'W/"1"', {"text": "x"})


CLAIMS: list[Json] = [{"org": "org1"}, {"organization": "org1"}, {"fhirUser": "Device/emr-org1"}, {"role": "auditor"}]


@pytest.mark.parametrize("claim", CLAIMS)
def test_no_claim_of_its_own_makes_it_another(emrs: tuple[App, App], claim: Json) -> None:
    with bearing(emrs[1], **claim) as theirs:
        assert theirs.get("Observation/of-one").status_code == 404
        made = theirs.post("Observation", json={key: value for key, value in RECORD.items() if key != "id"})
        assert made.status_code in (201, 403, 422)
    with bearing(emrs[0]) as mine:
        found = mine.get("Observation", params={"patient": "Patient/of-one"}).json()
        assert [entry["resource"]["id"] for entry in found["entry"]] == ["of-one"]


def test_no_header_and_no_parameter_makes_it_another(emrs: tuple[App, App]) -> None:
    other = emrs[1]
    for header in ("X-Organization", "X-Custodian", "X-Forwarded-User", "X-Fhir-User"):
        with bearing(other) as theirs:
            assert theirs.get("Observation/of-one", headers={header: "org1"}).status_code == 404
    answer = other.backend(organization="org1", org="org1", fhirUser="Device/emr-org1")
    with other.desk.server.bearing(answer.json()["access_token"]) as theirs:
        assert theirs.get("Observation/of-one").status_code == 404


def test_without_a_scope_to_write_it_writes_nothing(emrs: tuple[App, App]) -> None:
    answer = emrs[0].backend("system/*.rs")
    with emrs[0].desk.server.bearing(answer.json()["access_token"]) as reading:
        assert reading.put("Observation/of-one", json=RECORD).status_code == 403
        assert reading.get("Observation/of-one").status_code == 200
