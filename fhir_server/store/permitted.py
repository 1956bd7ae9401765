"""What a requester may see, as one predicate, and its MongoDB reading.

There is no way to read the store without a Permitted. The same predicate is evaluated in Python on one stored
document (`admits`; judged.py) and translated to MongoDB for many (`to_filter`); a property test holds them equal.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import cache
from typing import Any

from consent_engine.obligations import Obligation
from consent_engine.predicate import (
    EVERYTHING,
    NOTHING,
    AllOf,
    AnyOf,
    Attribute,
    During,
    Either,
    Not,
    OnlyOf,
    PerPerson,
    Predicate,
    Record,
)
from fhir_server.store.judged import CODES, Test, at_length, field, in_short, named, read, test_of, whatever

Document = Mapping[str, Any]
log = logging.getLogger(__name__)
NO_DOCUMENT: dict[str, Any] = {"_id": {"$in": []}}
PURGED = "purged"  # what the tombstone of a purged record says beside whose it was


Due = tuple[tuple[Obligation, Predicate], ...]


class Permitted:
    """A predicate over the stored documents, by resource type; every value in it is keyed as in the store.

    on: gives the predicate of a type; it is asked once for each. due: gives the obligations that bind whoever sees
    resources of a type, each with the predicate of those for which it does.
    """

    def __init__(self, on: Callable[[str], Predicate], due: Callable[[str], Due] = lambda type: ()) -> None:
        self.on = cache(on)
        self.obligations = cache(due)
        self.test: Callable[[str], Test] = cache(lambda type: test_of(self.on(type), type))
        self.purged: Callable[[str], Test] = cache(lambda type: test_of(whatever(self.on(type)), type))
        self.named: Callable[[str], int] = cache(lambda type: named(self.on(type)))
        self.reads: Callable[[str], frozenset[str]] = cache(lambda type: read(self.on(type)))
        self.at_length: Callable[[str], frozenset[Hashable]] = cache(lambda type: frozenset(at_length(self.on(type))))
        self._filters: dict[tuple[str, bool], dict[str, Any]] = {}

    @classmethod
    def everything(cls, why: str) -> Permitted:
        """Return the permission of internal work; the reason is logged."""
        log.info("unrestricted read: %s", why)
        return cls(lambda type: EVERYTHING)

    def admits(self, type: str, document: Document) -> bool:
        """Return whether one stored document may be seen; of what was purged, whether it may whatever it said."""
        return (self.purged if PURGED in document else self.test)(type)(document)

    def filter(self, type: str, *, upwards: bool = True) -> dict[str, Any]:
        """Return the MongoDB filter of the documents of a type that may be seen.

        Of persons of whom very much is said (`at_length`) it finds all documents, so that what is found has to be judged
        (`admits`); if not upwards, it finds none of these.
        """
        if (type, upwards) not in self._filters:
            predicate = self.on(type)
            short = in_short(predicate, upwards=upwards) if self.at_length(type) else predicate
            self._filters[type, upwards] = to_filter(short, type)
        return self._filters[type, upwards]


class _Attributes(Mapping[Attribute, frozenset[Hashable]]):
    """A stored document's attributes, each made when it is first looked at."""

    def __init__(self, type: str, document: Document) -> None:
        self._type = type
        self._document = document
        self._made: dict[Attribute, frozenset[Hashable]] = {}

    def __iter__(self) -> Iterator[Attribute]:
        return iter(Attribute)

    def __len__(self) -> int:
        return len(Attribute)

    def __getitem__(self, attribute: Attribute) -> frozenset[Hashable]:
        made = self._made.get(attribute)
        if made is None:
            made = self._made[attribute] = self._of(attribute)
        return made

    def _of(self, attribute: Attribute) -> frozenset[Hashable]:
        document = self._document
        match attribute:
            case Attribute.TYPE:
                return frozenset({self._type})
            case Attribute.ID:
                return frozenset({f"{self._type}/{document['_id']}"})
            case Attribute.CUSTODIAN:
                return frozenset({document["org"]})
            case Attribute.LABEL:
                return frozenset(document.get("lab", ()))
            case Attribute.CODE:
                return frozenset(document.get(CODES, ()))
            case _:  # filed together with the codes, each kind under its own name
                return self[Attribute.CODE]


