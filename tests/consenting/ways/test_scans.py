"""A scan proves something only to whoever may read it, and their reading is recorded."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.consenting.ways import paper
from tests.consent_engine.build import TYPES, actor, codings, consent, deny, permit
from tests.consenting.ways.test_app_and_paper import binary, document, witness
from tests.consenting.world import ASKS, DOCTOR, asked, doctor, done, person, step
from tests.live import Live

Json = dict[str, Any]


def hidden(name: str, *types: str) -> Json:
    """The patient's denial: the doctor is to see nothing of these types."""
    said = deny(actor=[actor(DOCTOR)], **{"class": codings(TYPES, *types)})
    return consent(
        permit(actor=[actor(DOCTOR)], provision=[said]),
        id=f"deny-{name}",
        patient={"reference": f"Patient/{name}-1"},
        category=[{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        policyRule={"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]},
    )


def scans(server: Live, name: str) -> str:
    """Store a person's form, and the scan that it leads to; return who has checked it."""
    by = witness(server)
    form = document(f"form-{name}", f"{name}-1", {"url": f"Binary/scan-{name}"})
    server.put(binary(f"scan-{name}", f"{name}-1", f"form of {name}"), form, organization=ASKS)
    return by


DENIED = [
    ("denied-form", "DocumentReference", "DocumentReference/form-{}"),
    ("denied-scan", "Binary", "Binary/scan-{}"),
    ("denied-part", "Binary", "DocumentReference/form-{}"),
]


@pytest.mark.parametrize(("name", "type", "named"), DENIED)
def test_what_who_brings_it_may_not_read_is_answered_as_absent(server: Live, name: str, type: str, named: str) -> None:
    person(server, name, 540 + [each for each, *_ in DENIED].index(name))
    by = scans(server, name)
    server.put(hidden(name, type), organization=ASKS)
    with doctor(server) as client, server.client("practitioner", "Practitioner/dr2", ASKS) as colleague:
        id = asked(client, f"{name}-1", way="paper")
        given = {"document": named.format(name), "witness": by}
        part = "form" if type == "DocumentReference" else "scan"
        assert client.get(f"{type}/{part}-{name}").status_code == 404
        refused = step(client, id, "verify", **given)
        absent = step(client, id, "verify", **{**given, "document": f"{type}/never"})
        assert (refused.status_code, refused.text) == (absent.status_code, absent.text)
        assert paper.NO_DOCUMENT in refused.text
        assert done(colleague, id, "verify", **given)["status"] == "active"


def test_scopes_that_do_not_reach_the_scan_are_told_before_it_is_looked_for(server: Live) -> None:
    person(server, "scoped", 545)
    by = scans(server, "scoped")
    with (
        doctor(server) as client,
        server.client("practitioner", DOCTOR, ASKS, scope="user/Consent.cruds") as narrow,
    ):
        id = asked(client, "scoped-1", way="paper")
        for named in ("Binary/scan-scoped", "Binary/never"):
            assert step(narrow, id, "verify", document=named, witness=by).status_code == 403
        assert done(client, id, "verify", document="Binary/scan-scoped", witness=by)["status"] == "active"


def test_reading_a_scan_is_recorded_as_a_read_of_it_by_who_brought_it(server: Live) -> None:
    person(server, "logged", 546)
    by = scans(server, "logged")
    with doctor(server) as client, server.client("auditor", "Practitioner/auditor", ASKS, "HOPERAT") as auditor:
        id = asked(client, "logged-1", way="paper")
        done(client, id, "verify", document="DocumentReference/form-logged", witness=by)
        for named in ("DocumentReference/form-logged", "Binary/scan-logged"):
            query = {"entity": named, "subtype": "read", "agent": DOCTOR}
            (event,) = [each["resource"] for each in auditor.get("AuditEvent", params=query).json()["entry"]]
            assert event["outcome"] == "0"


def test_a_scan_of_another_institution_counts_neither_as_used_nor_as_there(server: Live) -> None:
    """Two institutions may hold the same bytes: neither is told of the other's."""
    for number, name in enumerate(("same-a", "same-b"), 547):
        person(server, name, number)
    by = witness(server)
    server.put(binary("same-1", "same-a-1", "the same"), organization=ASKS)
    server.put(binary("same-2", "same-b-2", "the same"), organization="h2")
    with doctor(server) as client, doctor(server, "h2") as elsewhere:
        first = asked(client, "same-a-1", way="paper")
        done(client, first, "verify", document="Binary/same-1", witness=by)
        second = asked(elsewhere, "same-b-2", way="paper")
        active = done(elsewhere, second, "verify", document="Binary/same-2", witness="Practitioner/stranger")
        assert active["status"] == "active"
