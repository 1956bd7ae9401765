"""A FHIR R4 Consent as the engine reads it.

Rules D1 (does it take part) and D2 (base rule) are settled here; D3 for one provision in provision.py; the rest when
it is compiled for a request, in rules.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from types import MappingProxyType
from typing import Any

from consent_engine import vocabulary as v
from consent_engine.dates import Span, span
from consent_engine.elements import carries, complete_codings
from consent_engine.facts import rests_on
from consent_engine.groups import Facts, collective
from consent_engine.provision import Provision, Reading, read_provision
from consent_engine.proxies import Proxies, read_proxies
from consent_engine.reasons import Doubt, Reason
from consent_engine.vocabulary import Effect

__all__ = ["ANYONE", "MAX_DEPTH", "Consent", "bearers", "read_consent", "rests_on"]

MAX_DEPTH = 32  # of nested provisions; people write one or two

ANYONE = "*"


NO_FACTS: Facts = MappingProxyType({})


class _Flaw(Exception):
    """The whole Consent is unusable."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Consent:
    """A Consent as read.

    ignored: why it takes no part, whoever asks; research: takes part for research purposes only.
    flaw: why it is unusable as a whole; it then forbids everything.
    authority: id of the institution on whose say-so it was stored, which can permit only its own records; None = the
    patient's own.
    needs: "Type/id" of the resources on which this reading of it rests.
    proxies: when those who gave it may speak for the patient; None = the patient gave it.
    signed: the time that its dateTime covers.
    """

    id: str
    version: str
    authority: str | None
    ignored: Reason | None = None
    research: bool = False
    flaw: Reason | None = None
    root: Provision | None = None
    needs: frozenset[str] = frozenset()
    proxies: Proxies | None = None
    signed: Span | None = None

    @property
    def doubts(self) -> tuple[tuple[str, Doubt], ...]:
        """What the engine could not understand, with the path of its provision; what it touches permits nothing."""
        return tuple((provision.path, doubt) for provision in self.provisions() for doubt in _doubts(provision))

    def provisions(self) -> Iterator[Provision]:
        """Yield all provisions, parents before their children."""
        waiting = [self.root] if self.root else []
        while waiting:
            provision = waiting.pop()
            yield provision
            waiting += reversed(provision.nested)


def _doubts(provision: Provision) -> tuple[Doubt, ...]:
    return (*provision.doubts, *([Doubt("actor", Reason.GROUP)] if provision.unresolved | provision.incomplete else []))


def read_consent(
    resource: Mapping[str, Any],
    *,
    id: str,
    version: str,
    zone: tzinfo,
    authority: str | None,
    facts: Facts = NO_FACTS,
) -> Consent:
    """Return the Consent as the engine reads it. Never raises: what cannot be understood is recorded in it.

    zone: where dates are read that name no zone.
    authority: id of the institution on whose say-so it was stored; None = the patient (or a trusted authority).
    facts: by "Type/id", the resources that rests_on names, as they are now; one that is missing is not there.
    """
    consent = Consent(id, version, authority)
    if resource.get("status") != "active":
        return replace(consent, ignored=Reason.STATUS)
    scopes = {c for system, c in complete_codings(resource.get("scope")) if system == v.CONSENT_SCOPE}
    if not scopes & {"patient-privacy", "research"}:
        return replace(consent, ignored=Reason.SCOPE)
    signed = span(resource.get("dateTime"), zone)
    consent = replace(
        consent,
        research=scopes == {"research"},
        needs=rests_on(resource),
        signed=Span(*signed) if signed else None,
    )
    try:
        _refuse_what_changes_meaning(resource, scopes)
        consent = replace(consent, proxies=read_proxies(resource, zone, facts))
        return replace(consent, root=_root(resource, Reading(zone, facts)))
    except _Flaw as flaw:
        return replace(consent, flaw=flaw.reason)


