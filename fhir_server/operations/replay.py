"""AuditEvent/[id]/$replay: a past decision is made again, with the Consents, the memberships and the rules as they were.

For auditors, on the events that they see. It tells whether the same comes out, and on which grounds. Of a refusal it tells
an auditor nothing that the event does not: whether something was hidden is known to those alone whose record it was
(consent.md, D12 and D20).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from consent_engine.decision import Ground
from fhir_server.consenting.speaking import as_of
from fhir_server.errors import Unprocessable
from fhir_server.fhir_json import dump, parse
from fhir_server.interactions.call import Answer, Call, Services, disclosed, gate_for
from fhir_server.interactions.notice import record
from fhir_server.interactions.read import present
from fhir_server.operations.because import WORDS, Because, because
from fhir_server.operations.definition import Invocation
from fhir_server.operations.judging import Asker, Judgement, Persons, Rules, judged
from fhir_server.operations.recorded_decision import Recorded, recorded_decision
from fhir_server.operations.telling import ground_parts, part, reference, value
from fhir_server.redaction.showing import shown
from fhir_server.store.consents import ByPerson
from fhir_server.store.instants import microseconds
from fhir_server.store.permitted import persons_of
from fhir_server.store.resources import Document

Json = dict[str, Any]
# Interactions that show versions which may not have been the current ones.
OF_VERSIONS = frozenset({"vread", "history-instance", "history-type", "history-system"})
HIDDEN = (
    "没有可查阅的记录（不存在或不可见）",
    "There was nothing that could be seen: it did not exist, or it was hidden.",
)


@dataclass(frozen=True, slots=True)
class Made:
    """The decision on one record, made again. because: None where nothing more may be told."""

    place: str
    permitted: bool
    because: Because | None = None
    grounds: frozenset[Ground] = frozenset()


@dataclass(frozen=True, slots=True)
class Again:
    """All of a decision, made again. missing: references of what is no longer there, so that it cannot be complete."""

    made: tuple[Made, ...]
    missing: frozenset[str] = frozenset()

    @property
    def permitted(self) -> bool:
        return all(each.permitted for each in self.made)

    @property
    def grounds(self) -> frozenset[Ground]:
        return frozenset(ground for each in self.made for ground in each.grounds)

    def agrees(self, then: Recorded) -> bool:
        """Return whether the same came out on the same grounds."""
        alike = all(each.permitted is then.permitted for each in self.made)
        return alike and self.grounds == then.grounds and not self.missing


async def replay(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return a decision as it was recorded and as it is made again.

    Raises Absent for an event that the requester may not see, Unprocessable for one that tells of no such decision.
    """
    gate = gate_for(use, call, "AuditEvent", "r")
    document = await present(use, "AuditEvent", str(asked.id), gate)
    (body,) = await shown(use, gate, "AuditEvent", [document])
    then = recorded_decision(parse(body))
    if then is None:
        raise Unprocessable("This event tells of no decision on what may be seen: there is nothing to be made again.")
    again = await _made_again(use, then, call.requester.organization)
    await record(use, call, disclosed("operation", "AuditEvent", [document], gate, query=asked.place))
    return Answer(200, dump({"resourceType": "Parameters", "parameter": list(_told(str(asked.id), then, again))}))


async def _made_again(use: Services, then: Recorded, auditor: str) -> Again:
    """Return the decision made again.

    The Consents were read after the decision's instant and before the record was written. What was stored between the two
    may have been known or not, so the second instant is tried where the first gives something else.
    """
    first = await _made_at(use, then, then.at, auditor)
    if first.agrees(then) or then.written <= then.at:
        return first
    second = await _made_at(use, then, then.written, auditor)
    return second if second.agrees(then) else first


