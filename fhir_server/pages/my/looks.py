"""Who has looked at a person's records: of AuditEvents what concerns these alone, for the person and who speaks for them.

Nobody but auditors sees the log (ADR 10). This is the one list that is made of it for others (ADR 36): an event counts if
it names the person as a patient. Who speaks for the person is told what the person is (consenting/speaking.py); another
related person only of records that they may see. What it tells of other patients, of their records and of what was searched
for is left out.
"""

from __future__ import annotations

from base64 import b64decode
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from fhir_server.audit.basis import PATIENT, details_of
from fhir_server.audit.event import CONSENT_ROLE, RESOURCE_ROLE, Happening, Outcome, Touched
from fhir_server.audit.filing import NAMED
from fhir_server.audit.happenings import BROKEN
from fhir_server.audit.links import LOG
from fhir_server.audit.security import EXPORTED, IMPORTED
from fhir_server.audit.told import PRIVATE
from fhir_server.auth.gate import RequestGate
from fhir_server.auth.requester import Role
from fhir_server.consenting.speaking import patients_of
from fhir_server.errors import Absent
from fhir_server.fhir_json import dump, parse
from fhir_server.interactions.call import REPORTED, Answer, Call, Services
from fhir_server.interactions.notice import record
from fhir_server.interactions.searching.damaged import opening
from fhir_server.interactions.searching.persons import Persons
from fhir_server.search.types.reference import term
from fhir_server.store.permitted import persons_of
from fhir_server.store.resources import WITHOUT_BODY, Document, Ungated

Json = Mapping[str, Any]
Named = tuple[str, str]  # type and id
A_PAGE = 40
READ_AT_ONCE = 60
PATIENT_ROLE = "1"
# What records moved by a platform are called, by code of AuditEvent.type (audit/security.py).
MOVED = {EXPORTED[0]: "sent", IMPORTED[0]: "received"}
NEWEST_FIRST = [("at", -1), ("_id", -1)]
BY_ID = [("_id", 1)]
# How the log tells of a step of an authorization, and of a question for its status (consenting/).
STEP, STATUS = "authorization: ", "$authorization-status"


class Place(NamedTuple):
    """Behind which event a page begins. at: microseconds since 1970 UTC."""

    at: int
    id: str


@dataclass(frozen=True, slots=True)
class Look:
    """Somebody looked at the person's records, changed them, or was refused.

    at: microseconds since 1970 UTC. user, organization: relative references. role: as the token said. purpose: code.
    did: which text says what was done (words_zh.py, look_…). types: of the person's records that it was about. consents:
    ids of the person's Consents that decided. emergency: whether the glass was broken for this person, and why.
    statutory: the law has it reported, without a Consent.
    """

    at: int
    user: str
    role: str
    organization: str
    purpose: str
    did: str
    refused: bool
    types: tuple[str, ...]
    consents: tuple[str, ...]
    statutory: bool
    emergency: bool
    reason: str | None


class Mine(NamedTuple):
    """Whose accesses are told. patients: ids of the person's Patients. gate: by which their records are looked up.

    whole: accesses are told too of which none of the records may be seen.
    """

    patients: frozenset[str]
    gate: RequestGate | Ungated
    whole: bool


class Found(NamedTuple):
    """An event, opened."""

    document: Document
    event: Json


async def looks(use: Services, call: Call, patient: str, *, after: Place | None, own: bool) -> Answer:
    """Return {"looks": [Look], "next": Place or null} of a person, the newest first, recorded before it leaves.

    "damaged": whether something of the list is not shown, since it is not as it was stored. Who is told only of what they
    may see of the records is not told that: what the event was about cannot be known.

    patient: id of one of their Patients. own: whether what the requester did themself is listed too.
    Raises Absent if the requester may not see the Patient.
    """
    gate = use.gatekeeper.gate(call.requester, "s")
    gate.begin()
    mine = await _mine(use, call, gate, patient)
    found: list[tuple[Place, Look]] = []
    ours = set[str]()
    place: Place | None = after
    filter = _filter(use, call, mine.patients, own=own)
    while len(found) <= A_PAGE:
        rows = await _rows(use, filter, place)
        ours |= {each["_id"] for each in rows if each["org"] == call.requester.organization}
        found += await _of_them(use, mine, await opening(use, gate, LOG, rows))
        if len(rows) < READ_AT_ONCE:
            break
        place = _place(rows[-1])
    page, more = found[:A_PAGE], len(found) > A_PAGE
    # Which events others keep of the person is no business of the institution that they came by.
    told = tuple(Touched(f"AuditEvent/{where.id}") for where, _ in page if where.id in ours)
    await record(use, call, Happening("search-type", touched=told, note="access list"))
    following = page[-1][0]._asdict() if more else None
    damaged = mine.whole and bool(gate.damaged)
    return Answer(200, dump({"looks": [asdict(each) for _, each in page], "next": following, "damaged": damaged}))


