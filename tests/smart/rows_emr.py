"""Requirements on an EMR's statements for its doctors."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.smart.table import named, refused
from tests.smart.world import World

EMR = "RFC 7523, 2.1 and 3: JWTs as authorization grants"
ASSERTION_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def _spoken_for(world: World, scope: str = "patient/*.rs", client: str = "emr", **changes: Any) -> httpx.Response:
    """Return the answer to an EMR that states who its doctor is."""
    usual = {"sub": "li", "fhirUser": "Practitioner/d1", "org": "org1", "purpose": "TREAT", "patient": "Patient/p1"}
    assertion = world.assertion(client, **{**usual, **changes})
    return world.form({"grant_type": ASSERTION_GRANT, "assertion": assertion, "scope": scope})


def _an_emr_speaks_for_its_doctor(world: World) -> None:
    answer = _spoken_for(world, "patient/Patient.rs patient/Observation.rs")
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert set(said["scope"].split()) == {"patient/Patient.rs", "patient/Observation.rs"}
    assert "refresh_token" not in said
    assert said["expires_in"] <= 300
    assert world.get("Patient/p1", said["access_token"]).status_code == 200
    assert world.get("Patient/p2", said["access_token"]).status_code == 404
    assert world.get("Encounter/e1", said["access_token"]).status_code in (403, 404)


def _not_spoken(**changes: Any) -> Callable[[World], None]:
    def holds(world: World) -> None:
        refused(_spoken_for(world, **changes), "invalid_grant", "invalid_request", "invalid_scope")

    return holds


def _an_app_speaks_for_nobody(world: World) -> None:
    refused(_spoken_for(world, client="signing"), "invalid_grant", "unauthorized_client", "invalid_client")


def _a_statement_counts_once(world: World) -> None:
    assert _spoken_for(world, jti="once").status_code == 200
    refused(_spoken_for(world, jti="once"), "invalid_grant")


_row = named("backend")

ROWS = (
    _row(
        "emr",
        EMR,
        "an EMR states user, purpose and patient, and gets what its doctor may see",
        _an_emr_speaks_for_its_doctor,
    ),
    _row("emr-org", EMR, "an EMR speaks for its own institution", _not_spoken(org="org2")),
    _row("emr-purpose", EMR, "an unknown purpose is refused", _not_spoken(purpose="CURIOSITY")),
    _row("emr-other-purpose", EMR, "and one that the EMR may not state", _not_spoken(purpose="HRESCH")),
    _row("emr-purposes", EMR, "and several at once", _not_spoken(purpose=["TREAT", "HRESCH"])),
    _row("emr-user", EMR, "the user is a reference to a practitioner", _not_spoken(fhirUser="Device/emr")),
    _row("emr-user-elsewhere", EMR, "one of the EMR's own institution", _not_spoken(fhirUser="Practitioner/d9")),
    _row("emr-user-missing", EMR, "and is there", _not_spoken(fhirUser=None)),
    _row("emr-patient", EMR, "the patient is a reference", _not_spoken(patient="../Patient/p1")),
    _row("emr-aud", EMR, "aud is the token URL", _not_spoken(aud="https://other.example.org")),
    _row("emr-life", EMR, "the statement is short-lived", _not_spoken(exp=int(time.time()) + 7_200)),
    _row("emr-system", EMR, "a doctor gets no system scope", _not_spoken(scope="system/*.rs")),
    _row("emr-once", EMR, "a statement counts once", _a_statement_counts_once),
    _row("emr-app", EMR, "an app does not speak for doctors", _an_app_speaks_for_nobody),
)
