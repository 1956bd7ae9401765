"""The parts of a Parameters resource by which decisions are told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from consent_engine.decision import Ground
from consent_engine.explanation import Statement
from consent_engine.words import told

Json = dict[str, Any]


def value(name: str, type: str, said: Any) -> Json:
    """Return a parameter with a value. type: as it ends the name of the element, "String"."""
    return {"name": name, f"value{type}": said}


def part(name: str, *parts: Json) -> Json:
    """Return a parameter with parts."""
    return {"name": name, "part": list(parts)}


def reference(name: str, place: str) -> Json:
    """Return a parameter that refers to something. place: "Type/id", perhaps with a version."""
    return value(name, "Reference", {"reference": place})


def statement_parts(statements: Iterable[Statement]) -> Iterator[Json]:
    """Yield what each Consent said."""
    for each in statements:
        words = told(each)
        yield part(
            "statement",
            reference("consent", f"Consent/{each.consent}/_history/{each.version}"),
            value("verdict", "Code", each.verdict.value),
            value("decides", "Boolean", each.decides),
            *(value("provision", "String", path) for path in each.paths if path),
            *([value("reason", "String", str(each.reason))] if each.reason else []),
            value("text", "String", words.zh),
            value("text-en", "String", words.en),
        )


def ground_parts(grounds: Iterable[Ground]) -> Iterator[Json]:
    """Yield the provisions that decided."""
    for each in sorted(grounds, key=lambda each: (each.consent, each.version, each.path)):
        yield part(
            "ground",
            reference("consent", f"Consent/{each.consent}/_history/{each.version}"),
            value("provision", "String", each.path or "Consent"),
        )
