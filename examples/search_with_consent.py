"""Shows a Consent at work: another institution's doctor sees nothing, then what the patient permits, then nothing again.

    python examples/search_with_consent.py

With the tokens that the demo prints in the environment (DOCTOR, OTHER_DOCTOR, PATIENT) and FHIR_BASE, the base URL
(default http://127.0.0.1:8080/fhir). PATIENT_REFERENCE and RECIPIENT: whose records, and who is to see them.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

BASE = os.environ.get("FHIR_BASE", "http://127.0.0.1:8080/fhir")
PATIENT = os.environ.get("PATIENT_REFERENCE", "Patient/pat-a-001")
RECIPIENT = os.environ.get("RECIPIENT", "Organization/hospital-b")
JSON = "application/fhir+json"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"


def call(method: str, path: str, user: str, resource: Any = None) -> Any:
    """Return the JSON that the server answers. user: name of the variable that holds the token."""
    headers = {"Authorization": f"Bearer {os.environ[user]}", "Accept": JSON, "Content-Type": JSON}
    body = None if resource is None else json.dumps(resource).encode()
    with urlopen(Request(f"{BASE}/{path}", body, headers, method=method), timeout=60) as answer:
        return json.load(answer)


def observations(user: str) -> int:
    """Return how many of the patient's Observations a user sees."""
    query = urlencode({"patient": PATIENT, "_count": "1"})
    return int(call("GET", f"Observation?{query}", user)["total"])


def coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"{TERMINOLOGY}/{system}", "code": code}]}


def consent() -> dict[str, Any]:
    """Return a Consent that lets the recipient look at all records of the patient, for treatment."""
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": coded("consentscope", "patient-privacy"),
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": PATIENT},
        "policyRule": coded("v3-ActCode", "OPTIN"),
        "provision": {
            "actor": [{"role": coded("v3-ParticipationType", "IRCP"), "reference": {"reference": RECIPIENT}}],
            "action": [coded("consentaction", "access")],
            "purpose": [{"system": f"{TERMINOLOGY}/v3-ActReason", "code": "TREAT"}],
        },
    }


def main() -> None:
    print(f"own doctor: {observations('DOCTOR')}")
    print(f"other doctor, before: {observations('OTHER_DOCTOR')}")
    given = call("POST", "Consent", "PATIENT", consent())
    print(f"other doctor, after the patient's Consent: {observations('OTHER_DOCTOR')}")
    call("PUT", f"Consent/{given['id']}", "PATIENT", {**given, "status": "inactive"})
    print(f"other doctor, after the revocation: {observations('OTHER_DOCTOR')}")


if __name__ == "__main__":
    main()
