"""One provision of a Consent: what it asks of a request and of a record.

Rule D3: an absent element is no constraint. A provision in which anything is unreadable never permits; where it denies,
what is unreadable is no constraint, so that it denies more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any

from consent_engine import vocabulary as v
from consent_engine.data import data_condition
from consent_engine.dates import Span
from consent_engine.elements import (
    Unreadable,
    carries,
    coding,
    complete_codings,
    concept,
    entries,
    period,
    reference,
)
from consent_engine.groups import Facts, incomplete, unresolved
from consent_engine.obligations import Obligation, read_obligations
from consent_engine.predicate import EVERYTHING, Attribute, Predicate, all_of, any_of, either
from consent_engine.reasons import Doubt, Reason
from consent_engine.resource_types import RESOURCE_TYPE_NAMES
from consent_engine.vocabulary import Effect


@dataclass(frozen=True, slots=True)
class Provision:
    """A provision as read. In the sets, None = not constrained.

    path: FHIRPath in the Consent; depth: 0 for the root.
    effect: None only for a root of a Consent without a base rule.
    recipients: "Type/id"; purposes: ActReason codes; actions: consentaction codes.
    unresolved, incomplete: the groups and teams among the recipients of which it is not known who belongs to them, or
    who else does.
    period: when the rule is in force; data_period: when the data are from.
    labels: (system, code) of the labels that are named.
    condition: what class, code, data and the custodian and author actors ask of a record.
    obligations: what is to be done to the records that it permits.
    doubts: what could not be understood, element by element.
    """

    path: str
    depth: int
    effect: Effect | None
    recipients: frozenset[str] | None = None
    unresolved: frozenset[str] = frozenset()
    incomplete: frozenset[str] = frozenset()
    purposes: frozenset[str] | None = None
    actions: frozenset[str] | None = None
    period: Span | None = None
    data_period: Span | None = None
    labels: frozenset[tuple[str, str]] | None = None
    condition: Predicate = EVERYTHING
    obligations: frozenset[Obligation] = frozenset()
    doubts: tuple[Doubt, ...] = ()
    nested: tuple["Provision", ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reading of a Consent rests on beside its JSON.

    zone: where dates are read that name no zone. facts: by "Type/id", the resources found under the references that
    the reading rests on (Consent.needs), as they are now; one that is missing is not there.
    """

    zone: tzinfo
    facts: Facts


# Every element that R4 defines here; what is read of them: _READERS, type and provision.
PROVISION_ELEMENTS = frozenset(
    {"id", "extension", "modifierExtension", "type", "period", "actor", "action", "securityLabel", "purpose"}
    | {"class", "code", "dataPeriod", "data", "provision"}
)
_OWN = frozenset({"provision"})  # nested provisions answer for themselves


def read_provision(json: Mapping[str, Any], provision: Provision, reading: Reading) -> Provision:
    """Return the provision with the elements of its JSON filled in; type and nested provisions are the caller's."""
    if carries(json, "modifierExtension", beside=_OWN):
        # It may turn the meaning of anything beside it around, so nothing here narrows a denial.
        return _in_doubt(provision, Doubt("modifierExtension", Reason.UNKNOWN_ELEMENT))
    unknown = [str(key) for key in json.keys() - PROVISION_ELEMENTS]
    if any(carries(json[element], "extension") for element in json.keys() - {"extension", "provision"}):
        unknown.append("extension")
    provision = _in_doubt(provision, *(Doubt(each, Reason.UNKNOWN_ELEMENT) for each in sorted(unknown)))
    for element, read in _READERS.items():
        if element in json:
            try:
                provision = read(provision, json[element], reading)
            except Unreadable as problem:
                provision = _in_doubt(provision, Doubt(element, problem.reason))
    return provision


def _in_doubt(provision: Provision, *doubts: Doubt) -> Provision:
    return replace(provision, doubts=(*provision.doubts, *doubts))


def _actor(provision: Provision, value: object, reading: Reading) -> Provision:
    by_role: dict[str, set[str]] = {"recipient": set(), "custodian": set(), "author": set()}
    for actor in entries(value):
        by_role[_role(actor.get("role"))].add(reference(actor.get("reference")))
    recipients, custodians, authors = by_role.values()
    if not recipients:
        # The specification's own examples name the recipient as custodian where there is no other actor.
        recipients, custodians = custodians, set()
    condition = [provision.condition]
    if custodians:
        condition.append(any_of(Attribute.CUSTODIAN, _organizations(custodians)))
    if authors:
        condition.append(any_of(Attribute.AUTHOR, authors))
    return replace(
        provision,
        recipients=frozenset(recipients) or None,
        unresolved=unresolved(recipients, reading.facts),
        incomplete=incomplete(recipients, reading.facts),
        condition=all_of(*condition),
    )


