"""Why a record may be seen or not: what every Consent said of it, also those that did not decide.

Nothing is in it that the Consents themselves do not say.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from consent_engine.decision import Verdict, combine, evaluate
from consent_engine.predicate import Record
from consent_engine.reasons import Reason
from consent_engine.rules import Compiled
from consent_engine.vocabulary import Mode


@dataclass(frozen=True, slots=True)
class Statement:
    """What one Consent said.

    paths: the provisions that say so, as FHIRPath; "" = the Consent as a whole.
    decides: whether the decision on the record is this one's (or also this one's).
    reason: why it was ignored, or is unusable.
    """

    consent: str
    version: str
    verdict: Verdict
    paths: tuple[str, ...] = ()
    decides: bool = False
    reason: Reason | None = None


def explain(compiled: Iterable[Compiled], record: Record, mode: Mode = Mode.DENY_OVERRIDES) -> tuple[Statement, ...]:
    """Return what each Consent of one person says of the record, those that decide first."""
    heard = [(each, evaluate(each, record)) for each in compiled]
    grounds = combine((said for _, said in heard), mode).grounds
    statements = [
        Statement(
            each.consent,
            each.version,
            said.verdict,
            tuple(sorted(ground.path for ground in said.grounds)),
            decides=not said.grounds.isdisjoint(grounds),
            reason=each.ignored or each.flaw,
        )
        for each, said in heard
    ]
    return tuple(sorted(statements, key=lambda each: (not each.decides, each.consent, each.version)))
