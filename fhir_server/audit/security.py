"""Events of identity and of the log itself, not of records: sign-in, grants, tokens, revocation, what auditors do.

They are AuditEvents of other types.

Source: DICOM PS3.16, CID 400 and 403 (Audit Event ID and Type); IHE ITI TF-2, Internet User Authorization (IUA), the
codes ITI-71 "Get Access Token" and ITI-102 "Introspect Token".
"""

from __future__ import annotations

from typing import Any

from consent_engine.vocabulary import FACADE

DICOM = "http://dicom.nema.org/resources/ontology/DCM"
ITI = "urn:ihe:event-type-code"

AUTHENTICATION = ("110114", "User Authentication")
ALERT = ("110113", "Security Alert")
IMPORTED = ("110107", "Import")
LOG_USED, EXPORTED = ("110101", "Audit Log Used"), ("110106", "Export")
IMPORTED, RECORD = ("110107", "Import"), ("110110", "Patient Record")
OURS = f"{FACADE}/CodeSystem/audit-event"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"

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
    "access-data": (ALERT, (DICOM, "110137", "User Security Attributes Changed")),
    "access-change": (ALERT, (OURS, "access-change", "Client, account or signing key changed by the operator")),
    "launch": (AUTHENTICATION, (DICOM, "110124", "Attach")),
    "emergency-list": (LOG_USED, (OURS, "emergency-list", "Emergency accesses listed")),
    "emergency-review": (LOG_USED, (OURS, "emergency-review", "Emergency access reviewed")),
    "chain-verification": (LOG_USED, (OURS, "chain-verification", "Chain of the log verified")),
    "backup": (EXPORTED, (OURS, "backup", "Backup made")),
    "restore": (IMPORTED, (OURS, "restore", "Backup restored")),
    "master-key": (ALERT, (OURS, "master-key", "Master key rotated or taken out")),
    **{
        f"consent-{step}": (ALERT, (OURS, f"consent-{step}", f"Authorization {step}"))
        for step in ("requested", "verified", "active", "declined", "expired", "revoked", "reminded")
    },
    "transfer": (EXPORTED, (LIFECYCLE, "disclose", "Disclose Record Lifecycle Event")),
    "transfer-in": (IMPORTED, (LIFECYCLE, "disclose", "Disclose Record Lifecycle Event")),
    "log-expiry": (LOG_USED, (OURS, "log-expiry", "Events removed after their retention time")),
    "audit-export": (EXPORTED, (OURS, "audit-export", "Log exported")),
    "purge": (RECORD, (LIFECYCLE, "destroy", "Destroy/Delete Record Lifecycle Event")),
}


# What the client and the server are to an event: agent.type. Without displays: every event holds two of them.
SOURCE, DESTINATION = {"system": DICOM, "code": "110153"}, {"system": DICOM, "code": "110152"}
APPLICATION = {"system": DICOM, "code": "110150"}
AUTHORIZES = {"system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes", "code": "AuthzOauthService"}
READS = frozenset({"read", "vread", "history-instance", "history-type", "history-system"})
TOKENS = frozenset(happened for happened, (_, (system, *_)) in EVENTS.items() if system == ITI) | {
    "client-authentication"
}


def machines(happened: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return agent.type of the client and of the server: as the data flows, and of tokens as IHE's IUA has it.

    >>> [each["code"] for each in machines("read")], [each["code"] for each in machines("create")]
    (['110152', '110153'], ['110153', '110152'])
    """
    if happened in TOKENS:
        return APPLICATION, AUTHORIZES
    return (DESTINATION, SOURCE) if happened in READS else (SOURCE, DESTINATION)


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
