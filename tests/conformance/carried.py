"""Which searches must find a resource, read from the resource itself: a plain reading of R4, apart from the server's.

The values of a parameter are what fhirpathpy finds by the parameter's own expression; each is written as the questions
that R4's search page says match it. Nothing here uses the server's extractors, index or parser.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from fhirpathpy.engine.nodes import ResourceNode

from fhir_server.definitions.registry import SearchParameter
from fhir_server.fhir_json import decimal_text
from fhir_server.fhirpath import compiled

Json: TypeAlias = dict[str, Any]
Asked: TypeAlias = tuple[str, str]  # modifier or "", value: as they stand in a query, not yet percent-encoded

# Search reads `as` as ofType(): it keeps what is of the type. R4 writes DateTime for dateTime. No resolve() is needed:
# the reference's own text says the type.
_CASTS = re.compile(r"\((\S+) as (?!uri)(\w+)\)|\.as\((\w+)\)")
_RESOLVES = re.compile(r"resolve\(\) is (\w+)")
_LONGEST = 80  # characters of a text that are asked for


class Value(NamedTuple):
    """One value: its FHIR type and its JSON."""

    type: str
    data: Any


def _rewritten(base: str, expression: str) -> str:
    expression = re.sub(r"^Resource\b", base, expression)
    expression = _CASTS.sub(
        lambda m: f"{m[1] or ''}.ofType({m[2] or m[3]})".replace("DateTime", "dateTime"), expression
    )
    return _RESOLVES.sub(r"(reference.startsWith('\1/') or reference.contains('/\1/') or type = '\1')", expression)


@cache
def _evaluator(base: str, expression: str) -> Callable[..., list[Any]]:
    return compiled(_rewritten(base, expression))


def _values(nodes: Iterable[Any]) -> Iterator[Value]:
    for node in nodes:
        data = node.data if isinstance(node, ResourceNode) else node
        type = (node.path or "") if isinstance(node, ResourceNode) else _shape(data)
        if data is not None:
            yield Value(type, data)


def _shape(data: Any) -> str:
    return "boolean" if isinstance(data, bool) else "string"


def carried(resource: Json, parameter: SearchParameter) -> Iterator[Asked]:
    """Yield the questions by one parameter that find a resource."""
    nodes = _evaluator(resource["resourceType"], parameter.expression)(resource)
    if parameter.type == "composite":
        for node in nodes:
            yield from _together(resource, parameter, node)
        return
    for value in _values(nodes):
        for modifier, text in questions(parameter.type, value):
            # Some examples refer to what R4's parameter does not count among its targets; a sound is no exact text.
            if (
                not modifier
                or modifier in parameter.targets
                or (modifier[0].islower() and parameter.code != "phonetic")
            ):
                yield modifier, text


def narrated(resource: Json) -> str | None:
    """Return a word of the narrative, apart from all markup; None if there is none of five plain letters."""
    text = re.sub(r"<!--.*?-->|<[^>]*>", " ", resource.get("text", {}).get("div", ""), flags=re.DOTALL)
    words = re.findall(r"(?<!\S)[A-Za-z]{5,20}(?!\S)", html.unescape(text))
    return words[len(words) // 2] if words else None


def _together(resource: Json, parameter: SearchParameter, node: Any) -> Iterator[Asked]:
    """Yield the first question of each part, joined: only what is in one element counts as together."""
    parts = []
    for part in parameter.components:
        found = _values(_evaluator("", part.expression)(node, resource))
        first = next((text for value in found for modifier, text in questions(part.type, value) if not modifier), None)
        if first is None:
            return
        parts.append(first)
    yield "", "$".join(parts)


def questions(type: str, value: Value) -> Iterator[Asked]:
    """Yield the questions of a parameter's type that match a value."""
    yield from dict.fromkeys(_BY_TYPE[type](value))


def escaped(text: str) -> str:
    """Return a text with the characters that R4 search gives a meaning made plain."""
    return re.sub(r"([\\,|$])", r"\\\1", text)


def _token(value: Value) -> Iterator[Asked]:
    data = value.data
    match value.type:
        case "CodeableConcept":
            for coding in data.get("coding", ()):
                yield from _coded(coding.get("system"), coding.get("code"))
            for text in (data.get("text"), *(coding.get("display") for coding in data.get("coding", ()))):
                if text and text.strip():
                    yield "text", escaped(text[:_LONGEST])
        case "Coding":
            yield from _coded(data.get("system"), data.get("code"))
        case "Identifier":
            yield from _coded(data.get("system"), data.get("value"))
            for coding in data.get("type", {}).get("coding", ()):
                if coding.get("system") and coding.get("code") and data.get("value"):
                    parts = (coding["system"], coding["code"], data["value"])
                    yield "of-type", "|".join(map(escaped, parts))
        case "ContactPoint":
            if data.get("value"):
                yield "", escaped(data["value"])
        case _:
            if not isinstance(data, dict):
                yield "", escaped(_plain(data))


