"""From StructureDefinitions to the elements that a summary keeps (summary.json)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]


def summary(structures: Mapping[str, Json], resources: list[str]) -> dict[str, str]:
    """Return {path: names} for every type and backbone element that has any, marked as definitions/summary.py says.

    resources: the concrete resource types, those not served as well.
    """
    complex_types = sorted(n for n, s in structures.items() if s["kind"] == "complex-type" and s["type"] == n)
    table: dict[str, list[str]] = {}
    for name in (*complex_types, *resources):
        if name not in structures:
            continue
        for element in structures[name]["snapshot"]["element"][1:]:
            parent, _, last = element["path"].rpartition(".")
            if marks := _marks(element):
                table.setdefault(parent, []).append(last.removesuffix("[x]") + marks)
    return {path: " ".join(names) for path, names in table.items()}


def _marks(element: Json) -> str:
    required = bool(element["min"])
    return "+" * bool(element.get("isSummary")) + "!" * required + "?" * bool(element.get("isModifier"))
