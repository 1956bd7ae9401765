"""Reading the operations of a FHIRPath Patch from its Parameters resource.

Source: FHIR R4 "FHIRPath Patch", table of parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.errors import InvalidRequest
from fhir_server.patching.problems import unreadable

MOST_OPERATIONS = 1_000
# Paths are read and followed by recursion.
LONGEST_PATH, MOST_BRACKETS = 500, 20
DEEPEST = 32
# Which parts each type of operation has besides type and path.
PARTS = {
    "add": {"name", "value"},
    "insert": {"value", "index"},
    "delete": set[str](),
    "replace": {"value"},
    "move": {"source", "destination"},
}
NUMBERS = ("index", "source", "destination")


@dataclass(frozen=True, slots=True)
class Value:
    """What is put in place: one value of a data type, or the parts of an element that has no data type of its own.

    type: as the parameter names it ("Quantity", "DateTime"), "Resource" for a resource, None for parts. json: the
    value. extras: a primitive's id and extensions. parts: by name, in their order.
    """

    type: str | None = None
    json: Any = None
    extras: Any = None
    parts: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; what its type does not have is empty."""

    type: str
    path: str
    name: str = ""
    value: Value = Value()
    index: int = 0
    source: int = 0
    destination: int = 0


def operations(parameters: Mapping[str, Any]) -> list[Operation]:
    """Return the operations of a patch. Raises InvalidRequest, naming the one at fault."""
    given = parameters.get("parameter", [])
    if not isinstance(given, list) or len(given) > MOST_OPERATIONS:
        raise InvalidRequest(f"The patch must be a list of at most {MOST_OPERATIONS} parameters called operation.")
    return [_operation(number, each) for number, each in enumerate(given)]


def _operation(number: int, raw: Any) -> Operation:
    if not isinstance(raw, dict) or raw.get("name") != "operation":
        raise unreadable(number, "every parameter must be called operation")
    parts = dict(_named(number, raw))
    type = _text(number, parts, "type")
    if type not in PARTS:
        raise unreadable(number, "type must be add, insert, delete, replace or move")
    needed = PARTS[type] | {"type", "path"}
    if parts.keys() != needed:
        raise unreadable(number, f"{type} has the parts {', '.join(sorted(needed))}, each once, and no others")
    path = _text(number, parts, "path")
    if len(path) > LONGEST_PATH or path.count("(") > MOST_BRACKETS:
        raise unreadable(number, "its path is too long")
    return Operation(
        type,
        path,
        name=_text(number, parts, "name") if "name" in needed else "",
        value=_value(number, parts["value"], 0) if "value" in needed else Value(),
        **{name: _number(number, parts, name) for name in NUMBERS if name in needed},
    )


def _named(number: int, raw: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the parts of a parameter with their names."""
    parts = raw.get("part", [])
    if not isinstance(parts, list) or not all(
        isinstance(each, dict) and isinstance(each.get("name"), str) for each in parts
    ):
        raise unreadable(number, "part must be a list of parameters with names")
    return [(each["name"], each) for each in parts]


def _text(number: int, parts: Mapping[str, Mapping[str, Any]], name: str) -> str:
    found = [value for key, value in parts.get(name, {}).items() if key.startswith("value")]
    if len(found) != 1 or not isinstance(found[0], str):
        raise unreadable(number, f"it needs a part {name} with a text")
    return found[0]


def _number(number: int, parts: Mapping[str, Mapping[str, Any]], name: str) -> int:
    found = parts[name].get("valueInteger")
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise unreadable(number, f"{name} must be a valueInteger that is not negative")
    return found


def _value(number: int, part: Mapping[str, Any], depth: int) -> Value:
    if depth > DEEPEST:
        raise unreadable(number, "its value is nested too deeply")
    if "part" in part:
        parts = tuple((name, _value(number, each, depth + 1)) for name, each in _named(number, part))
        return Value(parts=parts)
    if isinstance(part.get("resource"), dict):
        return Value("Resource", part["resource"])
    types = {key.lstrip("_").removeprefix("value") for key in part if key.lstrip("_").startswith("value")}
    if len(types) != 1:
        raise unreadable(number, "value must be one value[x], a resource, or parts")
    (type,) = types
    return Value(type, part.get(f"value{type}"), part.get(f"_value{type}"))