async def _mine(use: Services, call: Call, gate: RequestGate, patient: str) -> Mine:
    """Return whose accesses are told. Raises Absent if the requester neither speaks for the Patient nor may see them."""
    if spoken := await use.gatekeeper.sources.spoken(call.requester, gate.now):
        theirs = frozenset(each["_id"] for each in await patients_of(use, spoken))
        if patient in theirs:
            await gate.stands()
            return Mine(theirs, Ungated("of which records an access was, for who speaks for the person"), whole=True)
    references = (f"Patient/{patient}",)
    persons = Persons(use, gate)
    if not await persons.seen(references):
        raise Absent
    others = await persons.others(references)
    found = frozenset(each.removeprefix("Patient/") for each in (*references, *others))
    return Mine(found, gate, whole=call.requester.role is Role.PATIENT)


def _filter(use: Services, call: Call, mine: frozenset[str], *, own: bool) -> Document:
    """Return the filter of the events that name one of the Patients."""
    named = sorted(use.term(term("patient", f"Patient/{each}")) for each in mine)
    if own:
        return {"ix": {"$in": named}}
    themselves = {call.requester.user, *(f"Patient/{each}" for each in mine)}
    agents = sorted(use.term(term("agent", each)) for each in themselves)
    return {"$and": [{"ix": {"$in": named}}, {"ix": {"$nin": agents}}]}


async def _rows(use: Services, filter: Document, after: Place | None) -> list[Document]:
    if after:
        behind = {"$or": [{"at": {"$lt": after.at}}, {"at": after.at, "_id": {"$lt": after.id}}]}
        filter = {"$and": [filter, behind]}
    why = Ungated("who has looked at one person's records, for them")
    return await use.resources.find(LOG, filter, why, sort=NEWEST_FIRST, limit=READ_AT_ONCE)


def _place(document: Document) -> Place:
    return Place(document["at"], document["_id"])


async def _of_them(use: Services, mine: Mine, rows: Iterable[tuple[Document, bytes]]) -> list[tuple[Place, Look]]:
    """Return what is to be told of the events that concern the person, in their order."""
    found = (Found(document, parse(body)) for document, body in rows)
    meant = [each for each in found if _concerns(each, mine.patients)]
    records = await _records(use, mine.gate, mine.patients, (each.event for each in meant))
    told = [(_place(each.document), _look(each, mine.patients, records)) for each in meant]
    return [(place, look) for place, look in told if mine.whole or look.types]


def _concerns(found: Found, mine: frozenset[str]) -> bool:
    """Return whether an event says that the person's records were concerned, and no other event says the same.

    What touched the records of several institutions has an event for each; the one of the requester's own institution
    names all that was disclosed, but for who acts for patients alone (audit/told.py). A refusal that hides a record names
    whose it is in one event alone.
    """
    patients = {id for type, id in _named(found.event, PATIENT_ROLE) if type == "Patient"}
    if patients.isdisjoint(mine):
        return False
    done = found.event["outcome"] == Outcome.DONE.value
    of_own = f"Organization/{found.document['org']}" == _organization(found.event)
    return not done or of_own or _role(_user(found.event)) in PRIVATE


async def _records(
    use: Services, gate: RequestGate | Ungated, mine: frozenset[str], events: Iterable[Json]
) -> frozenset[Named]:
    """Return which of the records that events name are the person's, and may be seen by the requester.

    A deleted one counts where an event names this person alone: what is only one of many in a list is not looked up.
    """
    asked, alone = defaultdict[str, set[str]](set), set[Named]()
    for event in events:
        of_one = {id for type, id in _named(event, PATIENT_ROLE) if type == "Patient"} <= mine
        for named in (*_named(event, RESOURCE_ROLE), *_named(event, CONSENT_ROLE)):
            if named[0] in use.gatekeeper.personal and named[0] != "AuditEvent":
                asked[named[0]].add(named[1])
                alone |= {named} if of_one else set()
    found = set[Named]()
    for type, ids in asked.items():
        theirs = {"_id": {"$in": sorted(ids)}, "pr": {"$in": sorted(mine)}}
        rows = await use.resources.find(type, theirs, gate, sort=BY_ID, limit=0, shown=WITHOUT_BODY, few=True)
        found |= {(type, row["_id"]) for row in rows}
    for type, id in alone - found:
        if any(_is_theirs(each, mine) for each in await use.resources.versions(type, id, gate)):
            found.add((type, id))
    return frozenset(found)


