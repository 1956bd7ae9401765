"""RFC 6902 and RFC 6901 beyond their published cases; FHIR's decimals; what a patch may not do."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.errors import InvalidRequest, Problem, Unprocessable
from fhir_server.fhir_json import dump, parse
from fhir_server.patching import json_patch
from fhir_server.patching.json_patch import patched

DOCUMENT: dict[str, Any] = {"a": {"b": [1, 2]}, "c": "text", "": 0, "m~n": 1, "x/y": 2, "true": True}

# (what, operation, the member that is looked at afterwards)
GOOD: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("add replaces a member", {"op": "add", "path": "/c", "value": 1}, {"c": 1}),
    ("add at the end of an array by its length", {"op": "add", "path": "/a/b/2", "value": 3}, {"a": {"b": [1, 2, 3]}}),
    ("the empty name", {"op": "replace", "path": "/", "value": 1}, {"": 1}),
    ("escapes", {"op": "test", "path": "/m~0n", "value": 1}, {}),
    ("an escaped slash", {"op": "test", "path": "/x~1y", "value": 2.0}, {}),
    ("copy is no alias", {"op": "copy", "from": "/a", "path": "/d"}, {"d": {"b": [1, 2]}}),
    ("move onto itself", {"op": "move", "from": "/a", "path": "/a"}, {}),
    ("null is a value", {"op": "add", "path": "/n", "value": None}, {"n": None}),
    ("test of an object in another order", {"op": "test", "path": "/a", "value": {"b": [1, 2]}}, {}),
]
BAD: list[tuple[str, Any, type[Problem]]] = [
    ("no object", 1, InvalidRequest),
    ("no op", {"path": "/c"}, InvalidRequest),
    ("an unknown op", {"op": "merge", "path": "/c"}, InvalidRequest),
    ("an op that is no text", {"op": ["add"], "path": "/c"}, InvalidRequest),
    ("no path", {"op": "remove"}, InvalidRequest),
    ("a path without slash", {"op": "remove", "path": "c"}, InvalidRequest),
    ("an escape that is none", {"op": "remove", "path": "/~2"}, InvalidRequest),
    ("no value", {"op": "add", "path": "/c"}, InvalidRequest),
    ("no from", {"op": "move", "path": "/c"}, InvalidRequest),
    ("remove of nothing", {"op": "remove", "path": "/none"}, Unprocessable),
    ("replace of nothing", {"op": "replace", "path": "/none", "value": 1}, Unprocessable),
    ("an index behind the end", {"op": "add", "path": "/a/b/3", "value": 1}, Unprocessable),
    ("a negative index", {"op": "remove", "path": "/a/b/-1"}, Unprocessable),
    ("an index with a leading zero", {"op": "remove", "path": "/a/b/01"}, Unprocessable),
    ("an index of other digits", {"op": "remove", "path": "/a/b/١"}, Unprocessable),
    ("removing behind the end", {"op": "remove", "path": "/a/b/-"}, Unprocessable),
    ("below a text", {"op": "add", "path": "/c/x", "value": 1}, Unprocessable),
    ("move into itself", {"op": "move", "from": "/a", "path": "/a/b/0"}, Unprocessable),
    ("true is not 1", {"op": "test", "path": "/true", "value": 1}, Unprocessable),
    ("1 is not true", {"op": "test", "path": "/a/b/0", "value": True}, Unprocessable),
    ("an array is no object", {"op": "test", "path": "/a/b", "value": {"0": 1, "1": 2}}, Unprocessable),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "expected"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_what_rfc_6902_allows(operation: dict[str, Any], expected: dict[str, Any]) -> None:
    assert patched(DOCUMENT, [operation]) == {**DOCUMENT, **expected}


@pytest.mark.parametrize(("operation", "kind"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_rfc_6902_refuses(operation: Any, kind: type[Problem]) -> None:
    fine = {"op": "add", "path": "/secret", "value": "secret"}
    with pytest.raises(kind, match="Operation 2 of the patch") as caught:
        patched(DOCUMENT, [fine, operation])
    assert "secret" not in str(caught.value)
    assert "secret" not in DOCUMENT


def test_decimals_keep_their_digits_and_are_compared_by_value() -> None:
    document = parse(b'{"value":1.50,"other":2.500}')
    operations = parse(
        b'[{"op":"test","path":"/value","value":1.5},{"op":"copy","from":"/other","path":"/more"},'
        b'{"op":"replace","path":"/other","value":3.10}]'
    )
    assert dump(patched(document, operations)) == b'{"value":1.50,"other":3.10,"more":2.500}'


def test_a_patch_cannot_fill_the_memory() -> None:
    double = {"op": "copy", "from": "/a", "path": "/a/-"}
    with pytest.raises(Unprocessable, match="grows too"):
        patched({"a": [0] * 50}, [double] * 200)
    wide = [{"op": "copy", "from": "/a/0", "path": "/a/-"}, {"op": "copy", "from": "/a", "path": "/b"}]
    wide += [{"op": "copy", "from": "/b", "path": f"/b{n}"} for n in range(200)]
    with pytest.raises(Unprocessable, match="grows too"):
        patched({"a": [{"x": list(range(2000))}]}, wide)


def test_a_patch_has_only_so_many_operations() -> None:
    operation = {"op": "test", "path": "/c", "value": "text"}
    assert patched(DOCUMENT, [operation] * json_patch.MOST_OPERATIONS) == DOCUMENT
    with pytest.raises(InvalidRequest):
        patched(DOCUMENT, [operation] * (json_patch.MOST_OPERATIONS + 1))
