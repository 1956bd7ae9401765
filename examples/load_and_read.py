"""Loads examples/records.ndjson with the command line, then reads and searches it over HTTP as a doctor.

    python examples/load_and_read.py

FHIR_BASE: base URL of a running server (default http://127.0.0.1:8080/fhir). FHIR_DATA and the other settings must be
those of the server, so that both work on one installation. ORGANIZATION: whose records they become (hospital-a).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

BASE = os.environ.get("FHIR_BASE", "http://127.0.0.1:8080/fhir")
ORGANIZATION = os.environ.get("ORGANIZATION", "hospital-a")
RECORDS = Path(__file__).resolve().parent / "records.ndjson"


def command(*arguments: str) -> str:
    """Return what a command of fhir-facade prints. Raises CalledProcessError if it fails."""
    run = [sys.executable, "-m", "fhir_server", *arguments]
    return subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def get(path: str, token: str) -> Any:
    """Return the JSON at a path below the base URL."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}
    with urlopen(Request(f"{BASE}/{path}", headers=headers), timeout=60) as answer:
        return json.load(answer)


def main() -> None:
    print(command("load", "--organization", ORGANIZATION, str(RECORDS)))
    user = ("--role", "practitioner", "--user", "Practitioner/example", "--organization", ORGANIZATION)
    token = command("token", *user, "--scope", "user/*.rs", "--lifetime", "600")
    patient = get("Patient/example-patient", token)
    print(f"read: {patient['name'][0]['text']}, version {patient['meta']['versionId']}")
    query = urlencode({"patient": "Patient/example-patient", "code": "http://loinc.org|8310-5", "_sort": "-date"})
    found = get(f"Observation?{query}", token)
    for entry in found["entry"]:
        value = entry["resource"]["valueQuantity"]
        print(f"found: {entry['resource']['code']['text']} {value['value']} {value['unit']}")


if __name__ == "__main__":
    main()
