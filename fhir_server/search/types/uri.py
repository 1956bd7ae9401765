"""Uri parameters (FHIR R4 Search, "uri"): exact, character by character; :above and :below by the path of a URL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import InvalidSearchValue
from fhir_server.search.ast import Clause, Filed, Text
from fhir_server.search.modifiers import MODIFIERS, refused
from fhir_server.search.types.span import Here
from fhir_server.search.values import presence, terms, unescaped


@dataclass(frozen=True, slots=True)
class Uri:
    """A uri as asked for. modifier: "" the very uri, "below" it or what is under it, "above" it or what it is under."""

    text: str
    modifier: str = ""


def layered(parameter: SearchParameter) -> bool:
    """Return whether the index answers :above and :below: not of _profile and _source, which every resource may carry."""
    return parameter.base != "Resource"


def filed_flat(type: str, value: Any, here: Here) -> Iterator[str]:
    """Yield the forms of a uri; a canonical is filed with and without its version."""
    if isinstance(value, str):
        yield f"|{value}"
        if type == "canonical" and "|" in value:
            yield f"|{value.partition('|')[0]}"


def filed_under(type: str, value: Any, here: Here) -> Iterator[str]:
    """Yield the forms of a uri and of its place among the paths of URLs."""
    yield from filed_flat(type, value, here)
    if isinstance(value, str):
        over = list(ancestors(value))
        yield f":path|{over[0]}"
        yield from (f":below|{each}" for each in over)


def ancestors(url: str) -> Iterator[str]:
    """Yield a URL without final slash, and every URL that its path is under. A URN has none but itself.

    >>> list(ancestors("http://a.org/b/c"))
    ['http://a.org/b/c', 'http://a.org/b', 'http://a.org']
    """
    scheme, slashes, rest = url.rstrip("/").partition("://")
    yield scheme + slashes + rest
    while slashes and "/" in rest:
        rest = rest.rpartition("/")[0].rstrip("/")
        if rest:
            yield scheme + slashes + rest


def clause(parameter: SearchParameter, modifier: str, text: str, here: Here) -> Clause:
    """Return the clause of one value."""
    code = parameter.code
    if modifier and modifier not in MODIFIERS["uri"]:
        raise refused(parameter)
    uri = Uri(unescaped(text), modifier)
    if not uri.text.rstrip("/"):
        raise InvalidSearchValue(f"The value of {code} is no uri.")
    if modifier and not layered(parameter):
        return Text(code, (presence(code),), uri)
    return Filed(code, terms(code, looked_up(uri)), (uri,))


def looked_up(asked: Uri) -> list[str]:
    """Return the forms of which every matching value is filed under one."""
    match asked.modifier:
        case "below":
            return [f":below|{next(ancestors(asked.text))}"]
        case "above":
            return [f":path|{each}" for each in ancestors(asked.text)]
    return [f"|{asked.text}"]
