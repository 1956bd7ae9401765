"""Events of identity, not of records: sign-in, grants, tokens, revocation. They are AuditEvents of other types.

Source: DICOM PS3.16, CID 400 and 403 (Audit Event ID and Type); IHE ITI TF-2, Internet User Authorization (IUA), the
codes ITI-71 "Get Access Token" and ITI-102 "Introspect Token".
"""

from __future__ import annotations

from typing import Any

DICOM = "http://dicom.nema.org/resources/ontology/DCM"
ITI = "urn:ihe:event-type-code"

AUTHENTICATION = ("110114", "User Authentication")
ALERT = ("110113", "Security Alert")

# What happened: (code and display of AuditEvent.type; system, code and display of its subtype).
EVENTS: dict[str, tuple[tuple[str, str], tuple[str, str, str]]] = {
    "sign-in": (AUTHENTICATION, (DICOM, "110122", "Login")),
    "sign-out": (AUTHENTICATION, (DICOM, "110123", "Logout")),
    "authorized": (AUTHENTICATION, (ITI, "ITI-71", "Get Access Token")),
    "token": (AUTHENTICATION, (ITI, "ITI-71", "Get Access Token")),
    "client-authentication": (AUTHENTICATION, (DICOM, "110126", "Node Authentication")),
    "introspection": (AUTHENTICATION, (ITI, "ITI-102", "Introspect Token")),
    "revocation": (ALERT, (DICOM, "110137", "User Security Attributes Changed")),
    "reuse": (ALERT, (DICOM, "110137", "User Security Attributes Changed")),
    "launch": (AUTHENTICATION, (DICOM, "110124", "Attach")),
}


def kind_of(happened: str) -> tuple[dict[str, str], dict[str, str]] | None:
    """Return type and subtype of the AuditEvent of what happened to an identity; None if it is no such thing."""
    if happened not in EVENTS:
        return None
    (code, display), (system, of, shown) = EVENTS[happened]
    return {"system": DICOM, "code": code, "display": display}, {"system": system, "code": of, "display": shown}


def codings(happened: str, rest: dict[str, str], interactions: str) -> dict[str, Any]:
    """Return the elements type and subtype of an AuditEvent; rest: the type of all that is no event of identity."""
    type, subtype = kind_of(happened) or (rest, {"system": interactions, "code": happened})
    return {"type": type, "subtype": [subtype]}
