"""The examples run as they stand, against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.live import Live

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(name: str, **environment: str) -> list[str]:
    """Return the lines that an example prints. Raises CalledProcessError if it fails."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("FHIR_")}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env={**kept, **environment, "PYTHONIOENCODING": "utf-8"},
        cwd=EXAMPLES.parent,
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=120,
    )
    return done.stdout.splitlines()


def test_a_consent_opens_and_its_revocation_closes(server: Live) -> None:
    server.put(
        {"resourceType": "Patient", "id": "p1"},
        *(
            {
                "resourceType": "Observation",
                "id": f"o{number}",
                "status": "final",
                "code": {"text": "体温"},
                "subject": {"reference": "Patient/p1"},
            }
            for number in (1, 2)
        ),
    )
    lines = run(
        "search_with_consent.py",
        FHIR_BASE=server.base,
        PATIENT_REFERENCE="Patient/p1",
        RECIPIENT="Organization/org2",
        DOCTOR=server.token("practitioner", "Practitioner/dr1"),
        OTHER_DOCTOR=server.token("practitioner", "Practitioner/dr2", "org2"),
        PATIENT=server.token("patient", "Patient/p1"),
    )
    assert [line.rpartition(": ")[2] for line in lines] == ["2", "0", "2", "0"]


def test_what_is_loaded_is_read_and_found(server: Live, mongo_uri: str) -> None:
    environment = {
        "FHIR_BASE": server.base,
        "FHIR_DATA": str(server.settings.data),
        "FHIR_MONGODB_URI": mongo_uri,
        "FHIR_DATABASE": server.settings.database,
        "FHIR_ZONE": server.settings.zone,
        "ORGANIZATION": "org1",
    }
    first, *rest = run("load_and_read.py", **environment)
    assert first == "2 stored, 0 unchanged, 0 rejected"
    assert rest == ["read: 示例, version 1", "found: 体温 36.5 °C"]
    assert run("load_and_read.py", **environment)[0] == "0 stored, 2 unchanged, 0 rejected"
