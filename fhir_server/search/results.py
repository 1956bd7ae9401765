"""Parameters that shape the result of a search, not what it finds (FHIR R4 Search, "Managing Returned Resources")."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fhir_server.definitions.registry import Registry
from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.asked import Asked, Include, SortKey

# About the form of the answer, for the HTTP layer.
UNSEEN = frozenset({"_format", "_pretty"})
ONCE = frozenset({"_sort", "_count", "_total", "_summary"})
TOTALS = frozenset({"none", "estimate", "accurate"})
# Refused even in lenient handling: a client that asks for more resources must not take the answer for complete.
REFUSED = frozenset({"_revinclude"})
# As many digits as any page size could have.
_LONGEST_COUNT = 9


def about_results(name: str) -> bool:
    """Return whether a parameter shapes the result."""
    bare = name.partition(":")[0]
    return bare in ONCE or bare in REFUSED or bare == "_include"


def shaped(registry: Registry, asked: Asked, pairs: Iterable[tuple[str, str]]) -> Asked:
    """Return what is asked with the result parameters read. Raises InvalidSearchValue, UnsupportedParameter."""
    seen: set[str] = set()
    for name, text in pairs:
        bare, colon, _ = name.partition(":")
        if bare in REFUSED:
            raise UnsupportedParameter(f"{bare} is not supported.")
        if colon:
            raise UnsupportedParameter(f"The modifier of {bare} is not supported.")
        if bare in seen and bare in ONCE:
            raise InvalidSearchValue(f"{bare} is given more than once.")
        seen.add(bare)
        asked = _shaped(registry, asked, name, text)
    return asked


def _shaped(registry: Registry, asked: Asked, name: str, text: str) -> Asked:
    match name:
        case "_sort":
            return replace(asked, sort=(_sort_key(registry, asked.type, text),))
        case "_count":
            count = _count(text)
            return replace(asked, count=count, summary=asked.summary if count else "count")
        case "_total":
            if text not in TOTALS:
                raise InvalidSearchValue("_total is none, estimate or accurate.")
            return replace(asked, total=text)
        case "_summary":
            if text not in ("count", "false"):
                raise UnsupportedParameter("Of _summary, only count and false are supported.")
            return replace(asked, summary="count" if text == "count" else asked.summary)
    return replace(asked, includes=(*asked.includes, _include(registry, asked.type, text)))


def _sort_key(registry: Registry, type: str, text: str) -> SortKey:
    if "," in text:
        raise UnsupportedParameter("_sort takes one key only.")
    code = text.removeprefix("-")
    parameter = registry.parameters(type).get(code)
    if parameter is None or (parameter.type != "date" and code != "_id"):
        raise UnsupportedParameter("_sort takes _lastUpdated, _id or a date parameter of the type searched.")
    return SortKey(code, text.startswith("-"))


def _count(text: str) -> int:
    """Return the page size. Zero is a number of its own: R4 has it mean the same as _summary=count."""
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_COUNT):
        raise InvalidSearchValue("_count is not a whole number.")
    return int(text)


def _include(registry: Registry, type: str, text: str) -> Include:
    source, *rest = text.split(":")
    if text == "*" or rest[:1] == ["*"]:
        raise UnsupportedParameter("_include of everything (*) is not supported: name the parameter.")
    if len(rest) not in (1, 2):
        raise InvalidSearchValue("_include is Type:parameter or Type:parameter:TargetType.")
    if source != type:
        raise InvalidSearchValue(f"_include has to begin with the type that is searched, {type}.")
    parameter = registry.parameters(type).get(rest[0])
    if parameter is None or parameter.type != "reference":
        raise InvalidSearchValue(f"_include names no reference parameter of {type}.")
    target = rest[1] if len(rest) == 2 else None
    if target is not None and target not in parameter.targets:
        raise InvalidSearchValue(f"_include names a type that {parameter.code} does not refer to.")
    return Include(type, parameter.code, target)
