"""Sections of Compositions that speak of what a requester may not see.

A section that refers to a resource of this server which is hidden, or absent, which must look the same, leaves with
all that is in it: its title and the sections nested in it may say as much as its text. What it was nested in keeps its
title and entries, and loses its text. Source: FHIR R4 Composition.section; consent-scenarios.md, D6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from fhir_server.redaction.marks import Json, labelled
from fhir_server.search.types.reference import led_to
from fhir_server.search.types.span import Here

TYPE = "Composition"
# The elements of a section that refer to what it speaks of.
REFERRING = ("entry", "focus", "author")
# What makes a section one (R4 cmp-1).
_CONTENT = ("text", "entry", "section")


def referred(composition: Json, here: Here) -> set[str]:
    """Return what all sections refer to of this server: "Type/id", without versions."""
    return {each for section in _sections(composition) for each in _references(section, here)}


def without(composition: Json, hidden: Collection[str], here: Here) -> Json:
    """Return a Composition without the sections that refer to what is hidden; the same object if none does."""
    before = composition.get("section", ())
    after = _kept(before, hidden, here)
    if after is before:
        return composition
    rest = {key: value for key, value in composition.items() if key != "section"}
    return labelled({**rest, "section": after} if after else rest)


def _sections(value: Json) -> Iterator[Json]:
    for section in value.get("section", ()):
        yield section
        yield from _sections(section)


def _references(section: Json, here: Here) -> Iterator[str]:
    for name in REFERRING:
        found: Any = section.get(name, ())
        for each in [found] if isinstance(found, dict) else found:
            yield from led_to("Reference", each, here)


def _kept(sections: Sequence[Json], hidden: Collection[str], here: Here) -> Sequence[Json]:
    """Return the sections that stay; the same object if they stay as they are."""
    kept = [left for each in sections if (left := _left(each, hidden, here))]
    same = len(kept) == len(sections) and all(new is old for new, old in zip(kept, sections, strict=True))
    return sections if same else kept


def _left(section: Json, hidden: Collection[str], here: Here) -> Json | None:
    """Return what stays of a section; None if nothing does that would make one."""
    if any(each in hidden for each in _references(section, here)):
        return None
    before = section.get("section", ())
    after = _kept(before, hidden, here)
    if after is before:
        return section
    left = {key: value for key, value in section.items() if key not in ("section", "text")}
    left |= {"section": after} if after else {}
    return left if any(name in left for name in _CONTENT) else None
