"""A FHIR R4 Consent as the engine reads it.

Rules D1 (does it take part) and D2 (base rule) are settled here; D3 for one provision in provision.py; the rest when
it is compiled for a request, in rules.py.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Any

from consent_engine import vocabulary as v
from consent_engine.elements import carries, complete_codings
from consent_engine.provision import Provision, read_provision
from consent_engine.vocabulary import Effect

MAX_DEPTH = 32  # of nested provisions; people write one or two

ANYONE = "*"


class _Flaw(Exception):
    """The whole Consent is unusable."""


@dataclass(frozen=True, slots=True)
class Consent:
    """A Consent as read.

    ignored: why it takes no part, whoever asks; research: takes part for research purposes only.
    flaw: why it is unusable as a whole; it then forbids everything.
    authority: id of the institution on whose say-so it was stored, which can permit only its own records; None = the
    patient's own.
    """

    id: str
    version: str
    authority: str | None
    ignored: str | None = None
    research: bool = False
    flaw: str | None = None
    root: Provision | None = None

    @property
    def unreadable(self) -> tuple[str, ...]:
        """What the engine could not understand, as "path: reason"; what it touches permits nothing."""
        return tuple(f"{p.path}: {reason}" for p in self.provisions() for reason in p.unreadable)

    def provisions(self) -> Iterator[Provision]:
        """Yield all provisions, parents before their children."""
        waiting = [self.root] if self.root else []
        while waiting:
            provision = waiting.pop()
            yield provision
            waiting += reversed(provision.nested)


def read_consent(resource: Mapping[str, Any], *, id: str, version: str, zone: tzinfo, authority: str | None) -> Consent:
    """Return the Consent as the engine reads it. Never raises: what cannot be understood is recorded in it.

    zone: where dates are read that name no zone.
    authority: id of the institution on whose say-so it was stored; None = the patient (or a trusted authority).
    """
    consent = Consent(id, version, authority)
    if resource.get("status") != "active":
        return replace(consent, ignored="status is not active")
    scopes = {c for system, c in complete_codings(resource.get("scope")) if system == v.CONSENT_SCOPE}
    if not scopes & {"patient-privacy", "research"}:
        return replace(consent, ignored="scope is neither patient-privacy nor research")
    consent = replace(consent, research=scopes == {"research"})
    try:
        _refuse_what_changes_meaning(resource, scopes)
        return replace(consent, root=_root(resource, zone))
    except _Flaw as flaw:
        return replace(consent, flaw=str(flaw))


def bearers(consent: Consent) -> frozenset[str]:
    """Return the actors by which the Consent could bear on a requester; with ANYONE if it could bear on anyone.

    No request whose actors have none in common with these is touched by it (unless ANYONE is among them).
    """
    if consent.ignored:
        return frozenset()
    if consent.flaw:
        return frozenset({ANYONE})
    return frozenset(_bearers(consent.root)) if consent.root else frozenset()


def _bearers(provision: Provision) -> Iterator[str]:
    if provision.recipients is not None:
        yield from provision.recipients  # all that is nested is asked of these actors only
        return
    if provision.effect:
        yield ANYONE
    for nested in provision.nested:
        yield from _bearers(nested)


def _refuse_what_changes_meaning(resource: Mapping[str, Any], scopes: set[str]) -> None:
    if len(scopes) > 1:
        raise _Flaw("scope is ambiguous")
    if "implicitRules" in resource:
        raise _Flaw("implicitRules are not understood")
    if carries(resource, "modifierExtension", beside=frozenset({"provision"})):
        raise _Flaw("a modifierExtension is not understood")


def _root(resource: Mapping[str, Any], zone: tzinfo) -> Provision | None:
    policy = _policy_effect(resource)
    if "provision" not in resource:
        return Provision("policyRule", 0, policy) if policy else None
    json = _object(resource["provision"])
    own = _type(json)
    if policy and own and policy is not own:
        raise _Flaw("policyRule and the type of the root provision contradict each other")
    base = own or policy
    return _with_nested(json, Provision("provision", 0, base), base, zone)


def _policy_effect(resource: Mapping[str, Any]) -> Effect | None:
    if "policyRule" not in resource:
        return None
    found = {_directive(each) for each in _codings(_object(resource["policyRule"]))} - {None}
    if len(found) > 1:
        raise _Flaw("policyRule says both permit and deny")
    return found.pop() if found else None


def _codings(concept: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = concept.get("coding", [])
    if not isinstance(found, list):
        raise _Flaw("policyRule is malformed")
    return [_object(each) for each in found]


def _directive(coding: Mapping[str, Any]) -> Effect | None:
    code = coding.get("code")
    effect = v.DIRECTIVES.get(code) if isinstance(code, str) else None
    if coding.get("system") == v.ACT_CODE:
        return effect
    # Without a system the code is not known: as all that is unknown, it may deny but not permit.
    return effect if effect is Effect.DENY and not coding.get("system") else None


def _with_nested(json: Mapping[str, Any], provision: Provision, base: Effect | None, zone: tzinfo) -> Provision:
    provision = read_provision(json, provision, zone)
    if "provision" not in json:
        return provision
    if provision.depth == MAX_DEPTH:
        raise _Flaw("provisions are nested too deep")
    if not isinstance(json["provision"], list) or not json["provision"]:
        raise _Flaw("nested provisions are malformed")
    nested = []
    for n, each in enumerate(map(_object, json["provision"])):
        exception = _exception(each, f"{provision.path}.provision[{n}]", provision, base)
        nested.append(_with_nested(each, exception, base, zone))
    return replace(provision, nested=tuple(nested))


def _exception(json: Mapping[str, Any], path: str, parent: Provision, base: Effect | None) -> Provision:
    """A nested provision before its elements are read; without a type it is an exception to the base rule."""
    effect = _type(json) or (base.opposite if base else None)
    if effect:
        return Provision(path, parent.depth + 1, effect)
    return Provision(path, parent.depth + 1, Effect.DENY, unreadable=("type: neither given nor implied",))


def _type(json: Mapping[str, Any]) -> Effect | None:
    match json.get("type"):
        case "permit":
            return Effect.PERMIT
        case "deny":
            return Effect.DENY
    if "type" in json:
        raise _Flaw("the type of a provision is neither permit nor deny")
    return None


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _Flaw("a part of the Consent is malformed")
    return value
