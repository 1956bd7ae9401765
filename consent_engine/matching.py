"""Whether a provision matches: a request and an instant here and now, a record by a predicate (D3, D7, D8).

Between "surely" and "surely not" stands doubt: bears_on leaves out what surely does not match, doubtful tells the rest.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from consent_engine.dates import Span, microseconds
from consent_engine.labels import label_condition
from consent_engine.predicate import Predicate, all_of, during
from consent_engine.provision import Provision
from consent_engine.vocabulary import ACTIONS_COVERING, PURPOSES, Effect, purposes_covering


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """Who asks, what for.

    actors: "Type/id" of everything that the requester is: practitioner, institution, department, app, group.
    purpose: an ActReason code; action: a consentaction code; delegate: whether the requester acts for another.
    """

    actors: frozenset[str]
    purpose: str
    action: str = "access"
    delegate: bool = False


def bears_on(provision: Provision, request: AccessRequest, at: datetime) -> bool:
    """Return whether actor, purpose, action and period match; what is in doubt is taken to match (see doubtful)."""
    return (
        (_named(provision, request) or bool(provision.unresolved or provision.incomplete))
        and (provision.period is None or provision.period.covers(at))
        and (
            provision.purposes is None
            or request.purpose not in PURPOSES
            or not provision.purposes.isdisjoint(purposes_covering(request.purpose))
        )
        and (
            provision.actions is None
            or request.action not in ACTIONS_COVERING
            or not provision.actions.isdisjoint(ACTIONS_COVERING[request.action])
        )
    )


def _named(provision: Provision, request: AccessRequest) -> bool:
    """Whether the requester is surely one of the recipients."""
    return provision.recipients is None or not request.actors.isdisjoint(provision.recipients - provision.unresolved)


def doubtful(provision: Provision, request: AccessRequest) -> bool:
    """Return whether it is unknown if the provision matches: nothing at or below it permits then, what denies holds (D3)."""
    return (
        bool(provision.doubts)
        or not _named(provision, request)
        or (provision.purposes is not None and request.purpose not in PURPOSES)
        or (provision.actions is not None and request.action not in ACTIONS_COVERING)
    )


def asks(provision: Provision, effect: Effect, request: AccessRequest) -> Predicate:
    """Return what the provision asks of a record, in its own direction; without one, in that of the rule it is part of."""
    direction = provision.effect or effect
    conditions = [provision.condition]
    if provision.labels is not None:
        conditions.append(label_condition(provision.labels, direction, delegate=request.delegate))
    if provision.data_period is not None:
        conditions.append(_data_from(provision.data_period, wholly=direction is Effect.PERMIT))
    return all_of(*conditions)


def _data_from(period: Span, *, wholly: bool) -> Predicate:
    start = None if period.start is None else microseconds(period.start)
    end = None if period.end is None else microseconds(period.end - timedelta(microseconds=1))
    return during(start, end, wholly=wholly)
