"""Which security labels a resource gets from what it holds, and how they stand in its meta. Pure: no store, no clock.

Labels are added, never taken away: what an author states stays, except a lower confidentiality, since R4 lets a resource
have one confidentiality only and the high-water mark of what it holds is the one that counts. What was added and does not
follow from the content any more stays as well, until somebody takes it out: what once came from elsewhere as a computed
label need not follow from the codes that are known here.

Source: FHIR R4 Security Labels, "Core Security Labels"; HL7 Healthcare Privacy and Security Classification System,
"high water mark"; HL7 v3 ActCode, sensitivities; consent.md T30, T31.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from consent_engine.vocabulary import (
    ACT_CODE,
    CONFIDENTIALITY,
    CONFIDENTIALITY_ORDER,
    LabelKind,
    canonical_label,
    known_sensitivity,
    label_kind,
)
from fhir_server.store.mentioned import within
from terminology.deciding import Decided

Json = dict[str, Any]

# The least confidentiality of what carries a sensitivity.
RESTRICTED = "R"
RESOURCE_TYPE = "http://hl7.org/fhir/resource-types"
CACHED_CODINGS = 100_000
CACHED_LENGTH = 256  # characters; longer codings are not kept, so that nobody fills the memory with long ones
_RANK = {code: rank for rank, code in enumerate(CONFIDENTIALITY_ORDER)}
_DISPLAYS = {"R": "restricted", "V": "very restricted"}


class Label(NamedTuple):
    """A security label: the code of a sensitivity or a confidentiality."""

    system: str
    code: str
    display: str | None = None

    @property
    def canonical(self) -> str | None:
        """The form under which it is compared (consent_engine.vocabulary); None if it does not restrict access."""
        return canonical_label(self.system or None, self.code)

    def coding(self) -> Json:
        """Return the Coding. R4 Coding.userSelected: false says that nobody chose this code; it was computed."""
        named = {"system": self.system, "code": self.code, "display": self.display, "userSelected": False}
        return {key: value for key, value in named.items() if value not in (None, "")}


class Rule(NamedTuple):
    """What is coded by a member of the value set carries the labels."""

    members: Decided
    labels: tuple[Label, ...]


class Labeller:
    """Labels resources of some types.

    of: the types whose codes say something of a person. same: code systems by what they are read as.
    """

    def __init__(
        self, rules: Sequence[Rule] = (), *, of: frozenset[str] = frozenset(), same: Mapping[str, str] | None = None
    ) -> None:
        self._rules = tuple(rules)
        self._of = of
        self._same = dict(same or {})
        self._systems = frozenset(system for each in rules for system in each.members.systems)
        self._named = {label[:2]: label for each in rules for label in each.labels}
        self._order = {key: place for place, key in enumerate(self._named)}
        self._cached = lru_cache(CACHED_CODINGS)(self._labels)

    def found(self, resource: Mapping[str, Any], codings: Iterable[str]) -> list[Label]:
        """Return the labels that follow from what a resource holds, in a fixed order, a confidentiality last.

        codings: what it is coded with (store/mentioned.py).
        """
        type = resource["resourceType"]
        if type not in self._of:
            return []
        cached, labels = self._cached, self._labels
        found = set(cached(f"{RESOURCE_TYPE}|{type}"))
        for coding in codings:
            found.update(cached(coding) if len(coding) <= CACHED_LENGTH else labels(coding))
        found.update(map(self._known, _stated_within(resource)))
        sensitivities = sorted((each for each in found if each.system != CONFIDENTIALITY), key=self._place)
        levels = [RESTRICTED] * bool(sensitivities) + [each.code for each in found if each.system == CONFIDENTIALITY]
        return [*sensitivities, *map(_confidentiality, sorted(levels, key=_RANK.__getitem__)[-1:])]

    def labelled(self, resource: Mapping[str, Any], codings: Iterable[str]) -> Mapping[str, Any]:
        """Return the resource with its labels in meta.security; itself if it has them all.

        Labelled again it stays the same, whatever order a client has put them into.
        """
        found = self.found(resource, codings)
        if not found:
            return resource
        meta = resource.get("meta", {})
        stated = meta.get("security", [])
        security = _merged(stated, found)
        return resource if security == stated else {**resource, "meta": {**meta, "security": security}}

    def canonical(self, resource: Mapping[str, Any], codings: Iterable[str]) -> set[str]:
        """Return all labels in the form in which they are compared: stated, in it or within it, and found."""
        named = (each.canonical for each in (*_stated(resource), *_nested(resource), *self.found(resource, codings)))
        return {each for each in named if each}

    def _labels(self, coding: str) -> tuple[Label, ...]:
        """Return the labels that one coding, system|code, stands for. A label's own code stands for itself."""
        system, _, code = coding.partition("|")
        if sensitivity := known_sensitivity(system, code):
            return (self._known(Label(ACT_CODE, sensitivity)),)
        if system == CONFIDENTIALITY and code in _DISPLAYS:
            return (_confidentiality(code),)
        system = system.replace("https://", "http://", 1).rstrip("/")
        system = plain(system)
        system = self._same.get(system, system)
        if system not in self._systems:
            return ()
        asked = (system, code.strip())
        labels = (label for rule in self._rules if asked in rule.members for label in rule.labels)
        return tuple({label: None for label in map(self._known, labels)})

    def _known(self, label: Label) -> Label:
        """Return the one form of a label, so that each is found once."""
        return self._named.get(label[:2], label)

    def _place(self, label: Label) -> tuple[int, str, str]:
        return self._order.get(label[:2], len(self._order)), label.system, label.code


