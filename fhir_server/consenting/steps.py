"""The steps of an authorization, as a table: from a state, by a step, to a state. What is not in it cannot happen.

Source: FHIR R4 Consent, ConsentState (proposed | active | rejected | inactive); the states are asked.State.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from fhir_server.consenting.asked import State
from fhir_server.errors import Problem


class Step(StrEnum):
    """What is done with a request."""

    SEND = "send"  # the patient is asked, by one of the ways; again, if the first time did not reach them
    VERIFY = "verify"  # the patient proves themselves by what the way has sent, which says yes
    CONFIRM = "confirm"  # the patient, or who may speak for them, says yes with their own token
    DECLINE = "decline"
    EXPIRE = "expire"  # nobody has answered in time
    REVOKE = "revoke"


FIRST = State.REQUESTED
PENDING = frozenset({State.REQUESTED, State.VERIFYING})

TABLE: Mapping[tuple[State, Step], State] = {
    (State.REQUESTED, Step.SEND): State.VERIFYING,
    (State.VERIFYING, Step.SEND): State.VERIFYING,
    (State.VERIFYING, Step.VERIFY): State.ACTIVE,
    (State.REQUESTED, Step.CONFIRM): State.ACTIVE,
    (State.VERIFYING, Step.CONFIRM): State.ACTIVE,
    (State.REQUESTED, Step.DECLINE): State.DECLINED,
    (State.VERIFYING, Step.DECLINE): State.DECLINED,
    (State.REQUESTED, Step.EXPIRE): State.EXPIRED,
    (State.VERIFYING, Step.EXPIRE): State.EXPIRED,
    (State.ACTIVE, Step.REVOKE): State.REVOKED,
}

# Why a step cannot be taken, by the state that there is.
REFUSALS = {
    State.REQUESTED: "该授权请求尚未送达患者，不能进行此操作。",
    State.VERIFYING: "该授权请求正在等待患者答复，不能进行此操作。",
    State.ACTIVE: "该授权已经生效，不能进行此操作。",
    State.DECLINED: "患者已拒绝该授权请求。如有需要，请重新发起请求。",
    State.EXPIRED: "该授权请求或授权已过期。如有需要，请重新发起请求。",
    State.REVOKED: "该授权已被撤销。如有需要，请重新发起请求。",
}
CHANGED = "该授权请求在发出后被改动，已不能使用。请重新发起请求。"


class NotNow(Problem):
    """A step that cannot be taken on an authorization as it stands; to try again changes nothing."""

    status, issue = 409, "conflict"


class TooOften(Problem):
    """The patient has been asked as often today as one institution may."""

    status, issue = 429, "throttled"


def after(state: State, step: Step) -> State:
    """Return the state that a step leads to. Raises NotNow where it cannot be taken.

    >>> after(State.ACTIVE, Step.REVOKE)
    <State.REVOKED: 'revoked'>
    """
    found = TABLE.get((state, step))
    if found is None:
        raise NotNow(REFUSALS[state])
    return found
