"""On what a decision stood beside the Consents themselves: what a replay of it needs (consent.md, D19 and D20).

It is one entity of an AuditEvent: a security resource with a detail for each thing that bore on the decision and that
the event does not say elsewhere. The user, the role, the institution, the purpose and the reason are the agents', the
Consents and their provisions have entities of their own. As all of an event it is sealed; nothing of it is searched.

Source: IHE BALP 1.1, CodeSystem AuthZsubType "AuthZ-Consent"; FHIR R4 AuditEvent.entity, object-role 13.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

from fhir_server.auth.requester import Requester

DECISION = {"system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/AuthZsubType", "code": "AuthZ-Consent"}
SECURITY_RESOURCE = {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "13"}
PATIENT, NOT_TOLD = "patient in context", "not told"
# A reason to break the glass that did not count: its time had passed, or the user was not entitled to state one.
EMERGENCY, CLOSED = "emergency", "closed"
KNOWN_REQUESTERS = 1_000
# The greatest number of each class of results but the last.
CLASSES = (0, 1, 10, 100, 1_000)

Detail = dict[str, str]


@dataclass(frozen=True, slots=True)
class Basis:
    """What one decision batch stood on.

    at: the instant of the decision. mode: how Consents were joined. implicit: what held without one ("treatment" or
    "deny"). memberships: "Type/id" of the groups, teams and institutions by which a Consent could mean the requester
    beyond what the token says. predicates: by type, the digest of what the query was narrowed by. closed: whether a reason
    to break the glass was stated that did not count.
    """

    at: datetime
    mode: str
    implicit: str
    memberships: tuple[str, ...] = ()
    predicates: tuple[tuple[str, str], ...] = ()
    closed: bool = False


def decision(basis: Basis, requester: Requester, *, event: str, count: int, own: bool) -> dict[str, Any]:
    """Return the entity that tells on what a decision stood.

    event: the id of the AuditEvent: digests are bound to it, since two that can be seen to be equal, or not, would tell
    whether any Consent has changed. count: how many results there were. own: the auditors of the requester's institution
    read it; others are not told which patient was in context, nor by what the query was narrowed; and of memberships only
    a digest, by which whoever has the Consent that names one knows it again.
    """
    details = [{"type": "at", "valueString": basis.at.isoformat()}, *_of(requester, basis, own)]
    if own:
        details += [_detail("predicate", f"{type} {bound(digest, event)}") for type, digest in basis.predicates]
    else:
        details += [_detail("membership", bound(each, event)) for each in basis.memberships]
    if basis.closed:
        details.append(_detail(EMERGENCY, CLOSED))
    details.append(_detail("results", count_class(count)))
    return {"type": DECISION, "role": SECURITY_RESOURCE, "detail": details}


def bound(digest: str, event: str) -> str:
    """Return a digest, or what is not to be told, as one event tells it."""
    return sha256(f"{event}|{digest}".encode()).hexdigest()[:32]


def count_class(count: int) -> str:
    """Return the class of a number of results.

    >>> count_class(0), count_class(7), count_class(5_000)
    ('0', '2-10', '>1000')
    """
    lower = 0
    for upper in CLASSES:
        if count <= upper:
            return str(upper) if upper <= 1 else f"{lower}-{upper}"
        lower = upper + 1
    return f">{CLASSES[-1]}"


def details_of(event: Mapping[str, Any]) -> dict[str, tuple[str, ...]] | None:
    """Return, by type, the details of an event's decision; None if it tells of none."""
    for entity in event.get("entity", ()):
        if entity.get("type") == DECISION:
            found: dict[str, tuple[str, ...]] = {}
            for each in entity["detail"]:
                found[each["type"]] = (*found.get(each["type"], ()), each["valueString"])
            return found
    return None


def _of(requester: Requester, basis: Basis, own: bool) -> tuple[Detail, ...]:
    return _standing(requester, basis.mode, basis.implicit, basis.memberships, own)


@lru_cache(KNOWN_REQUESTERS)
def _standing(
    requester: Requester, mode: str, implicit: str, memberships: tuple[str, ...], own: bool
) -> tuple[Detail, ...]:
    """Return what stays the same for one requester; it is worked out once, since every disclosure waits for its event."""
    return tuple(_said(requester, mode, implicit, memberships, own))


def _said(requester: Requester, mode: str, implicit: str, memberships: tuple[str, ...], own: bool) -> Iterator[Detail]:
    yield _detail("mode", mode)
    yield _detail("implicit policy", implicit)
    told = {
        "scope": str(requester.scopes),
        "client": requester.client,
        "department": requester.department,
        "practitionerRole": requester.practitioner_role,
        PATIENT: requester.patient if own else requester.patient and NOT_TOLD,
    }
    yield from (_detail(name, value) for name, value in told.items() if value)
    if own:
        yield from (_detail("membership", each) for each in memberships)


def _detail(name: str, value: str) -> Detail:
    return {"type": name, "valueString": value}
