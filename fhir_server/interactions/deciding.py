"""What the log is to know of a gate's decisions (fhir_server/audit/basis.py)."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from weakref import WeakKeyDictionary

from consent_engine.predicate import (
    AllOf,
    AnyOf,
    Constant,
    During,
    Either,
    Not,
    OnlyOf,
    PerPerson,
    Predicate,
)
from fhir_server.audit.basis import Basis
from fhir_server.auth.gate import RequestGate
from fhir_server.auth.policy import Policy
from fhir_server.store.permitted import Permitted

# A permission outlives the request, so that what follows from it is worked out once.
_digests: WeakKeyDictionary[Permitted, dict[str, str]] = WeakKeyDictionary()


def basis_of(gate: RequestGate, *types: str) -> Basis:
    """Return on what this gate's decisions on resources of these types stood."""
    permitted = gate.asked_overall
    return Basis(
        gate.now,
        str(gate.mode),
        implicit_of(gate.policy),
        tuple(sorted(gate.memberships)),
        tuple((type, digest(permitted, type)) for type in types) if permitted else (),
        gate.closed,
    )


def implicit_of(policy: Policy) -> str:
    """Return what holds without a Consent under a policy."""
    return "treatment" if policy.treatment else "deny"


def digest(permitted: Permitted, type: str) -> str:
    """Return the digest of the predicate that a query on a type is narrowed by; in every process the same."""
    known = _digests.setdefault(permitted, {})
    if type not in known:
        known[type] = sha256("".join(_written(permitted.on(type))).encode()).hexdigest()
    return known[type]


def _written(predicate: Predicate) -> Iterator[str]:
    """Yield a text that is the same for equal predicates, in parts; sets are put in order."""
    match predicate:
        case Constant(value):
            yield str(value)
        case AnyOf(attribute, values) | OnlyOf(attribute, values):
            yield f"{type(predicate).__name__}({attribute}:{_ordered(values)})"
        case During(start, end, wholly):
            yield f"During({start},{end},{wholly})"
        case Not(part):
            yield "Not("
            yield from _written(part)
            yield ")"
        case AllOf(parts) | Either(parts):
            yield f"{type(predicate).__name__}({','.join(sorted(''.join(_written(part)) for part in parts))})"
        case PerPerson(groups, otherwise, nobody):
            known = sorted(f"{_ordered(persons)}:{''.join(_written(part))}" for persons, part in groups)
            rest = (f"{''.join(_written(part))};" for part in (otherwise, nobody))
            yield f"PerPerson({','.join(known)};{''.join(rest)})"


def _ordered(values: frozenset[Any]) -> str:
    return ",".join(sorted(map(str, values)))
