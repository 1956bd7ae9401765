"""Requirements on what a token opens beside what its scopes say."""

from __future__ import annotations

import httpx

from tests.consent_engine.build import actor, deny
from tests.smart.cast import agreed
from tests.smart.opened import OPENED, RESULTS, found, read
from tests.smart.table import named
from tests.smart.world import World

SCOPES = "Scopes: FHIR Resource Scope Syntax"
BATCH = "Scopes: Batches and Transactions"
ACCESS = "App Launch: Access FHIR API"


def _at_most_what_the_app_may(world: World) -> None:
    said = world.granted(scope="launch/patient patient/*.rs user/*.cruds", client_id="narrow")
    assert set(said["scope"].split()) <= {"launch/patient", "patient/Observation.rs"}
    assert read(world, said["access_token"]) == {*RESULTS}


def _no_context_mixes(world: World) -> None:
    said = world.granted(scope="patient/Patient.rs user/Observation.r system/*.cruds")
    assert "system/" not in said["scope"]
    assert read(world, said["access_token"]) == {
        "Patient/p1",
        *RESULTS,
        "Observation/laboratory-2",
        "Observation/vital-signs-2",
    } & {*OPENED}
    assert world.get("Encounter/e1", said["access_token"]).status_code in (403, 404)


def _a_backend_gets_system_scopes_only(world: World) -> None:
    answer = world.backend(scope="system/Patient.rs user/Observation.rs patient/*.rs launch/patient openid")
    assert answer.status_code == 200
    token = answer.json()["access_token"]
    assert read(world, token) == {"Patient/p1", "Patient/p2"}


def _a_denial_counts_at_once(world: World) -> None:
    token = world.granted("doctor7", scope="patient/*.rs", choose="p2")["access_token"]
    assert world.get("Patient/p2", token).status_code == 200
    world.live.put(agreed("c2", "Patient/p2", deny(actor=[actor("Practitioner/d7")])))
    assert world.get("Patient/p2", token).status_code == 404
    assert found(world, token) == set()


def _writing_needs_its_letter(world: World) -> None:
    token = world.granted(scope="patient/Observation.rs")["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    body = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": "Patient/p1"},
    }
    for answer in (
        world.http.post(f"{world.base}/Observation", json=body, headers=headers),
        world.http.delete(f"{world.base}/Observation/laboratory-1", headers=headers),
        world.http.put(f"{world.base}/Observation/laboratory-1", json={**body, "id": "laboratory-1"}, headers=headers),
    ):
        assert answer.status_code in (403, 404), answer.text
    assert world.get("Observation/laboratory-1", token).json()["meta"]["versionId"] == "1"


def _batches_are_judged_by_entry(world: World) -> None:
    token = world.granted(scope="patient/Observation.rs")["access_token"]
    entries = [
        {"request": {"method": "GET", "url": path}}
        for path in ("Observation/laboratory-1", "Patient/p1", "Observation/laboratory-2")
    ]
    body = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    answer = world.http.post(f"{world.base}/", json=body, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    statuses = [each["response"]["status"][:3] for each in answer.json()["entry"]]
    assert statuses[0] == "200"
    assert set(statuses[1:]) <= {"403", "404"}


def _an_encoded_slash_reaches_nothing(world: World) -> None:
    token = world.granted(scope="patient/Observation.rs")["access_token"]
    for path in (
        "Observation%2Flaboratory-1",
        "Observation/..%2FPatient/p1",
        "Observation%2F..%2FPatient%2Fp1",
        "Observation/%2e%2e/Patient/p1",
        "Observation/laboratory-1%2f..%2f..%2fPatient%2fp1",
    ):
        target = httpx.URL(f"{world.base}/").copy_with(raw_path=f"/fhir/{path}".encode())
        answer = world.http.get(target, headers={"Authorization": f"Bearer {token}"})
        said = answer.json()
        assert (said["resourceType"], said.get("id")) in (
            ("OperationOutcome", None),
            ("Observation", "laboratory-1"),
        ), path


_row = named("scope")

ROWS = (
    _row("at-most", "Scopes: granted scopes", "never more than the app is registered for", _at_most_what_the_app_may),
    _row(
        "contexts",
        SCOPES,
        "patient, user and system in one request: none widens another, a user grants no system scope",
        _no_context_mixes,
    ),
    _row(
        "backend-contexts",
        "Backend Services: Scopes",
        "a backend gets system scopes and no others",
        _a_backend_gets_system_scopes_only,
    ),
    _row("consent", ACCESS, "what a patient denies is closed to tokens that are out already", _a_denial_counts_at_once),
    _row("letters", SCOPES, "to write needs its letter", _writing_needs_its_letter),
    _row("batch", BATCH, "each entry of a batch is judged by itself", _batches_are_judged_by_entry),
    _row("encoded-path", ACCESS, "an encoded slash in a path reaches nothing else", _an_encoded_slash_reaches_nothing),
)
