"""Building predicates in a small normal form, so that equal rules mostly become equal values.

Negation stands only before single conditions; nested conjunctions and disjunctions are flat; conditions on one
attribute are joined where that is exact; what one part of a conjunction says is not asked again in the others.
A predicate of n conditions is built in about n steps: patients write Consents as long and as deep as they like.
"""

from collections.abc import Hashable, Iterable
from typing import NamedTuple, TypeAlias

from consent_engine.condition import (
    EVERYTHING,
    NO_VALUES,
    NOTHING,
    WHOLES,
    AllOf,
    AnyOf,
    Attribute,
    Constant,
    During,
    Either,
    Not,
    OnlyOf,
    PerPerson,
    Predicate,
    Values,
)

Parts: TypeAlias = frozenset[Predicate]

# Taking what is known out of the parts can settle more, and so on. People's Consents take two rounds; whoever writes
# one that takes more gets a longer predicate of the same meaning.
ROUNDS = 4


class _Form(NamedTuple):
    """How parts are joined: by conjunction or by disjunction. neutral: changes nothing; absorbing: settles all."""

    kind: type[AllOf] | type[Either]
    neutral: Constant
    absorbing: Constant


_ALL = _Form(AllOf, EVERYTHING, NOTHING)
_EITHER = _Form(Either, NOTHING, EVERYTHING)


class _Settled:
    """What the parts of a whole say of each other: what changes nothing beside them, and what settles the whole."""

    __slots__ = ("absorbing", "either_way", "form", "neutral")

    def __init__(self, form: _Form, parts: Parts, opposite: Parts) -> None:
        self.form = form
        self.neutral = parts
        self.absorbing = opposite
        self.either_way = parts | opposite


def all_of(*parts: Predicate) -> Predicate:
    """Return the conjunction; of no parts: EVERYTHING.

    >>> all_of(EVERYTHING, AnyOf(Attribute.TYPE, frozenset({"Patient"})))
    AnyOf(attribute=<Attribute.TYPE: 'type'>, values=frozenset({'Patient'}))
    """
    return _joined(_ALL, parts)


def either(*parts: Predicate) -> Predicate:
    """Return the disjunction; of no parts: NOTHING.

    >>> either(NOTHING, EVERYTHING)
    Constant(value=True)
    """
    return _joined(_EITHER, parts)


def negate(part: Predicate) -> Predicate:
    """Return the negation, carried inwards to the single conditions.

    >>> negate(negate(NOTHING))
    Constant(value=False)
    """
    if isinstance(part, WHOLES):
        return part.negation or part.negated(negate)
    match part:
        case Constant(value):
            return NOTHING if value else EVERYTHING
        case Not(inner):
            return inner
    return Not(part)


def any_of(attribute: Attribute, values: Iterable[object]) -> Predicate:
    """Return AnyOf; NOTHING if there are no values."""
    found = frozenset(values)
    return AnyOf(attribute, found) if found else NOTHING


def during(start: int | None, end: int | None, *, wholly: bool) -> Predicate:
    """Return During; EVERYTHING if both sides are unbounded."""
    return EVERYTHING if start is None and end is None else During(start, end, wholly)


def per_person(groups: Iterable[tuple[Values, Predicate]], otherwise: Predicate, nobody: Predicate) -> Predicate:
    """Return PerPerson with groups of the same predicate joined, and those that `otherwise` covers left out.

    Raises ValueError if a person stands in two groups.
    """
    joined: dict[Predicate, Values] = {}
    seen: set[object] = set()
    for persons, predicate in groups:
        if not seen.isdisjoint(persons):
            raise ValueError("a person stands in two groups")
        seen |= persons
        if persons and predicate != otherwise:
            joined[predicate] = joined.get(predicate, NO_VALUES) | persons
    if not joined and otherwise == nobody:
        return otherwise
    return PerPerson(tuple((persons, predicate) for predicate, persons in joined.items()), otherwise, nobody)


def _joined(form: _Form, parts: Iterable[Predicate]) -> Predicate:
    parts = [part for part in parts if part is not form.neutral]
    if len(parts) == 1:
        return parts[0]
    found = _flat(parts, form)
    for _ in range(ROUNDS):
        if len(found) < 2 or form.absorbing in found:
            break
        opposite = frozenset(map(negate, found))
        if not opposite.isdisjoint(found):
            return form.absorbing
        if not any(isinstance(part, WHOLES) for part in found):
            break
        settled = _Settled(form, found, opposite)
        simpler = [_inside(part, settled) for part in found]
        before, found = found, _flat(simpler, form)
        if all(isinstance(part, WHOLES) for part in found - before):
            break  # nothing is known now that was not before
    return _of(found, form)


def _of(found: Parts, form: _Form) -> Predicate:
    if form.absorbing in found:
        return form.absorbing
    return form.kind(found) if len(found) > 1 else next(iter(found), form.neutral)


def _flat(parts: Iterable[Predicate], form: _Form) -> Parts:
    """The parts without what changes nothing, those of the same kind dissolved, conditions on one attribute joined."""
    flat: set[Predicate] = set()
    for part in parts:
        if isinstance(part, form.kind):
            flat |= part.parts
        else:
            flat.add(part)
    flat.discard(form.neutral)
    return _narrowed(flat, form) if len(flat) > 1 else frozenset(flat)


def _narrowed(parts: Iterable[Predicate], form: _Form) -> Parts:
    """The parts with one condition for each attribute where two say the same as one.

    Only of V and only of W: only of V ∩ W. None of V and none of W: none of V ∪ W. In a disjunction the reverse.
    """
    only: dict[Attribute, set[Hashable]] = {}
    some: dict[Attribute, set[Hashable]] = {}
    rest: set[Predicate] = set()
    turned = form is _EITHER
    for part in parts:
        negated = isinstance(part, Not)
        match part.part if isinstance(part, Not) else part:
            case OnlyOf(attribute, values) if negated is turned:
                only.setdefault(attribute, set(values)).intersection_update(values)
            case AnyOf(attribute, values) if negated is not turned:
                some.setdefault(attribute, set()).update(values)
            case AnyOf(_, values) if not values:
                rest.add(form.absorbing)
            case _:
                rest.add(part)
    rest.update(_signed(OnlyOf(attribute, frozenset(values)), turned) for attribute, values in only.items())
    rest.update(
        _signed(AnyOf(attribute, frozenset(values)), not turned) for attribute, values in some.items() if values
    )
    return frozenset(rest)


def _signed(condition: OnlyOf | AnyOf, negated: bool) -> Predicate:
    return Not(condition) if negated else condition


def _inside(part: Predicate, settled: _Settled) -> Predicate:
    """The part with what is settled taken out of its own parts; the very same if there is nothing to take out.

    It may itself be among the settled, and all parts of a conjunction may be treated so at once: each contains only
    smaller ones, so going up from the single conditions, each stands on what is already settled.
    """
    if not isinstance(part, WHOLES):
        return part
    if settled.either_way.isdisjoint(part.parts):
        simpler = tuple([_inside(each, settled) for each in part.nested])
        if simpler == part.nested:
            return part
        left = [*(part.parts - frozenset(part.nested)), *simpler]
    else:
        left = [_given(each, settled) for each in part.parts]
    form = _ALL if isinstance(part, AllOf) else _EITHER
    return _of(_flat(left, form), form)


def _given(part: Predicate, settled: _Settled) -> Predicate:
    """What is left to ask of a part where it is settled what others say."""
    if part in settled.neutral:
        return settled.form.neutral
    return settled.form.absorbing if part in settled.absorbing else _inside(part, settled)
