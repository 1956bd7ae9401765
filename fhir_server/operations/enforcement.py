"""Consent/[id]/$enforcement and Consent/$enforcement: whether Consents do what they say, and if not, why.

For the institution that keeps a Consent (its systems and its auditors) and for the patient. A Consent that cannot be read
hides everything from that institution, itself included; yet who keeps it has to know, to have it corrected. So this tells
the keeper its status and the places at fault, and nothing of what the Consent says. What it rests on counts as far as those
who are told know of it: a Consent is no way to learn whether something is there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from consent_engine.consent import Consent
from consent_engine.enforcement import Enforcement, Status
from consent_engine.reasons import Reason
from consent_engine.words import REASONS, STATUSES
from fhir_server.audit.event import Happening
from fhir_server.auth.requester import Role
from fhir_server.errors import Absent
from fhir_server.fhir_json import dump
from fhir_server.interactions.call import Answer, Call, Services, touched, within_scopes
from fhir_server.interactions.cursor import Cursor, Position, sealed_cursor
from fhir_server.interactions.keepers import kept_by
from fhir_server.interactions.notice import record
from fhir_server.interactions.searching.query import CURSOR
from fhir_server.operations.definition import Invocation
from fhir_server.operations.telling import part, reference, value
from fhir_server.redaction.enforced import enforced
from fhir_server.store.instants import moment
from fhir_server.store.past_consents import Known
from fhir_server.store.permitted import persons_of
from fhir_server.store.resources import Document, Ungated

Json = dict[str, Any]
KEEPERS = frozenset({Role.SYSTEM, Role.AUDITOR})
TEAMS = frozenset({"CareTeam", "Group"})
# How many Consents one page looks through.
MOST_READ = 500


async def enforcement(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return how a Consent is enforced now; of all of them, those that are active and not enforced as they are written.

    Raises Absent for everybody but the patients and those who keep the Consents.
    """
    return await (_of_many if asked.id is None else _of_one)(use, call, asked)


async def _of_one(use: Services, call: Call, asked: Invocation) -> Answer:
    theirs = await _theirs(use, call)
    found = await use.resources.find(
        "Consent", {"$and": [{"_id": str(asked.id)}, theirs]}, _ungated(), sort=[("_id", 1)], limit=1
    )
    if not found:
        raise Absent
    return await _answer(use, call, asked, found)


async def _of_many(use: Services, call: Call, asked: Invocation) -> Answer:
    theirs = await _theirs(use, call)
    filter = {"$and": [theirs, {"_id": {"$gt": asked.after.id}}]} if asked.after else theirs
    found = await use.resources.find("Consent", filter, _ungated(), sort=[("_id", 1)], limit=MOST_READ + 1)
    after = Position((), "Consent", found[MOST_READ - 1]["_id"]) if len(found) > MOST_READ else None
    return await _answer(use, call, asked, found[:MOST_READ], only=_at_fault, after=after)


async def _theirs(use: Services, call: Call) -> Document:
    """Return the filter of the Consents of which the requester is told. Raises Absent if it is none of those."""
    requester = call.requester
    if requester.role is Role.AUDITOR:
        within_scopes(call, "AuditEvent", "r")
    else:
        within_scopes(call, "Consent", "r")
    if requester.role in KEEPERS:
        return {"org": requester.organization}
    if requester.subject is None:
        raise Absent
    keys = await use.gatekeeper.persons.keys([requester.subject.removeprefix("Patient/")])
    return {"pat": {"$in": list(keys.values())}, "pats": None}


def _ungated() -> Ungated:
    return Ungated("how Consents are enforced, for their patient and those who keep them")


def _at_fault(found: Enforcement) -> bool:
    """Return whether an active Consent is not enforced as it is written."""
    return found.status is not Status.ENFORCED and all(each.reason is not Reason.STATUS for each in found.reasons)


async def _answer(
    use: Services,
    call: Call,
    asked: Invocation,
    found: Sequence[Document],
    *,
    only: Any = lambda found: True,
    after: Position | None = None,
) -> Answer:
    at = use.now()
    read = await _read(use, call, found, at)
    told = [(document, consent) for document, consent in zip(found, read, strict=True) if consent is not None]
    each = [(document, consent, enforced(consent, moment(at))) for document, consent in told]
    shown = [row for row in each if only(row[2])]
    happening = Happening("operation", touched=tuple(touched("Consent", row[0]) for row in shown), query=asked.place)
    await record(use, call, happening)
    parameters = [*(_consent(consent, status) for _, consent, status in shown), *_next(use, call, asked, after)]
    return Answer(200, dump({"resourceType": "Parameters", **({"parameter": parameters} if parameters else {})}))


async def _read(use: Services, call: Call, found: Sequence[Document], at: int) -> list[Consent | None]:
    """Return Consents as they are read by what is known to the requester."""
    own = call.requester.subject
    keys = await use.gatekeeper.persons.keys([own.removeprefix("Patient/")]) if own else {}
    by_id: dict[str, Consent | None] = {}
    for keeper in {each["org"] for each in found}:
        theirs = [each for each in found if each["org"] == keeper]
        known = _known_to_patient(frozenset(keys.values()), keeper) if own else kept_by(keeper)
        read = await use.past.read(theirs, at, known)
        by_id |= {each["_id"]: consent for each, consent in zip(theirs, read, strict=True)}
    return [by_id[each["_id"]] for each in found]


def _known_to_patient(own: frozenset[Hashable], keeper: str) -> Known:
    """Return what counts as known to a patient: their own records, and the teams of the institution that keeps a Consent."""

    def known(type: str, document: Document) -> bool:
        return persons_of(document) == own or (type in TEAMS and kept_by(keeper)(type, document))

    return known


def _next(use: Services, call: Call, asked: Invocation, after: Position | None) -> Iterator[Json]:
    if after:
        cursor = sealed_cursor(use.cursor_key, call.requester, Cursor(asked.place, asked.pairs, after))
        yield value("next", "Uri", f"{call.base}/{asked.place}?{CURSOR}={cursor}")


def _consent(consent: Consent, found: Enforcement) -> Json:
    """Return how a Consent is enforced, and the places at fault."""
    return part(
        "consent",
        reference("resource", f"Consent/{consent.id}/_history/{consent.version}"),
        value("status", "Code", str(found.status)),
        value("text", "String", STATUSES[found.status].zh),
        value("text-en", "String", STATUSES[found.status].en),
        *(
            part(
                "reason",
                value("path", "String", ".".join(each for each in (one.path or "Consent", one.element) if each)),
                value("text", "String", REASONS[one.reason].zh),
                value("text-en", "String", REASONS[one.reason].en),
            )
            for one in found.reasons
        ),
    )