def bearers(consent: Consent) -> frozenset[str]:
    """Return the actors by which the Consent could bear on a requester; with ANYONE if it could bear on anyone.

    No request whose actors have none in common with these is touched by it (unless ANYONE is among them), whatever the
    facts are by then.
    """
    if consent.ignored:
        return frozenset()
    if consent.flaw:
        return frozenset({ANYONE})
    return frozenset(_bearers(consent.root)) if consent.root else frozenset()


def _bearers(provision: Provision) -> Iterator[str]:
    if provision.recipients is not None:
        yield from provision.recipients  # all that is nested is asked of these actors only
        if collective(provision.recipients) and _may_deny(provision):
            yield ANYONE  # as soon as it is not known who belongs to them
        return
    if provision.effect:
        yield ANYONE
    for nested in provision.nested:
        yield from _bearers(nested)


def _may_deny(provision: Provision) -> bool:
    return provision.effect is Effect.DENY or any(map(_may_deny, provision.nested))


def _refuse_what_changes_meaning(resource: Mapping[str, Any], scopes: set[str]) -> None:
    if len(scopes) > 1:
        raise _Flaw(Reason.AMBIGUOUS_SCOPE)
    if "implicitRules" in resource:
        raise _Flaw(Reason.IMPLICIT_RULES)
    if carries(resource, "modifierExtension", beside=frozenset({"provision"})):
        raise _Flaw(Reason.MODIFIER_EXTENSION)


def _root(resource: Mapping[str, Any], reading: Reading) -> Provision | None:
    policy = _policy_effect(resource)
    if "provision" not in resource:
        return Provision("policyRule", 0, policy) if policy else None
    json = _object(resource["provision"])
    own = _type(json)
    if policy and own and policy is not own:
        raise _Flaw(Reason.CONTRADICTION)
    base = own or policy
    return _with_nested(json, Provision("provision", 0, base), base, reading)


def _policy_effect(resource: Mapping[str, Any]) -> Effect | None:
    if "policyRule" not in resource:
        return None
    found = {_directive(each) for each in _codings(_object(resource["policyRule"]))} - {None}
    if len(found) > 1:
        raise _Flaw(Reason.BOTH_DIRECTIVES)
    return found.pop() if found else None


def _codings(concept: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = concept.get("coding", [])
    if not isinstance(found, list):
        raise _Flaw(Reason.POLICY_RULE)
    return [_object(each) for each in found]


def _directive(coding: Mapping[str, Any]) -> Effect | None:
    code = coding.get("code")
    effect = v.DIRECTIVES.get(code) if isinstance(code, str) else None
    if coding.get("system") == v.ACT_CODE:
        return effect
    # Without a system the code is not known: as all that is unknown, it may deny but not permit.
    return effect if effect is Effect.DENY and not coding.get("system") else None


def _with_nested(json: Mapping[str, Any], provision: Provision, base: Effect | None, reading: Reading) -> Provision:
    provision = read_provision(json, provision, reading)
    if "provision" not in json:
        return provision
    if provision.depth == MAX_DEPTH:
        raise _Flaw(Reason.DEPTH)
    if not isinstance(json["provision"], list) or not json["provision"]:
        raise _Flaw(Reason.NESTED)
    nested = []
    for n, each in enumerate(map(_object, json["provision"])):
        exception = _exception(each, f"{provision.path}.provision[{n}]", provision, base)
        nested.append(_with_nested(each, exception, base, reading))
    return replace(provision, nested=tuple(nested))


def _exception(json: Mapping[str, Any], path: str, parent: Provision, base: Effect | None) -> Provision:
    """A nested provision before its elements are read; without a type it is an exception to the base rule."""
    effect = _type(json) or (base.opposite if base else None)
    if effect:
        return Provision(path, parent.depth + 1, effect)
    return Provision(path, parent.depth + 1, Effect.DENY, doubts=(Doubt("type", Reason.NO_TYPE),))


def _type(json: Mapping[str, Any]) -> Effect | None:
    match json.get("type"):
        case "permit":
            return Effect.PERMIT
        case "deny":
            return Effect.DENY
    if "type" in json:
        raise _Flaw(Reason.WRONG_TYPE)
    return None


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _Flaw(Reason.MALFORMED)
    return value
