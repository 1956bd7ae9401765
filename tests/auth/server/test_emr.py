"""An EMR speaks for its doctors: RFC 7523, 2.1; consent.md, D8 (what cannot be parsed or is unknown narrows)."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
import pytest

from fhir_server.auth.server.clients import ASSERTION, Kind
from tests.auth.server.apps import App, Desk, app
from tests.auth.server.test_backend import claims_of

Json = dict[str, Any]


@pytest.fixture(scope="module")
def emr(desk: Desk) -> App:
    """The EMR of org1, which has stored its doctor, their role and department; org2 has stored its own."""
    for number in ("1", "2"):
        desk.server.put(
            {"resourceType": "Organization", "id": f"org{number}", "name": "医院"},
            {"resourceType": "Organization", "id": f"dep{number}", "name": "心内科"},
            {"resourceType": "Practitioner", "id": f"dr{number}"},
            {"resourceType": "PractitionerRole", "id": f"role{number}"},
            organization=f"org{number}",
        )
    # org4 keeps patients here, and has not said yet what it is: org1 says so in its place.
    desk.server.put({"resourceType": "Patient", "id": "of-org4"}, organization="org4")
    desk.server.put({"resourceType": "Organization", "id": "org4", "name": "心内科"})
    scopes = ("system/*.cruds", "user/*.cruds", "patient/*.rs")
    return app(desk, Kind.BACKEND, may_assert=True, scopes=scopes, purposes=("TREAT", "ETREAT"))


def spoken(emr: App, scope: str = "user/*.rs", form: Json | None = None, **changed: Any) -> httpx.Response:
    """Return the answer to an assertion for doctor 1."""
    said = {"sub": "u-4711", "fhirUser": "Practitioner/dr1", "org": "org1", "purpose": "TREAT", **changed}
    sent = {"grant_type": ASSERTION, "scope": scope, "assertion": emr.assertion(**said), **(form or {})}
    return emr.desk.post("token", {name: value for name, value in sent.items() if value is not None})


def test_a_doctor_gets_what_the_emr_says_of_them(emr: App) -> None:
    more = {"department": "dep1", "practitionerRole": "PractitionerRole/role1", "patient": "Patient/p1"}
    answer = spoken(emr, "user/*.rs patient/Observation.rs system/*.rs", **more)
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["scope"], said["patient"]) == ("user/*.rs patient/Observation.rs", "p1")
    assert "refresh_token" not in said
    claims = claims_of(said["access_token"])
    told = {name: claims[name] for name in ("role", "fhirUser", "org", "purpose", *more)}
    assert told == {"role": "practitioner", "fhirUser": "Practitioner/dr1", "org": "org1", "purpose": "TREAT", **more}
    assert emr.desk.read(said["access_token"]) == 200


def test_an_absolute_user_of_this_server_is_the_same_user(emr: App) -> None:
    token = spoken(emr, fhirUser=f"{emr.desk.server.base}/Practitioner/dr1").json()["access_token"]
    assert claims_of(token)["fhirUser"] == "Practitioner/dr1"


def test_breaking_the_glass_needs_a_registered_purpose(emr: App) -> None:
    token = spoken(emr, purpose="ETREAT", reason="昏迷", patient="Patient/p1").json()["access_token"]
    assert (claims_of(token)["purpose"], claims_of(token)["reason"]) == ("ETREAT", "昏迷")


REFUSED: dict[str, Json] = {
    "a doctor of another institution": {"fhirUser": "Practitioner/dr2"},
    "a doctor nobody has stored": {"fhirUser": "Practitioner/nobody"},
    "a patient": {"fhirUser": "Patient/p1"},
    "a doctor elsewhere": {"fhirUser": "https://other.example.org/fhir/Practitioner/dr1"},
    "no doctor": {"fhirUser": None},
    "no text": {"fhirUser": ["Practitioner/dr1"]},
    "an encoded slash": {"fhirUser": "Practitioner%2Fdr1"},
    "another institution": {"org": "org2"},
    "two institutions": {"org": ["org1", "org2"]},
    "a department of another institution": {"department": "dep2"},
    "an institution that the EMR has stored as its department": {"department": "org4"},
    "a department with a path": {"department": "dep1/../org2"},
    "another institution as department": {"department": "org2"},
    "a role of another institution": {"practitionerRole": "PractitionerRole/role2"},
    "a role that is none": {"practitionerRole": "Practitioner/dr1"},
    "an unknown purpose": {"purpose": "NONSENSE"},
    "a purpose that is not registered": {"purpose": "HRESCH"},
    "two purposes": {"purpose": "TREAT ETREAT"},
    "a list of purposes": {"purpose": ["TREAT", "ETREAT"]},
    "an auditor": {"role": "auditor"},
    "a system": {"role": "system"},
    "a patient in context that is none": {"patient": "Group/1"},
    "a patient by bare id": {"patient": "p1"},
    "no subject": {"sub": None},
    "no subject but an empty one": {"sub": ""},
    "an endless reason": {"reason": "x" * 1_000},
    "somebody else's audience": {"aud": "https://other.example.org"},
    "another EMR": {"iss": "nobody"},
    "expired": {"exp": 1},
}


@pytest.mark.parametrize("changed", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_the_institutions_own_is_refused(emr: App, changed: Json) -> None:
    answer = spoken(emr, **changed)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert answer.json()["error_description"]


def test_scopes_of_systems_are_not_for_doctors(emr: App) -> None:
    assert spoken(emr, "system/*.rs").json()["error"] == "invalid_scope"
    assert spoken(emr, "").json()["error"] == "invalid_request"


def test_only_a_client_that_is_registered_for_it_speaks_for_doctors(emr: App, backend: App) -> None:
    assert spoken(backend).json()["error"] == "unauthorized_client"


def test_an_assertion_is_taken_once_and_never_as_proof_of_the_client(emr: App) -> None:
    text = emr.assertion(sub="u", fhirUser="Practitioner/dr1", purpose="TREAT")
    form = {"grant_type": ASSERTION, "scope": "user/*.rs", "assertion": text}
    assert emr.desk.post("token", form).status_code == 200
    assert emr.desk.post("token", form).json()["error"] == "invalid_grant"
    another = emr.assertion(sub="u", fhirUser="Practitioner/dr1")
    assert emr.backend(client_assertion=another).json()["error"] == "invalid_client"


def test_a_client_that_proves_itself_as_well_must_be_the_same(desk: Desk, emr: App) -> None:
    other = app(desk, Kind.BACKEND, may_assert=True)
    assert spoken(emr, form=emr.proof()).status_code == 200
    assert spoken(emr, form=other.proof()).json()["error"] == "invalid_grant"
    assert spoken(emr, form={"client_id": emr.client.id, "client_secret": secrets.token_hex(8)}).status_code == 401
