"""JSON Patch on the JSON of a resource.

Source: RFC 6902 (JSON Patch), RFC 6901 (JSON Pointer). Why no library does it: ADR 0013.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

from fhir_server.patching.problems import impossible, unreadable

MOST_OPERATIONS = 1_000
# A copy can double the document, so that few of them could fill the memory.
MOST_VALUES = 100_000
DEEPEST = 200
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_ESCAPE = re.compile(r"~(?![01])")
# Which members an operation needs besides op and path.
_NEEDS = {"add": "value", "replace": "value", "test": "value", "move": "from", "copy": "from", "remove": None}


class _Impossible(Exception):
    """The operation does not fit the document; carries why."""


def patched(document: Any, operations: Sequence[Any]) -> Any:
    """Return a copy of a JSON document with the operations carried out, one after the other.

    Raises InvalidRequest if an operation cannot be read, Unprocessable if one cannot be carried out.
    """
    if len(operations) > MOST_OPERATIONS:
        raise unreadable(MOST_OPERATIONS, f"a patch has at most {MOST_OPERATIONS} operations")
    read = [_read(number, each) for number, each in enumerate(operations)]
    found, copied = deepcopy(document), 0
    for number, operation in enumerate(read):
        try:
            if operation["op"] == "copy":
                copied += _extent(_at(found, operation["from"])).values
            if copied > MOST_VALUES:
                raise _Impossible("the document grows too large")
            found = _carried_out(found, operation)
        except _Impossible as why:
            raise impossible(number, f"{operation['op']}: {why}") from None
    return found


def _read(number: int, raw: Any) -> dict[str, Any]:
    """Return an operation with its pointers split into tokens; members that it does not define are ignored."""
    op = raw.get("op") if isinstance(raw, Mapping) else None
    if not isinstance(op, str) or op not in _NEEDS:
        raise unreadable(number, "op must be add, remove, replace, move, copy or test")
    needed = _NEEDS[op]
    if needed and needed not in raw:
        raise unreadable(number, f"{op} needs {needed}")
    read: dict[str, Any] = {"op": op, "path": _tokens(number, "path", raw.get("path"))}
    if needed == "from":
        read["from"] = _tokens(number, "from", raw["from"])
    elif needed:
        read["value"] = raw["value"]
    return read


def _tokens(number: int, name: str, pointer: Any) -> tuple[str, ...]:
    """Return the reference tokens of a JSON Pointer, unescaped: ~1 first, so that ~01 is ~1."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")) or _ESCAPE.search(pointer):
        raise unreadable(number, f"{name} must be a JSON Pointer, such as /name/0/family")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def _carried_out(document: Any, operation: Mapping[str, Any]) -> Any:
    path = operation["path"]
    match operation["op"]:
        case "add":
            return _with(document, path, deepcopy(operation["value"]))
        case "remove":
            return _without(document, path)
        case "replace":
            return _instead(document, path, deepcopy(operation["value"]))
        case "move":
            if path[: len(operation["from"])] == operation["from"] and path != operation["from"]:
                raise _Impossible("nothing can be moved into itself")
            moved = _at(document, operation["from"])
            return _with(_without(document, operation["from"]), path, moved)
        case "copy":
            return _with(document, path, deepcopy(_at(document, operation["from"])))
        case _:
            if not same(_at(document, path), operation["value"]):
                raise _Impossible("the value is another one")
            return document


def _at(document: Any, path: Sequence[str]) -> Any:
    """Return the value that a pointer leads to. Raises _Impossible if there is none."""
    for token in path:
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list):
            document = document[_index(token, len(document) - 1)]
        else:
            raise _Impossible("the path leads nowhere")
    return document


def _with(document: Any, path: Sequence[str], value: Any) -> Any:
    """Return the document with a value added: a new or replaced member, or a new item of an array."""
    if not path:
        return value
    if len(path) + _extent(value).depth > DEEPEST:
        raise _Impossible("the document grows too deep")
    parent, last = _at(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent)), value)
    else:
        raise _Impossible("the path leads nowhere")
    return document


def _instead(document: Any, path: Sequence[str], value: Any) -> Any:
    """Return the document with another value in the place of one that is there."""
    _at(document, path)
    if not path:
        return value
    if len(path) + _extent(value).depth > DEEPEST:
        raise _Impossible("the document grows too deep")
    parent, last = _at(document, path[:-1]), path[-1]
    parent[last if isinstance(parent, dict) else int(last)] = value
    return document


def _without(document: Any, path: Sequence[str]) -> Any:
    """Return the document without the value that a pointer leads to."""
    _at(document, path)
    if not path:
        return None
    parent, last = _at(document, path[:-1]), path[-1]
    del parent[last if isinstance(parent, dict) else int(last)]
    return document


def _index(token: str, most: int) -> int:
    if not _INDEX.fullmatch(token) or int(token) > most:
        raise _Impossible("the path leads to no item of the array")
    return int(token)


class _Extent(NamedTuple):
    """How many values a JSON value is made of, itself included, and how many levels deep."""

    values: int
    depth: int


def _extent(value: Any) -> _Extent:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [_extent(each) for each in inner]
    return _Extent(1 + sum(each.values for each in found), 1 + max((each.depth for each in found), default=0))


def same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal: of one type, numbers by their value (RFC 6902, 4.6).

    >>> same(1, 1.0), same(1, True), same({"a": [1]}, {"a": [True]})
    (True, False, False)
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
