"""The value sets and code systems that R4 itself defines, read from the table beside this file (make.py writes it)."""

from __future__ import annotations

import gzip
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import orjson

from terminology.expansion import ValueSet, read_value_set
from terminology.hierarchy import CodeSystem, read_code_system

TABLE = Path(__file__).with_name("r4.json.gz")


class Standard:
    """R4's own terminology. Each resource is read when it is first asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._value_sets: dict[str, ValueSet] = {}
        self._code_systems: dict[str, CodeSystem] = {}

    @cached_property
    def _table(self) -> dict[str, dict[str, dict[str, Any]]]:
        found: dict[str, dict[str, dict[str, Any]]] = orjson.loads(gzip.decompress(self._path.read_bytes()))
        return found

    def value_set(self, canonical: str) -> ValueSet | None:
        """Return a value set by its canonical, None if R4 has none of that URL and version."""
        if canonical not in self._value_sets and (found := self._found("ValueSet", canonical)):
            self._value_sets[canonical] = read_value_set(found)
        return self._value_sets.get(canonical)

    def code_system(self, canonical: str) -> CodeSystem | None:
        """Return a code system by its canonical, None if R4 has none of that URL and version."""
        if canonical not in self._code_systems and (found := self._found("CodeSystem", canonical)):
            self._code_systems[canonical] = read_code_system({**found, "url": canonical.partition("|")[0]})
        return self._code_systems.get(canonical)

    def _found(self, type: str, canonical: str) -> dict[str, Any] | None:
        table = self._table[type]
        if canonical in table:  # some tables of v2 have a "|" in their own URL
            return table[canonical]
        url, _, version = canonical.partition("|")
        found = table.get(url)
        return found if found and found.get("version") == version else None


@cache
def standard() -> Standard:
    """Return R4's own terminology."""
    return Standard(TABLE)
