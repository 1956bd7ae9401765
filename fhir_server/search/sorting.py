"""The values by which _sort orders resources, read from the resources themselves (FHIR R4 Search, "Sorting").

A resource with several texts stands at its lowest when the order is ascending, at its highest when it is descending; with
several dates, numbers or quantities at its lowest in both, which is what the store keeps of them.
Texts are compared without case and accents; Chinese ones as they are read, by pinyin, characters read alike by the
characters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import Any

from fhir_server.definitions.registry import Registry
from fhir_server.search.asked import SortKey
from fhir_server.search.expressions.compiled import Extractor, compile_expression
from fhir_server.search.types.composite import RANGED
from fhir_server.search.types.pinyin import syllables
from fhir_server.search.types.reference import Local, Url, target
from fhir_server.search.types.span import Here
from fhir_server.search.types.string import folded, strings_of
from fhir_server.search.types.token import coded_values, displayed

Resource = dict[str, Any]
Value = float | str | None

# As much of a text as tells two apart.
LONGEST = 100


class SortValues:
    """Reads the sort values of resources. zone, base_url: as for the Projector."""

    def __init__(self, registry: Registry, *, zone: tzinfo, base_url: str | None = None) -> None:
        self._registry = registry
        self._here = Here(zone, base_url)
        self._extractors: dict[tuple[str, str], Extractor] = {}

    def __call__(self, key: SortKey, resource: Resource) -> Value:
        """Return the value of a key; None if the resource has none."""
        parameter = self._registry.parameters(resource["resourceType"])[key.param]
        found = self._extractor(resource["resourceType"], key.param)(resource)
        if parameter.type in RANGED:
            spans = (span for type, value in found for span in RANGED[parameter.type](type, value, self._here))
            return _lowest(parameter.type, (span.lo for span in spans))
        best = max if key.descending else min
        texts = (text for type, value in found for text in _texts(parameter.type, type, value, self._here))
        return best(map(collated, texts), default=None)

    def _extractor(self, type: str, param: str) -> Extractor:
        key = (type, param)
        if key not in self._extractors:
            expression = self._registry.parameters(type)[param].expression
            self._extractors[key] = compile_expression(self._registry, type, expression)
        return self._extractors[key]


def _lowest(kind: str, lows: Iterable[float | None]) -> float | None:
    """Return the value that the store keeps of a range (search/project.py), so that both ways give one order."""
    found = [-math.inf if low is None and kind == "date" else low for low in lows]
    return min((low for low in found if low is not None), default=None)


def _texts(kind: str, type: str, value: Any, here: Here) -> Iterator[str]:
    """Yield the texts that one value of a parameter is ordered by. kind: the parameter's type."""
    match kind:
        case "token":
            codes = [coded.code for coded in coded_values(type, value) if coded.code]
            yield from codes or displayed(type, value)
        case "reference":
            match target(type, value, here):
                case Local(of, id):
                    yield f"{of}/{id}"
                case Url(text):
                    yield text
        case _ if type == "HumanName" and not value.get("text"):
            parts = [value.get("family"), *value.get("given", ())]
            yield " ".join(part for part in parts if isinstance(part, str))
        case _ if type == "HumanName":
            yield value["text"]
        case _:
            yield from strings_of(type, value)


def collated(text: str) -> str:
    """Return the text by which a text is ordered among others.

    >>> sorted(["张三", "李四", "Zhao", "Émile", "阿明"], key=collated)
    ['阿明', 'Émile', '李四', '张三', 'Zhao']
    """
    plain = folded(text)
    read = " ".join(ways[0] for ways in syllables(text))
    return f"{read} {plain}"[:LONGEST] if read else plain[:LONGEST]
