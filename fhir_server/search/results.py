"""Parameters that shape the result of a search, not what it finds (FHIR R4 Search, "Managing Returned Resources")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fhir_server.definitions.registry import ANY_TYPE, Registry
from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.asked import Include, SortKey
from fhir_server.search.subset import shape_of
from fhir_server.search.support import unsupported

# About the form of the answer, for the HTTP layer.
UNSEEN = frozenset({"_format", "_pretty"})
ONCE = frozenset({"_sort", "_count", "_total", "_summary", "_elements", "_contained", "_containedType"})
INCLUDES = frozenset({"_include", "_revinclude"})
ITERATES = frozenset({":iterate", ":recurse"})  # recurse: its name before R4
TOTALS = frozenset({"none", "estimate", "accurate"})
CONTAINED = frozenset({"false", "true", "both"})
# Their values are filed by the store in an order.
STORED = frozenset({"date", "number", "quantity"})
UNORDERED = frozenset({"composite", "special"})
MOST_KEYS = 8
# As many digits as any page size could have.
_LONGEST_COUNT = 9


def about_results(name: str) -> bool:
    """Return whether a parameter shapes the result."""
    bare = name.partition(":")[0]
    return bare in ONCE or bare in INCLUDES


def shaped(registry: Registry, types: Sequence[str], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return what the result parameters ask for, as fields of Asked.

    types: those that are searched ("Resource": any). Raises InvalidSearchValue, UnsupportedParameter.
    """
    given: dict[str, str] = {}
    found: dict[str, Any] = {}
    for name, text in pairs:
        bare, colon, modifier = name.partition(":")
        if bare in INCLUDES and (not colon or f":{modifier}" in ITERATES):
            include = _include(registry, types, text, reverse=bare == "_revinclude", iterate=bool(colon))
            found["includes"] = tuple(dict.fromkeys((*found.get("includes", ()), include)))
            continue
        if colon:
            raise UnsupportedParameter(f"The modifier of {bare} is not supported.")
        if bare in given:
            raise InvalidSearchValue(f"{bare} is given more than once.")
        given[bare] = text
        found |= _read(registry, types, bare, text)
    if shape := shape_of(types, given.get("_summary"), given.get("_elements")):
        found["shape"] = shape
    if given.get("_summary") == "text" and "includes" in found:
        raise InvalidSearchValue("_include and _revinclude cannot be used together with _summary=text.")
    return found


def _read(registry: Registry, types: Sequence[str], name: str, text: str) -> dict[str, Any]:
    match name:
        case "_sort":
            return {"sort": _sort_keys(registry, types, text)}
        case "_count":
            count = _count(text)
            return {"count": count} if count else {"count": count, "summary": "count"}
        case "_total":
            return {"total": _one_of(TOTALS, name, text)}
        case "_summary":
            return {"summary": "count"} if text == "count" else {}
        case "_contained":
            return {"contained": found} if (found := _one_of(CONTAINED, name, text)) != "false" else {}
        case "_containedType":
            return {"containers": _one_of(("container", "contained"), name, text) == "container"}
    return {}


def _one_of(values: Iterable[str], name: str, text: str) -> str:
    if text not in values:
        raise InvalidSearchValue(f"{name} is one of {', '.join(sorted(values))}.")
    return text


def _sort_keys(registry: Registry, types: Sequence[str], text: str) -> tuple[SortKey, ...]:
    """Return the keys of _sort, up to the first that leaves no two resources alike."""
    codes = text.split(",")
    bare = [code.removeprefix("-") for code in codes]
    if len(codes) > MOST_KEYS or len(set(bare)) < len(bare):
        raise InvalidSearchValue(f"_sort takes at most {MOST_KEYS} keys, each of them once.")
    found = []
    for code in codes:
        found.append(_sort_key(registry, types, code))
        if found[-1].param == "_id":
            break
    return tuple(found)


def _sort_key(registry: Registry, types: Sequence[str], text: str) -> SortKey:
    code = text.removeprefix("-")
    parameters = [registry.parameters(type).get(code) for type in types]
    kinds = [each.type for each in parameters if each and unsupported(each) is None and each.type not in UNORDERED]
    if len(kinds) < len(types):
        raise UnsupportedParameter(
            "_sort takes search parameters of the type searched, but none that are composite or special."
        )
    stored = {code == "_id" or kind in STORED for kind in kinds}
    if len(stored) > 1:
        raise UnsupportedParameter(
            "_sort takes no parameter that means times or numbers in one type and texts in another."
        )
    return SortKey(code, text.startswith("-"), stored.pop())


def _count(text: str) -> int:
    """Return the page size. Zero is a number of its own: R4 has it mean the same as _summary=count."""
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_COUNT):
        raise InvalidSearchValue("_count is not a whole number.")
    return int(text)


def _include(registry: Registry, types: Sequence[str], text: str, *, reverse: bool, iterate: bool) -> Include:
    name = "_revinclude" if reverse else "_include"
    if text == "*":
        return Include(None, None, None, reverse, iterate)
    source, *rest = text.split(":")
    if len(rest) not in (1, 2) or not all(rest):
        raise InvalidSearchValue(f"{name} is Type:parameter, Type:parameter:TargetType, Type:* or *.")
    if source not in registry.types:
        raise InvalidSearchValue(f"{name} names a type that is not served here.")
    if not reverse and not iterate and source not in types and ANY_TYPE not in types:
        raise InvalidSearchValue(
            "_include has to begin with the type that is searched; "
            "_include:iterate follows the references of what was included, too."
        )
    target = rest[1] if len(rest) == 2 else None
    if rest[0] == "*":
        if target is not None and target not in registry.types:
            raise InvalidSearchValue(f"{name} names a target type that is not served here.")
        return Include(source, None, target, reverse, iterate)
    parameter = registry.parameters(source).get(rest[0])
    if parameter is None or parameter.type != "reference" or unsupported(parameter):
        raise InvalidSearchValue(f"{name} names no reference parameter of its type.")
    if target is not None and target not in parameter.targets:
        raise InvalidSearchValue(f"{name} names a type that {parameter.code} does not refer to.")
    return Include(source, parameter.code, target, reverse, iterate)