async def _made_at(use: Services, then: Recorded, known: datetime, auditor: str) -> Again:
    """Return the decision made again with the Consents that were stored by an instant."""
    made: list[Made] = []
    missing: set[str] = set()
    own = await _keys(use, then.requester.subject)
    context = await _keys(use, then.requester.patient)
    spoken = await as_of(use, microseconds(known)).whose(then.requester, then.at)
    for type, id, version in then.resources:
        place = f"{type}/{id}" + (f"/_history/{version}" if version else "")
        document = await _document(use, then, type, id, version)
        if not then.permitted and not then.grounds and (document is None or document["org"] != auditor):
            made.append(Made(place, permitted=False))
            continue
        if document is None:
            missing.add(place)
            continue
        found = await use.past.consents(persons_of(document), microseconds(known))
        missing.update(found.purged)
        # Which patient was in context is told to their own institution alone; it was the one who was shown.
        within = context if then.patient_told or not then.permitted else persons_of(document)
        belongs = then.belongs_to(_named(found.by_person))
        asker = Asker(then.requester, then.letter, belongs, own, within, spoken)
        rules = _rules(use, then)
        judgement = judged(rules, asker, type, document, found.by_person, then.at)
        rule = because(judgement, asker, rules.policy, type, document)
        made.append(Made(place, judgement.permitted, rule, _grounds(judgement)))
    return Again(tuple(made), frozenset(missing))


def _named(consents: ByPerson) -> frozenset[str]:
    """Return all whom Consents name as recipients."""
    provisions = (each for found in consents.values() for consent in found for each in consent.provisions())
    return frozenset(one for each in provisions for one in each.recipients or ())


def _rules(use: Services, then: Recorded) -> Rules:
    keeper = use.gatekeeper
    return Rules(keeper, replace(keeper.policy, treatment=then.implicit == "treatment"), then.mode)


def _grounds(judgement: Judgement) -> frozenset[Ground]:
    return judgement.decision.grounds if judgement.decision else frozenset()


async def _keys(use: Services, patient: str | None) -> Persons:
    keys = await use.gatekeeper.persons.keys([patient.removeprefix("Patient/")]) if patient else {}
    return frozenset(keys.values())


async def _document(use: Services, then: Recorded, type: str, id: str, version: int | None) -> Document | None:
    """Return the version that was judged, with the labels that it was judged by; None if it is no longer there."""
    at = microseconds(then.at)
    if version is None:
        return (await use.past.current(type, [id], at)).get(id)
    found = await use.past.version(type, id, version)
    if found is None or then.interaction not in OF_VERSIONS or not use.settings.strictest_label:
        return found
    newest = await use.past.newest(type, id, at)
    return {**found, "lab": newest.get("lab", [])} if newest else found


def _told(id: str, then: Recorded, again: Again) -> Iterator[Json]:
    yield reference("event", f"AuditEvent/{id}")
    yield value("at", "Instant", then.at.isoformat(timespec="milliseconds"))
    yield value("mode", "Code", str(then.mode))
    yield value("implicit-policy", "Code", then.implicit)
    yield _decision("then", then.permitted, then.grounds)
    yield _decision("recomputed", again.permitted if again.made else then.permitted, again.grounds)
    yield value("same", "Boolean", again.agrees(then))
    yield value("complete", "Boolean", not again.missing)
    yield from (_record(each) for each in again.made)
    yield from (_missing(each) for each in sorted(again.missing))


def _decision(name: str, permitted: bool, grounds: frozenset[Ground]) -> Json:
    return part(name, value("effect", "Code", "permit" if permitted else "deny"), *ground_parts(grounds))


def _record(made: Made) -> Json:
    words: Sequence[str] = HIDDEN if made.because is None else WORDS[made.because]
    return part(
        "record",
        reference("resource", made.place),
        value("effect", "Code", "permit" if made.permitted else "deny"),
        *([value("because", "Code", str(made.because))] if made.because else []),
        value("text", "String", words[0]),
        value("text-en", "String", words[1]),
        *ground_parts(made.grounds),
    )


def _missing(place: str) -> Json:
    return part(
        "missing",
        reference("resource", place),
        value("text", "String", "已被清除，无法据此重新判定。"),
        value("text-en", "String", "It was purged; the decision cannot be made again with it."),
    )
