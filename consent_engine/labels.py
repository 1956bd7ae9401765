"""What the security labels named in a provision ask of a record (rule D9)."""

from consent_engine.predicate import AnyOf, Attribute, OnlyOf, Predicate, all_of, any_of, either, negate
from consent_engine.vocabulary import (
    CONFIDENTIALITY_ORDER,
    Effect,
    LabelKind,
    canonical_label,
    known_sensitivity,
    label_kind,
    sensitivities_under,
)

# What counts for a record that carries no confidentiality.
UNLABELLED, UNLABELLED_FOR_DELEGATES = "N", "R"

_RANKS = {code: rank for rank, code in enumerate(CONFIDENTIALITY_ORDER)}
_ALL_CONFIDENTIALITIES = frozenset(f"C:{code}" for code in CONFIDENTIALITY_ORDER)


def label_condition(named: frozenset[tuple[str, str]], effect: Effect, *, delegate: bool) -> Predicate:
    """Return what a provision that names these labels asks of a record's canonical labels.

    named: (system, code) of confidentialities and sensitivities.
    delegate: whether the requester acts for another: what is not labelled is then taken for restricted.
    """
    ranks = [_RANKS[code] for system, code in named if label_kind(system, code) is LabelKind.CONFIDENTIALITY]
    sensitive = frozenset(label for system, code in named for label in _sensitive(system, code))
    unlabelled = _RANKS[UNLABELLED_FOR_DELEGATES if delegate else UNLABELLED]
    if effect is Effect.PERMIT:
        return _permitted(ranks, sensitive, unlabelled)
    return _denied(ranks, sensitive, unlabelled)


def _permitted(ranks: list[int], sensitive: frozenset[str], unlabelled: int) -> Predicate:
    """Up to the highest confidentiality named, and every sensitivity of the record must be named."""
    if not ranks:
        return all_of(AnyOf(Attribute.LABEL, sensitive), OnlyOf(Attribute.LABEL, sensitive | _ALL_CONFIDENTIALITIES))
    upto = frozenset(f"C:{code}" for code in CONFIDENTIALITY_ORDER[: max(ranks) + 1])
    within = OnlyOf(Attribute.LABEL, sensitive | upto)
    return within if unlabelled <= max(ranks) else all_of(within, AnyOf(Attribute.LABEL, upto))


def _denied(ranks: list[int], sensitive: frozenset[str], unlabelled: int) -> Predicate:
    """From the lowest confidentiality named upwards, and any sensitivity named."""
    if not ranks:
        return any_of(Attribute.LABEL, sensitive)
    upwards = frozenset(f"C:{code}" for code in CONFIDENTIALITY_ORDER[min(ranks) :])
    named = AnyOf(Attribute.LABEL, sensitive | upwards)
    return named if unlabelled < min(ranks) else either(named, negate(AnyOf(Attribute.LABEL, _ALL_CONFIDENTIALITIES)))


def _sensitive(system: str, code: str) -> frozenset[str]:
    """The canonical sensitivities that a named label stands for; one that is not known stands for itself."""
    if label_kind(system, code) is not LabelKind.SENSITIVITY:
        return frozenset()
    known = known_sensitivity(system, code)
    if known:
        return frozenset(f"S:{each}" for each in sensitivities_under(known))
    return frozenset(filter(None, [canonical_label(system, code)]))
