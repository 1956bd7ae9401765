"""What happens beside the interactions of FHIR: steps of an authorization, transfers by bridges.

Source: IHE BALP 1.1, "Privacy Disclosure" patterns (Export at the source, Import at the recipient); the kinds are in
security.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from fhir_server.audit.event import Happening, Outcome, Touched

# The note of an access that nothing but a stated emergency has opened.
BROKEN = "break-glass"


class Step(StrEnum):
    """A step in the life of an authorization."""

    REQUESTED = "requested"
    VERIFIED = "verified"
    ACTIVE = "active"
    DECLINED = "declined"
    EXPIRED = "expired"
    REVOKED = "revoked"
    REMINDED = "reminded"


class Direction(StrEnum):
    """Which way a bridge moves records."""

    OUT = "transfer"
    IN = "transfer-in"


def consent_step(step: Step, consent: Touched, *, note: str | None = None) -> Happening:
    """Return that an authorization came to a step. consent: with the version that the step made. note: by which way."""
    return Happening(f"consent-{step}", touched=(consent,), note=note)


def consent_step_refused(step: Step, consent: Touched, status: int, *, note: str | None = None) -> Happening:
    """Return that an authorization did not come to a step. status: what was answered (HTTP)."""
    return Happening(f"consent-{step}", Outcome.REFUSED, status, touched=(consent,), note=note)


def of_partner(partner: str) -> str:
    """Return how the note of a transfer names with whom it was."""
    return f"partner {partner}"


def transfer(
    direction: Direction, records: Iterable[Touched], partner: str, *, done: bool = True, note: str | None = None
) -> Happening:
    """Return that a bridge moved records, or failed to. partner: the platform's name, which is told in the note."""
    told = "; ".join(part for part in (of_partner(partner), note) if part)
    outcome, status = (Outcome.DONE, 200) if done else (Outcome.FAILED, 502)
    return Happening(direction, outcome, status, touched=tuple(records), note=told)
