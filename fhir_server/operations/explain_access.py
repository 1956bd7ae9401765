"""[type]/[id]/$explain-access: who may see this resource, and why, or why not.

The patient whose record it is may ask, an auditor of the institution that keeps it, and an operator. Everybody else is
answered as for a resource that does not exist. A patient is told of their own Consents only; of a record of several
persons no more than that another person's permission is missing. An auditor is told of Consents that were stored
elsewhere only where they speak of the record.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from consent_engine.decision import Verdict
from consent_engine.obligations import Obligation
from fhir_server.audit.event import Happening
from fhir_server.auth.requester import Requester, Role
from fhir_server.errors import Absent, InvalidSearchValue, TooCostly
from fhir_server.fhir_json import dump
from fhir_server.interactions.call import Answer, Call, Services, gate_for, touched, within_scopes
from fhir_server.interactions.deciding import implicit_of
from fhir_server.interactions.notice import record
from fhir_server.interactions.read import present
from fhir_server.operations.asking import asker_of, askers
from fhir_server.operations.because import WORDS, because, for_person
from fhir_server.operations.definition import Invocation
from fhir_server.operations.judging import Asker, Judgement, Persons, Rules, judged
from fhir_server.operations.telling import part, reference, statement_parts, value
from fhir_server.store.instants import instant, moment
from fhir_server.store.permitted import persons_of
from fhir_server.store.resources import Document, Ungated

MOST_ASKERS = 200
SPEAKING = frozenset({Verdict.FORBIDS, Verdict.UNREADABLE})

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """A record, and how much of its decisions may be told.

    whose: the persons of whose Consents is told. at_home: only of Consents that bear on this institution's records.
    """

    type: str
    document: Document
    whose: Persons
    own: bool = False
    at_home: str | None = None


@dataclass(frozen=True, slots=True)
class Tellable:
    """What may be told. silent: the ids of the Consents of which it is told that they say nothing.

    named: whom the Consents name. To whom else somebody belongs is told by nothing: it may be another patient's team.
    """

    silent: frozenset[str]
    named: frozenset[str]


async def explain_access(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return who may see a resource and why. Raises Absent unless the requester may ask, TooCostly for too many to list."""
    view = await _view(use, call, str(asked.type), str(asked.id))
    now = use.now()
    at = asked.one("at")[0] if asked.one("at") else now
    found = (await use.past.consents(persons_of(view.document), min(at, now))).by_person
    theirs = [each for person in view.whose for each in found[person]]
    known = [each for each in theirs if view.at_home is None or each.authority in (None, view.at_home)]
    named = frozenset(each for one in known for provision in one.provisions() for each in provision.recipients or ())
    asking = [await asker_of(use, asked, view.document)] if asked.one("user") else await _all(use, asked, view, named)
    keeper, tellable = use.gatekeeper, Tellable(frozenset(each.id for each in known), named)
    rules = Rules(keeper, keeper.policy, keeper.mode)
    told = [
        _access(use, view, each, judged(rules, each, view.type, view.document, found, moment(at)), tellable)
        for each in asking
    ]
    happening = Happening("operation", touched=(touched(view.type, view.document),), query=asked.place)
    await record(use, call, happening)
    return Answer(200, dump({"resourceType": "Parameters", "parameter": [*_head(use, view, at), *told]}))


async def _view(use: Services, call: Call, type: str, id: str) -> View:
    """Return the record as the requester may ask about it. Raises Absent or Gone as a read does."""
    requester = call.requester
    if requester.user in use.settings.operators:
        document = await _any(use, type, id)
        return View(type, document, persons_of(document))
    if requester.role is Role.AUDITOR and type != "AuditEvent":
        within_scopes(call, "AuditEvent", "r")
        document = await _any(use, type, id)
        if document["org"] != requester.organization:
            raise Absent
        return View(type, document, persons_of(document), at_home=requester.organization)
    gate = gate_for(use, call, type, "r")
    within_scopes(call, "Consent", "r")
    document = await present(use, type, id, gate)
    own = await _own(use, requester) & persons_of(document)
    if not own:
        raise Absent
    return View(type, document, own, own=True)


async def _any(use: Services, type: str, id: str) -> Document:
    found = await use.resources.many(type, [id], Ungated("an explanation for who answers for the record"))
    if id not in found:
        raise Absent
    return found[id]


async def _own(use: Services, requester: Requester) -> Persons:
    if requester.subject is None:
        return frozenset()
    keys = await use.gatekeeper.persons.keys([requester.subject.removeprefix("Patient/")])
    return frozenset(keys.values())


async def _all(use: Services, asked: Invocation, view: View, named: Collection[str]) -> list[Asker]:
    """Return all whom the Consents name, and the institution that keeps the record."""
    if len(named) > MOST_ASKERS:
        raise TooCostly(f"The Consents name more than {MOST_ASKERS} recipients: name one as the parameter user.")
    if asked.one("organization") or asked.one("role"):
        raise InvalidSearchValue("organization and role say more of a user: name one as the parameter user.")
    return await askers(use, asked, sorted({f"Organization/{view.document['org']}", *named}))


def _head(use: Services, view: View, at: int) -> Iterator[Json]:
    place = f"{view.type}/{view.document['_id']}/_history/{view.document['v']}"
    yield reference("resource", place)
    yield value("at", "Instant", instant(at))
    yield value("mode", "Code", str(use.gatekeeper.mode))
    yield value("implicit-policy", "Code", implicit_of(use.gatekeeper.policy))


def _access(use: Services, view: View, asker: Asker, judgement: Judgement, tellable: Tellable) -> Json:
    """Return what is told of one who might ask."""
    policy, requester = use.gatekeeper.policy, asker.requester
    if view.own:
        rule = for_person(judgement, asker, policy, view.type, view.document, view.whose)
    else:
        rule = because(judgement, asker, policy, view.type, view.document)
    chinese, english = WORDS[rule]
    may = ("可以查阅", "may see it") if judgement.permitted else ("不可以查阅", "may not see it")
    statements = [
        each
        for person, found in judgement.parts.items()
        for each in found.statements
        if person in view.whose and (each.consent in tellable.silent or each.verdict in SPEAKING)
    ]
    return part(
        "access",
        reference("user", requester.user),
        *([reference("organization", f"Organization/{requester.organization}")] if requester.organization else []),
        value("role", "Code", str(requester.role)),
        value("purpose", "Code", requester.purpose),
        value("effect", "Code", "permit" if judgement.permitted else "deny"),
        value("because", "Code", str(rule)),
        value("text", "String", f"{requester.user}{may[0]}。{chinese}"),
        value("text-en", "String", f"{requester.user} {may[1]}. {english}"),
        *(reference("membership", each) for each in sorted(asker.memberships & tellable.named)),
        *(_obligation(each) for each in _obliged(view, judgement)),
        *statement_parts(statements),
    )


def _obliged(view: View, judgement: Judgement) -> list[Obligation]:
    """Return what is to be done to the record before it is shown, as far as it is told."""
    if not judgement.permitted:
        return []
    return [each for person, found in judgement.parts.items() if person in view.whose for each in found.obliged]


def _obligation(obligation: Obligation) -> Json:
    return part(
        "obligation",
        value("action", "Code", obligation.action),
        value("element", "String", obligation.element),
    )
