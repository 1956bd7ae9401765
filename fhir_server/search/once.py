"""What the values of one resource are filed under, worked out once for all parameters that find the same value.

Nearly every value is found by several: a code by itself, with others (combo-code) and as a part of composites.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

from fhir_server.search.types.span import Here, Span

T = TypeVar("T")
Maker: TypeAlias = Callable[[str, Any, Here], Iterator[T]]  # FHIR type name, JSON value
Forms: TypeAlias = Maker[str]
Spans: TypeAlias = Maker[Span]


class Once:
    """Applies forms and spans to the values of one resource, which has to stay as it is meanwhile."""

    __slots__ = ("_here", "_known")

    def __init__(self, here: Here) -> None:
        self._here = here
        self._known: dict[tuple[Any, str, int], tuple[list[Any], Any]] = {}

    def __call__(self, make: Maker[T], type: str, value: Any) -> list[T]:
        """Return what a value is filed under, without the parameter's code."""
        key = (make, type, id(value))
        known = self._known.get(key)
        if known is None:
            # The value is kept along with it: while it lives, no other has its id.
            known = self._known[key] = list(make(type, value, self._here)), value
        return known[0]