def plain(uri: str) -> str:
    """Return the URI of a code system in the form in which it is compared: some write https, or a slash behind it.

    >>> plain("https://loinc.org/")
    'http://loinc.org'
    """
    return uri.replace("https://", "http://", 1).rstrip("/")


def _merged(stated: Sequence[Json], found: Sequence[Label]) -> list[Json]:
    """Return what is stated without a lower confidentiality, and behind it what is found and not stated."""
    ours = [each.coding() for each in found]
    theirs = [each for each in stated if each not in ours]
    level = next((each.code for each in found if each.system == CONFIDENTIALITY), None)
    levels = [each["code"] for each in theirs if _is_confidentiality(each)]
    raised = level is not None and all(_RANK[each] < _RANK[level] for each in levels)
    if raised:
        theirs = [each for each in theirs if not _is_confidentiality(each)]
    known = {(each.get("system"), each.get("code")) for each in theirs}
    added = [
        coding
        for label, coding in zip(found, ours, strict=True)
        if (raised if label.system == CONFIDENTIALITY else label[:2] not in known)
    ]
    return [*theirs, *added]


def _stated(resource: Mapping[str, Any]) -> Iterator[Label]:
    """Yield the labels that a resource itself states."""
    for each in resource.get("meta", {}).get("security", ()):
        if each.get("code"):
            yield Label(each.get("system") or "", each["code"], each.get("display"))


def _nested(resource: Mapping[str, Any]) -> Iterator[Label]:
    """Yield the labels that the resources within a resource state."""
    for each in within(resource):
        yield from _stated(each)


def _stated_within(resource: Mapping[str, Any]) -> Iterator[Label]:
    """Yield what is stated elsewhere than in meta.security and is no Coding of ActCode: local labels, a document's level.

    A confidentiality that is not above what is usual is left out: what is within may be less confidential than the rest.
    """
    for each in _nested(resource):
        if label_kind(each.system, each.code) is LabelKind.SENSITIVITY:
            yield Label(ACT_CODE, known) if (known := known_sensitivity(each.system, each.code)) else each
    for part in (resource, *within(resource)):
        if part["resourceType"] == "Composition" and part.get("confidentiality") in _DISPLAYS:
            yield _confidentiality(part["confidentiality"])


def _confidentiality(code: str) -> Label:
    return Label(CONFIDENTIALITY, code, _DISPLAYS[code])


def _is_confidentiality(coding: Mapping[str, Any]) -> bool:
    return coding.get("system") == CONFIDENTIALITY and coding.get("code") in _RANK