def persons_of(document: Document) -> frozenset[Hashable]:
    """Return the person keys in whose compartments a stored document is."""
    if "pats" in document:
        return frozenset(document["pats"])
    return frozenset() if document.get("pat") is None else frozenset({document["pat"]})


def record_of(type: str, document: Document) -> Record:
    """Return a stored document as the consent engine looks at it."""
    time = document["w"]
    return Record(_Attributes(type, document), persons_of(document), time["lo"], time["hi"])


def to_filter(predicate: Predicate, type: str) -> dict[str, Any]:
    """Return the MongoDB filter for the documents of a type's collection on which the predicate holds."""
    if predicate == EVERYTHING:
        return {}
    if predicate == NOTHING:
        return NO_DOCUMENT
    match predicate:
        case AllOf(parts):
            return {"$and": [to_filter(part, type) for part in parts]}
        case Either(parts):
            return {"$or": [to_filter(part, type) for part in parts]}
        case Not(part):
            return {"$nor": [to_filter(part, type)]}
        case AnyOf(attribute, values):
            return _any_of(attribute, values, type)
        case OnlyOf(attribute, values):
            return {field(attribute): {"$not": {"$elemMatch": {"$nin": list(values)}}}}
        case During(start, end, wholly):
            return _during(-math.inf if start is None else start, math.inf if end is None else end, wholly=wholly)
        case PerPerson(groups, otherwise, nobody):
            return _per_person(groups, otherwise, nobody, type)
    raise TypeError(f"no MongoDB reading of {predicate!r}")


def _any_of(attribute: Attribute, values: frozenset[Hashable], type: str) -> dict[str, Any]:
    if attribute is Attribute.TYPE:
        return {} if type in values else NO_DOCUMENT
    if attribute is Attribute.ID:
        prefix = f"{type}/"
        return {"_id": {"$in": [str(value)[len(prefix) :] for value in values if str(value).startswith(prefix)]}}
    return {field(attribute): {"$in": list(values)}}


def _during(start: float, end: float, *, wholly: bool) -> dict[str, Any]:
    if wholly:
        return {"w.lo": {"$gte": start}, "w.hi": {"$lte": end}}
    return {"w.lo": {"$lte": end}, "w.hi": {"$gte": start}}


def _per_person(
    groups: tuple[tuple[frozenset[Hashable], Predicate], ...], otherwise: Predicate, nobody: Predicate, type: str
) -> dict[str, Any]:
    """For every person of a document the group's predicate must hold; most documents are of one person."""
    known = [person for persons, _ in groups for person in persons]
    rest = to_filter(otherwise, type)
    single = [
        *(
            {"pat": {"$in": list(persons)}, **_nest(to_filter(part, type))}
            for persons, part in groups
            if part != NOTHING
        ),
        *([] if otherwise == NOTHING else [{"pat": {"$ne": None, "$nin": known}, **_nest(rest)}]),
        *([] if nobody == NOTHING else [{"pat": None, **_nest(to_filter(nobody, type))}]),
    ]
    # Of several persons: none of them stands in a group whose predicate fails, and those in no group pass the rest.
    objections = [
        {"pats": {"$in": list(persons)}, "$nor": [to_filter(part, type)]}
        for persons, part in groups
        if part != EVERYTHING
    ]
    strangers = {"pats": {"$elemMatch": {"$nin": known}}, "$nor": [rest]} if otherwise != EVERYTHING else None
    several: dict[str, Any] = {"pats": {"$exists": True}}
    if against := [*objections, *([strangers] if strangers else [])]:
        several["$nor"] = against
    alone = [{"pats": {"$exists": False}, "$or": single}] if single else []
    return {"$or": [*alone, several]}


def _nest(filter: dict[str, Any]) -> dict[str, Any]:
    return {"$and": [filter]} if filter else {}
