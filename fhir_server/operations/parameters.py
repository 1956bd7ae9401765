"""Reading the parameters of an operation: from the query or a form, and from a Parameters resource; pure.

Source: FHIR R4 Operations, "Executing an Operation Synchronously".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import tzinfo
from typing import Any

from fhir_server.errors import InvalidRequest, InvalidSearchValue, UnsupportedParameter
from fhir_server.fhir_json import decimal_text
from fhir_server.interactions.cursor import Pairs
from fhir_server.operations.definition import Invocation, Operation, Parameter
from fhir_server.search.types.date import covered

# About the form of the answer, for the HTTP layer.
UNSEEN = frozenset({"_format", "_pretty"})
COMPLEX = frozenset({"Meta", "Period"})
_LONGEST_NUMBER = 9


def read(operation: Operation, asked: Invocation, pairs: Pairs, body: Any, *, zone: tzinfo) -> Invocation:
    """Return the invocation with its parameters read.

    body: the JSON of a Parameters resource, or None. zone: of times without an offset. Raises InvalidRequest,
    InvalidSearchValue or UnsupportedParameter.
    """
    known = {each.name: each for each in operation.parameters}
    if any(name in known and known[name].secret for name, _ in pairs):
        raise InvalidRequest("A secret goes into a Parameters resource, not into a URL or a form.")
    given: dict[str, list[Any]] = {}
    told: list[tuple[str, str]] = []
    for name, value in (*((name, text) for name, text in pairs if name not in UNSEEN), *_stated(body)):
        if name not in known and not operation.searches:
            raise UnsupportedParameter(f"${operation.code} does not take the parameter {name}.")
        if isinstance(value, str):
            told.append((name, value))
        elif name not in known or known[name].type not in COMPLEX:
            raise InvalidSearchValue(f"The value of {name} is not of its type.")
        if name in known:
            given.setdefault(name, []).append(_value(known[name], value, zone))
    for parameter in operation.parameters:
        _check_number(parameter, len(given.get(parameter.name, ())))
    return replace(
        asked,
        given={name: tuple(values) for name, values in given.items()},
        searched=tuple((name, text) for name, text in told if name not in known),
        pairs=tuple(told),
    )


def _stated(body: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and value of each part of a Parameters resource: a text for what is primitive."""
    if body is None:
        return
    if not isinstance(body, dict) or body.get("resourceType") != "Parameters":
        raise InvalidRequest("The body of an operation is a Parameters resource.")
    parts = body.get("parameter", [])
    if not isinstance(parts, list):
        raise InvalidRequest("Parameters.parameter is a list.", expression="Parameters.parameter")
    for number, part in enumerate(parts):
        where = f"Parameters.parameter[{number}]"
        if not isinstance(part, dict) or not isinstance(part.get("name"), str):
            raise InvalidRequest("A parameter has a name.", expression=where)
        values = [value for key, value in part.items() if key.startswith("value")]
        if len(values) != 1:
            raise InvalidRequest("A parameter of this operation has one value.", expression=where)
        yield part["name"], _text(values[0])


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return decimal_text(value) if isinstance(value, int | float) else value


def _check_number(parameter: Parameter, number: int) -> None:
    if number < parameter.min:
        raise InvalidRequest(f"The parameter {parameter.name} is required.")
    if parameter.max is not None and number > parameter.max:
        raise InvalidRequest(f"The parameter {parameter.name} is given more than {parameter.max} times.")


def _value(parameter: Parameter, value: Any, zone: tzinfo) -> Any:
    if parameter.type in COMPLEX:
        if not isinstance(value, dict):
            raise InvalidSearchValue(f"The parameter {parameter.name} is a {parameter.type}: send it by POST.")
        return value
    found = _time(value, zone) if parameter.type in ("date", "instant") else READERS[parameter.type](value)
    if found is None:
        raise InvalidSearchValue(f"The value of {parameter.name} is not of the type {parameter.type}.")
    return found


def _time(text: str, zone: tzinfo) -> tuple[int, int] | None:
    """Return the time that a date covers. A "+" that was not encoded arrives as a space."""
    return covered(text.replace(" ", "+"), zone)


def _positive(text: str) -> int | None:
    whole = text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER
    return int(text) or None if whole else None


def _filled(text: str) -> str | None:
    return text or None


READERS: Mapping[str, Callable[[str], Any]] = {
    "boolean": {"true": True, "false": False}.get,
    "positiveInt": _positive,
    "code": _filled,
    "string": _filled,
    "uri": _filled,
}