def _role(value: object) -> str:
    roles = {_ROLES.get(found, _other_role(*found)) for found in complete_codings(value)} - {None}
    if len(roles) != 1:
        raise Unreadable(Reason.ROLE)
    return str(roles.pop())


_ROLES = {
    (v.PARTICIPATION_TYPE, "IRCP"): "recipient",
    (v.PARTICIPATION_TYPE, "PRCP"): "recipient",
    (v.PARTICIPATION_TYPE, "CST"): "custodian",
    (v.PARTICIPATION_TYPE, "AUT"): "author",
}


def _other_role(system: str, code: str) -> str | None:
    return "recipient" if system in v.ROLE_SYSTEMS or code in v.RECIPIENT_ROLES else None


def _organizations(references: set[str]) -> set[str]:
    if not all(each.startswith("Organization/") for each in references):
        raise Unreadable(Reason.CUSTODIAN)
    return {each.removeprefix("Organization/") for each in references}


def _purpose(provision: Provision, value: object, reading: Reading) -> Provision:
    found = {coding(each) for each in entries(value)}
    if any(system != v.ACT_REASON or code not in v.PURPOSES for system, code in found):
        raise Unreadable(Reason.PURPOSE)
    return replace(provision, purposes=frozenset(code for _, code in found))


def _action(provision: Provision, value: object, reading: Reading) -> Provision:
    actions: set[str] = set()
    for each in entries(value):
        known = {c for s, c in complete_codings(each) if s == v.CONSENT_ACTION and c in v.ACTIONS_COVERING}
        if not known:
            raise Unreadable(Reason.ACTION)
        actions |= known
    return replace(provision, actions=frozenset(actions))


def _class(provision: Provision, value: object, reading: Reading) -> Provision:
    classes = either(*(_one_class(*coding(each)) for each in entries(value)))
    return replace(provision, condition=all_of(provision.condition, classes))


def _one_class(system: str, code: str) -> Predicate:
    base = v.STRUCTURE_DEFINITION + "/"
    if system == v.STRUCTURE_DEFINITION and not code.startswith(("http://", "https://", "urn:")):
        system, code = v.URI, base + code
    if system in (v.URI, v.STRUCTURE_DEFINITION) and code.removeprefix(base) in RESOURCE_TYPE_NAMES:
        system, code = v.RESOURCE_TYPES, code.removeprefix(base)  # the profile that every instance of a type has
    if system == v.RESOURCE_TYPES:
        if code not in RESOURCE_TYPE_NAMES:
            raise Unreadable(Reason.CLASS)
        return any_of(Attribute.TYPE, {code})
    if system in (v.URI, v.STRUCTURE_DEFINITION):
        return any_of(Attribute.PROFILE, {code})
    return any_of(Attribute.CODE, {f"{system}|{code}"})


def _code(provision: Provision, value: object, reading: Reading) -> Provision:
    codes = {f"{system}|{code}" for each in entries(value) for system, code in concept(each)}
    return replace(provision, condition=all_of(provision.condition, any_of(Attribute.CODE, codes)))


def _data(provision: Provision, value: object, reading: Reading) -> Provision:
    return replace(provision, condition=all_of(provision.condition, data_condition(value, reading.facts)))


def _security_label(provision: Provision, value: object, reading: Reading) -> Provision:
    labels = frozenset(coding(each) for each in entries(value))
    if not all(v.nameable(*label) for label in labels):
        raise Unreadable(Reason.LABEL)
    return replace(provision, labels=labels)


def _period(provision: Provision, value: object, reading: Reading) -> Provision:
    return replace(provision, period=period(value, reading.zone))


def _data_period(provision: Provision, value: object, reading: Reading) -> Provision:
    return replace(provision, data_period=period(value, reading.zone))


def _extension(provision: Provision, value: object, reading: Reading) -> Provision:
    found = read_obligations(value)
    if provision.effect is not Effect.PERMIT:
        raise Unreadable(Reason.OBLIGED_DENIAL)
    return replace(provision, obligations=found)


_READERS: Mapping[str, Callable[[Provision, object, Reading], Provision]] = {
    "actor": _actor,
    "purpose": _purpose,
    "action": _action,
    "class": _class,
    "code": _code,
    "data": _data,
    "securityLabel": _security_label,
    "period": _period,
    "dataPeriod": _data_period,
    "extension": _extension,
}