def _coded(system: str | None, code: str | None) -> Iterator[Asked]:
    if code:
        yield "", f"{escaped(system or '')}|{escaped(code)}"
        yield "", escaped(code)
    if code and system:
        yield "", f"{escaped(system)}|"


def _plain(data: Any) -> str:
    if isinstance(data, bool):
        return "true" if data else "false"
    return decimal_text(data) if isinstance(data, int | float) else str(data)


def _string(value: Value) -> Iterator[Asked]:
    parts = {
        "HumanName": ("family", "given", "prefix", "suffix", "text"),
        "Address": ("line", "city", "district", "state", "postalCode", "country", "text"),
    }.get(value.type)
    if parts is None:
        texts = [value.data] if isinstance(value.data, str) else []
    else:
        found = [value.data.get(part) for part in parts]
        texts = [text for each in found for text in (each if isinstance(each, list) else [each])]
    for text in texts:
        if isinstance(text, str) and text.strip():
            yield "", escaped(text[:_LONGEST].strip())
            yield "exact", escaped(text)
            yield "contains", escaped(text[1:_LONGEST].strip() or text)


def _date(value: Value) -> Iterator[Asked]:
    match value.type:
        case "Period":
            yield from _period(value.data)
        case "Timing":
            for event in value.data.get("event", ()):
                yield "", f"ge{event}"
                yield "", f"le{event}"
            yield from _period(value.data.get("repeat", {}).get("boundsPeriod", {}))
        case "date" | "dateTime" | "instant":
            for prefix in ("", "eq", "ge", "le", "ap"):
                yield "", prefix + value.data
            yield "", f"sa{int(value.data[:4]) - 2}"
            yield "", f"eb{int(value.data[:4]) + 2}"


def _period(period: Json) -> Iterator[Asked]:
    if start := period.get("start"):
        yield "", f"ge{start}"
        yield "", f"sa{int(start[:4]) - 2}"
    if end := period.get("end"):
        yield "", f"le{end}"
        yield "", f"eb{int(end[:4]) + 2}"


def _number(value: Value) -> Iterator[Asked]:
    if isinstance(value.data, int | float):
        for prefix in ("", "eq", "ge", "le"):
            yield "", prefix + decimal_text(value.data)


def _quantity(value: Value) -> Iterator[Asked]:
    data = value.data
    if not isinstance(data, dict):
        return
    if value.type == "Range":
        yield from (("", f"ge{each}") for each in _amount(data.get("low", {})))
        yield from (("", f"le{each}") for each in _amount(data.get("high", {})))
    elif value.type == "Money" and "value" in data:
        yield "", f"{decimal_text(data['value'])}|urn:iso:std:iso:4217|{data.get('currency', '')}".rstrip("|")
    elif value.type not in ("SampledData", "Ratio"):  # R4 says nothing of how these compare
        prefix = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}.get(data.get("comparator", ""), "")
        yield from (("", prefix + each) for each in _amount(data))


def _amount(data: Json) -> Iterator[str]:
    if "value" not in data:
        return
    number = decimal_text(data["value"])
    yield number
    if code := data.get("code"):
        yield f"{number}|{escaped(data.get('system', ''))}|{escaped(code)}"
        yield f"{number}||{escaped(code)}"
    if unit := data.get("unit"):
        yield f"{number}||{escaped(unit)}"


def _reference(value: Value) -> Iterator[Asked]:
    if isinstance(value.data, str):  # canonical, uri
        yield "", escaped(value.data)
        return
    if value.type != "Reference":  # a resource that stands in a Bundle
        if "id" in value.data:
            yield "", f"{value.type}/{value.data['id']}"
        return
    text = value.data.get("reference", "")
    if text and not text.startswith("#"):
        yield "", escaped(text)
        if re.fullmatch(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}", text):
            type, id = text.split("/")
            yield type, id
    identifier = value.data.get("identifier", {})
    yield from (("identifier", each) for _, each in _coded(identifier.get("system"), identifier.get("value")))


def _uri(value: Value) -> Iterator[Asked]:
    yield "", escaped(value.data)
    yield "below", escaped(value.data)


def _special(value: Value) -> Iterator[Asked]:
    """R4's only special parameter with an expression is Location.near."""
    if "latitude" in value.data and "longitude" in value.data:
        place = "|".join(decimal_text(value.data[each]) for each in ("latitude", "longitude"))
        yield "", f"{place}|1|km"


_BY_TYPE: dict[str, Callable[[Value], Iterator[Asked]]] = {
    "token": _token, "string": _string, "date": _date, "number": _number, "quantity": _quantity,
    "reference": _reference, "uri": _uri, "special": _special,
}  # fmt: skip
