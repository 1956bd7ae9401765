"""Whether a Consent does what it says: what its custodian is told (D1, D2, D3)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from consent_engine.consent import Consent
from consent_engine.proxies import Mandate
from consent_engine.reasons import Reason


class Status(StrEnum):
    """How far a Consent is enforced."""

    ENFORCED = "enforced"
    IGNORED = "ignored"  # takes no part
    LAPSED = "lapsed"  # takes no part any more, by time alone
    CONTRADICTORY = "contradictory"  # forbids everything until it is corrected or ended
    UNSUPPORTED = "unsupported"  # not understood: as a whole (it forbids everything) or in parts (they permit nothing)


@dataclass(frozen=True, slots=True)
class Found:
    """One reason, with the FHIRPath of what it is about; element: what of it."""

    path: str
    element: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Enforcement:
    """The status of a Consent and why it has it; an enforced one needs no reason."""

    status: Status
    reasons: tuple[Found, ...] = ()


CONTRADICTIONS = frozenset({Reason.CONTRADICTION, Reason.BOTH_DIRECTIVES, Reason.AMBIGUOUS_SCOPE})


def enforcement(consent: Consent, at: datetime) -> Enforcement:
    """Return how the Consent is enforced at an instant, whoever asks. Raises ValueError if that has no time zone."""
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    if consent.ignored:
        return _whole(Status.IGNORED, consent.ignored)
    mandate = consent.proxies.mandate(at) if consent.proxies else Mandate.VALID
    if mandate is Mandate.LAPSED:
        return _whole(Status.LAPSED, Reason.LAPSED)
    if consent.flaw:
        return _whole(Status.CONTRADICTORY if consent.flaw in CONTRADICTIONS else Status.UNSUPPORTED, consent.flaw)
    if _ended(consent, at):
        return Enforcement(Status.LAPSED, (Found("provision", "period", Reason.ENDED),))
    if not any(provision.effect for provision in consent.provisions()):
        return _whole(Status.UNSUPPORTED, Reason.EMPTY)
    doubts = [Found(path, doubt.element, doubt.reason) for path, doubt in consent.doubts]
    if mandate is Mandate.IN_DOUBT:
        doubts.insert(0, Found("", "performer", Reason.PROXY))
    return Enforcement(Status.UNSUPPORTED, tuple(doubts)) if doubts else Enforcement(Status.ENFORCED)


def _whole(status: Status, reason: Reason) -> Enforcement:
    return Enforcement(status, (Found("", _ELEMENTS.get(reason, ""), reason),))


_ELEMENTS = {
    Reason.STATUS: "status",
    Reason.SCOPE: "scope",
    Reason.AMBIGUOUS_SCOPE: "scope",
    Reason.LAPSED: "performer",
    Reason.IMPLICIT_RULES: "implicitRules",
    Reason.MODIFIER_EXTENSION: "modifierExtension",
    Reason.CONTRADICTION: "policyRule",
    Reason.BOTH_DIRECTIVES: "policyRule",
    Reason.POLICY_RULE: "policyRule",
    Reason.DEPTH: "provision",
    Reason.NESTED: "provision",
    Reason.WRONG_TYPE: "provision",
    Reason.EMPTY: "provision",
}


def _ended(consent: Consent, at: datetime) -> bool:
    """Whether the root provision, without which nothing below it holds, is no more in force."""
    period = consent.root.period if consent.root else None
    return period is not None and period.end is not None and period.end <= at
