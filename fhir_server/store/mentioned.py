"""The one walk over a resource that finds what it mentions: labels and Consents both go by what it finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

NESTED = (dict, list)


class Mentioned(NamedTuple):
    """codings: system|code of every Coding. references: every literal reference but those to what is contained."""

    codings: list[str]
    references: list[str]


def mentioned(resource: Mapping[str, Any]) -> Mentioned:
    """Return what a resource mentions anywhere, in contained resources too, but not in its own meta."""
    found = Mentioned([], [])
    for key, value in resource.items():
        if key != "meta" and isinstance(value, NESTED):
            _gather(value, found.codings, found.references)
    return found


def _gather(value: Any, codings: list[str], references: list[str]) -> None:
    """Add what a value mentions. R4 says of a provision's code that it is "found in an instance"."""
    if isinstance(value, dict):
        code, system = value.get("code"), value.get("system")
        # A Quantity has a system and a code as well: those of its unit.
        if isinstance(code, str) and isinstance(system, str) and "value" not in value:
            codings.append(f"{system}|{code}")
        reference = value.get("reference")
        if isinstance(reference, str) and not reference.startswith("#"):
            references.append(reference)
        for inner in value.values():
            if isinstance(inner, NESTED):
                _gather(inner, codings, references)
    elif isinstance(value, list):
        for inner in value:
            _gather(inner, codings, references)


def held(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the resources that a Bundle holds; of any other resource, nothing."""
    for entry in resource.get("entry", ()) if resource["resourceType"] == "Bundle" else ():
        if "resource" in entry:
            yield entry["resource"]


def within(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the resources within a resource, to any depth: those it contains, and those that a Bundle holds."""
    for each in (*resource.get("contained", ()), *held(resource)):
        yield each
        yield from within(each)