def _is_theirs(document: Document, mine: frozenset[str]) -> bool:
    return bool(persons_of(document)) and not mine.isdisjoint(document.get("pr", ()))


def _look(found: Found, mine: frozenset[str], records: frozenset[Named]) -> Look:
    event = found.event
    user = _user(event)
    touched = [named for named in _shown(event) if named in records]
    emergency = _emergency(event, mine)
    reasons = [each.get("text") for each in user.get("purposeOfUse", ())]
    return Look(
        at=found.document["at"],
        user=user.get("who", {}).get("reference", ""),
        role=_role(user),
        organization=_organization(event) or "",
        purpose=next((code["code"] for each in event.get("purposeOfEvent", ()) for code in each["coding"]), ""),
        did=_did(event, mine),
        refused=event["outcome"] != Outcome.DONE.value,
        types=tuple(sorted({type for type, _ in touched})),
        consents=tuple(sorted({id for type, id in _named(event, CONSENT_ROLE) if (type, id) in records})),
        statutory=REPORTED in event.get("outcomeDesc", ""),
        emergency=emergency,
        reason=next(filter(None, reasons), None) if emergency else None,
    )


def _did(event: Json, mine: frozenset[str]) -> str:
    """Return what was done: a step of an authorization, a question for its status or records, a transfer, or the action.

    A search that named the person, and showed nothing of them, was an attempt or asked for a number (interactions/notice.py).
    """
    queries = (b64decode(each["query"]).decode() for each in event.get("entity", ()) if "query" in each)
    if STEP in event.get("outcomeDesc", ""):
        return "step"
    if any(each.endswith(STATUS) for each in queries):
        return "status"
    if moved := MOVED.get(event.get("type", {}).get("code", "")):
        return moved
    theirs = {("Patient", each) for each in mine}
    if not theirs.intersection(_named(event, PATIENT_ROLE)) - _unseen(event):
        told = (details_of(event) or {}).get("results", ())
        return "searched" if _shown(event) or told == ("0",) else "counted"
    return str(event.get("action", "E"))


def _emergency(event: Json, mine: frozenset[str]) -> bool:
    """Return whether the glass was broken for this person: one event may be about others too, for whom it was not."""
    said = BROKEN in event.get("outcomeDesc", "")
    context = (details_of(event) or {}).get(PATIENT, ())
    return said and any(each.removeprefix("Patient/") in mine for each in context)


def _user(event: Json) -> Json:
    """Return the agent who asked."""
    return next((each for each in event["agent"] if each.get("requestor")), {})


def _role(user: Json) -> str:
    return next((each.get("text", "") for each in user.get("role", ())), "")


def _organization(event: Json) -> str | None:
    """Return the reference of the institution for which the requester acted."""
    references = (each.get("who", {}).get("reference", "") for each in event["agent"] if not each.get("requestor"))
    return next((each for each in references if each.startswith("Organization/")), None)


def _shown(event: Json) -> list[Named]:
    """Return the resources that an event is about, without the Patients who were only asked for."""
    unseen = _unseen(event)
    return [each for each in _named(event, RESOURCE_ROLE) if each not in unseen]


def _unseen(event: Json) -> set[Named]:
    """Return the Patients whom a search named, and of whom it showed nothing: they are named without a version."""
    if event["outcome"] != Outcome.DONE.value or details_of(event) is None:
        return set()
    named = ((each.get("role") or {}).get("code") == RESOURCE_ROLE and each["what"] for each in event["entity"])
    found = (NAMED.fullmatch(each.get("reference", "")) for each in named if each)
    return {(each[1], each[2]) for each in found if each and each[1] == "Patient" and each[3] is None}


def _named(event: Json, role: str) -> list[Named]:
    """Return type and id of the resources that an event names in a role."""
    found = []
    for entity in event.get("entity", ()):
        reference = (entity.get("what") or {}).get("reference", "")
        if (entity.get("role") or {}).get("code") == role and (named := NAMED.fullmatch(reference)):
            found.append((named[1], named[2]))
    return found
