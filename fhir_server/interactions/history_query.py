"""The parameters of a history (FHIR R4 RESTful API, "history"), read; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

from fhir_server.definitions.registry import ANY_TYPE
from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.shaping import SHAPING, shape_asked
from fhir_server.search.subset import Shape
from fhir_server.search.types.date import covered
from fhir_server.store.history import Window

# About the form of the answer, for the HTTP layer.
UNSEEN = frozenset({"_format", "_pretty"})
TAKEN = ("_since", "_at", "_count", *SHAPING)
# As many digits as any page size could have.
_LONGEST_COUNT = 9


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """What is asked for.

    count: the page size. shape: what is kept of each resource (None: all). used: the parameters in effect, for the
    links.
    """

    window: Window
    count: int | None
    shape: Shape | None
    used: Pairs


def history_query(pairs: Pairs, *, zone: tzinfo, lenient: bool) -> HistoryQuery:
    """Return what the parameters ask for.

    zone: of times without an offset. lenient: leave out what is not known. Raises InvalidSearchValue,
    UnsupportedParameter.
    """
    said: dict[str, str] = {}
    for name, text in pairs:
        if name in UNSEEN:
            continue
        if name not in TAKEN:
            if lenient:
                continue
            raise UnsupportedParameter(f"A history does not take the parameter {name}.")
        if name in said:
            raise InvalidSearchValue(f"{name} is given more than once.")
        said[name] = text
    since = _time("_since", said["_since"], zone)[0] if "_since" in said else None
    during = _time("_at", said["_at"], zone) if "_at" in said else None
    used = tuple(said.items())
    return HistoryQuery(Window(since, during), _count(said.get("_count")), shape_asked([ANY_TYPE], used), used)


def _time(name: str, text: str, zone: tzinfo) -> tuple[int, int]:
    """Return the time that a value covers. A "+" that was not encoded arrives as a space."""
    found = covered(text.replace(" ", "+"), zone)
    if found is None:
        raise InvalidSearchValue(f"The value of {name} is not a date: YYYY, YYYY-MM, YYYY-MM-DD or with time.")
    return found


def _count(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_COUNT and int(text)):
        raise InvalidSearchValue("_count is not a whole number greater than zero.")
    return int(text)
