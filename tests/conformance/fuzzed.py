"""Requests as a careless or hostile client makes them: half right, so that they get beyond the first check.

Every choice is drawn from a Random, so a seed is a request; Hypothesis hands in a Random of its own, and shrinks.
What is drawn from stands in odd.py.
"""

from __future__ import annotations

import base64
import copy
import json
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from fhir_server.definitions.registry import SearchParameter, registry
from fhir_server.interactions.capabilities import supported
from fhir_server.search.modifiers import taken_by
from fhir_server.xml.write import to_xml
from tests.conformance.odd import (
    COMMON,
    DATES,
    FORM,
    GOOD_DATES,
    HEADERS,
    JSON,
    JSON_PATCH,
    MARK,
    NUMBERS,
    ODD_MODIFIERS,
    ODD_TEXTS,
    ODD_VALUES,
    OPERATIONS,
    PREFIXES,
    RESULTS,
    USERS,
    XML,
)
from tests.shared import examples

R4 = registry()
TYPES = sorted(R4.types)


@dataclass
class Sent:
    """One HTTP request. target: path and query, percent-encoded; user: one of USERS."""

    method: str
    target: str
    user: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def request(draw: Random) -> Sent:
    """Return a request that is drawn."""
    make = draw.choices((_search, _form, _instance, _write, _patch, _bundle, _operation, _strange), WEIGHTS)[0]
    made = make(draw)
    made.user = draw.choices([*USERS], [*USERS.values()])[0]
    for name, values in HEADERS:
        if draw.random() < 0.02:
            made.headers[name] = draw.choice(values)
    return made


WEIGHTS = (45, 6, 12, 16, 6, 5, 5, 5)


def _type(draw: Random) -> str:
    return (
        draw.choice(COMMON if draw.random() < 0.7 else TYPES) if draw.random() < 0.98 else draw.choice(("X", "patient"))
    )


def _id(draw: Random) -> str:
    return draw.choice(
        ("1", "2", "3", "example", "f001", "none", "a" * 64, "a" * 65, quote(draw.choice(ODD_TEXTS), ""))
    )


def _encoded(draw: Random, pairs: list[tuple[str, str]]) -> str:
    text = urlencode(pairs)
    return text if draw.random() < 0.97 else text + draw.choice(("%ff%fe", "%", "%zz", "&&&", "=", "&=a", "a=b" * 200))


def _pairs(draw: Random, type: str) -> list[tuple[str, str]]:
    pairs = []
    known = list(supported(R4, type).values()) or list(supported(R4, "Patient").values())
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        parameter = draw.choice(known)
        taken = taken_by(parameter) if draw.random() < 0.8 else ODD_MODIFIERS
        modifier = f":{draw.choice(taken)}" if draw.random() < 0.3 else ""
        pairs.append((parameter.code + modifier, _value(draw, parameter.type, parameter)))
    while draw.random() < 0.25:
        name, values = draw.choice(RESULTS)
        pairs.append((name, draw.choice(values)))
    return pairs


def _value(draw: Random, type: str, parameter: SearchParameter | None = None) -> str:
    """Return a value of a parameter of a type: well-formed or nearly."""
    if draw.random() < 0.1:
        return draw.choice(ODD_TEXTS)
    match type:
        case "date":
            text = draw.choice(PREFIXES) + draw.choice(GOOD_DATES if draw.random() < 0.7 else DATES)
        case "number":
            text = draw.choice(PREFIXES) + draw.choice(NUMBERS)
        case "quantity":
            unit = draw.choice(("", "|http://unitsofmeasure.org|mg", "||mg", "|x", f"||{MARK}", "|||"))
            text = draw.choice(PREFIXES) + draw.choice(NUMBERS) + unit
        case "reference":
            text = draw.choice(
                ("Patient/1", "1", "http://x/fhir/Patient/1", "Patient/", f"{MARK}/1", "Patient/1/_history/1")
            )
        case "composite" if parameter:
            text = "$".join(_value(draw, part.type) for part in parameter.components)
        case _:
            text = draw.choice((f"http://loinc.org|{MARK}", "a", "final", f"{MARK} a", "http://x|", "true", "MR|a|b"))
    return f"{text},{_value(draw, type, parameter)}" if draw.random() < 0.1 else text


def _search(draw: Random) -> Sent:
    type = _type(draw)
    path = draw.choices(
        (type, f"Patient/{_id(draw)}/{type}", f"Patient/{_id(draw)}/*", "", f"{type}/_history", "_history"),
        (80, 6, 2, 4, 4, 4),
    )[0]
    method = draw.choices(("GET", "HEAD"), (95, 5))[0]
    return Sent(method, f"/fhir/{path}?{_encoded(draw, _pairs(draw, type))}".replace("/?", "?"), "")


def _form(draw: Random) -> Sent:
    type = _type(draw)
    content_type = FORM if draw.random() < 0.9 else draw.choice((JSON, "text/plain", ""))
    body = _encoded(draw, _pairs(draw, type)).encode()
    return Sent("POST", f"/fhir/{type}/_search", "", {"Content-Type": content_type}, body)


def _instance(draw: Random) -> Sent:
    end = draw.choice(
        ("", "", "/_history", "/_history/1", "/_history/x", "/_history/999999999999999999999", "/_history/-1")
    )
    return Sent(draw.choice(("GET", "GET", "HEAD", "DELETE")), f"/fhir/{_type(draw)}/{_id(draw)}{end}", "")


@cache
def originals() -> tuple[str, ...]:
    """Return short examples of the types asked for most, and some that are deep, as JSON texts."""
    types = ({*COMMON} - {"ValueSet"}) | {"Bundle", "Questionnaire", "MedicationRequest"}
    found = [json.dumps(each) for type in sorted(types) for each in examples(type)]
    return tuple(each for each in found if len(each) < 4000)


def resource(draw: Random) -> dict[str, Any]:
    """Return an example with some of its elements changed."""
    made: dict[str, Any] = json.loads(draw.choice(originals()))
    for _ in range(draw.choice((0, 0, 1, 1, 2, 4))):
        _mutate(draw, made)
    return made


def odd(draw: Random) -> Any:
    """Return a value that stands nowhere in an example; a copy, since it may be changed further."""
    return copy.deepcopy(draw.choice(ODD_VALUES))


def _mutate(draw: Random, node: Any) -> None:
    while isinstance(node, dict | list) and node:
        key = draw.choice(list(node)) if isinstance(node, dict) else draw.randrange(len(node))
        if not isinstance(node[key], dict | list) or draw.random() < 0.3:
            break
        node = node[key]
    if not isinstance(node, dict | list) or not node:
        return
    match draw.randrange(5):
        case 0:
            node[key] = odd(draw)
        case 1:
            del node[key]
        case 2:
            node[key] = [node[key]]
        case 3 if isinstance(node, dict):
            node[draw.choice(("nosuch", "_id", "extension", "contained", "resourceType", "id"))] = draw.choice(
                ODD_VALUES
            )
        case _:
            node[key] = f"{MARK} {draw.choice(ODD_TEXTS)}"


def _written(draw: Random, value: Any) -> tuple[str, bytes]:
    """Return a media type and bytes of it, now and then not what they say."""
    if draw.random() < 0.25 and isinstance(value, dict):
        try:
            content_type, body = XML, to_xml(value)
        except Exception:  # what is no resource has no XML
            content_type, body = XML, b'<Patient xmlns="http://hl7.org/fhir"><id value="1"/></Patient>'
    else:
        content_type, body = JSON, json.dumps(value, ensure_ascii=draw.random() < 0.5).encode(errors="surrogatepass")
    return content_type, _spoiled(draw, body) if draw.random() < 0.25 else body


def _spoiled(draw: Random, body: bytes) -> bytes:
    at = draw.randrange(len(body) + 1)
    return draw.choice((
        body[:at], body[at:], body[:at] + b"\x00" + body[at:], body[:at] + b"\xff" + body[at:], b"", b"null", b"[" * 5000,
        b"\xef\xbb\xbf" + body, body.decode(errors="replace").encode("utf-16"), b'{"a":' * 300, b"1e999", b'{"a":1,"a":2}',
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b"<a>" * 500, body + body, base64.b64encode(body),
    ))  # fmt: skip


def _write(draw: Random) -> Sent:
    made = resource(draw)
    type = str(made.get("resourceType")) if draw.random() < 0.95 else _type(draw)
    content_type, body = _written(draw, made)
    method, path = draw.choice((
        ("POST", type), ("PUT", f"{type}/{_id(draw)}"), ("PUT", f"{type}/{quote(str(made.get('id')), safe='')}"),
        ("PUT", f"{type}?{_encoded(draw, _pairs(draw, type))}"), ("DELETE", f"{type}?{_encoded(draw, _pairs(draw, type))}"),
    ))  # fmt: skip
    if draw.random() < 0.05:
        content_type = draw.choice(("", "text/plain", "application/json; charset=utf-16", FORM, "image/png"))
    return Sent(method, f"/fhir/{quote(path, safe='/?&=%+:|,$')}", "", {"Content-Type": content_type}, body)


def _patch(draw: Random) -> Sent:
    paths = ("/status", "/name/0/given", "/name/-", "", "/", "/~2", "/id", "/meta", "/nosuch/1/2", "/name/99999999999")
    if draw.random() < 0.6:
        names = ("add", "remove", "replace", "move", "copy", "test", "x")
        value: Any = [
            {"op": draw.choice(names), "path": draw.choice(paths), "from": draw.choice(paths), "value": odd(draw)}
            for _ in range(draw.randrange(4))
        ]  # fmt: skip
        content_type, body = JSON_PATCH, json.dumps(value).encode()
    else:
        kinds = ("add", "insert", "delete", "replace", "move", "x")
        where = ("Patient.name", "Patient.birthDate", "Patient.name[0].given[0]", "Patient.where(", "", "1 + 1", MARK)
        parts = [
            {"name": "type", "valueCode": draw.choice(kinds)}, {"name": "path", "valueString": draw.choice(where)},
            {"name": "name", "valueString": draw.choice(("active", "id", "x"))}, {"name": "value", "valueBoolean": True},
            {"name": "index", "valueInteger": draw.choice((0, -1, 10**9))},
        ]  # fmt: skip
        value = {
            "resourceType": "Parameters",
            "parameter": [{"name": "operation", "part": draw.sample(parts, draw.randrange(6))}],
        }
        content_type, body = _written(draw, value)
    type = _type(draw)
    path = f"{type}/{_id(draw)}" if draw.random() < 0.8 else f"{type}?{_encoded(draw, _pairs(draw, type))}"
    return Sent("PATCH", f"/fhir/{path}", "", {"Content-Type": content_type}, body)


def _bundle(draw: Random) -> Sent:
    entries = []
    for _ in range(draw.randrange(5)):
        inner = draw.choice((_search, _instance, _write, _patch, _operation))(draw)
        asked: dict[str, Any] = {"method": inner.method, "url": inner.target.removeprefix("/fhir/")}
        if draw.random() < 0.1:
            asked[draw.choice(("ifNoneExist", "ifMatch", "ifNoneMatch"))] = draw.choice(
                ("identifier=a", 'W/"1"', "*", "")
            )
        entry = {"request": asked, "fullUrl": draw.choice(("urn:uuid:1", "http://x/1", "", "urn:uuid:2"))}
        if inner.method in ("POST", "PUT"):
            entry["resource"] = resource(draw)
        entries.append(entry)
    made: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": draw.choice(("batch", "transaction", "x")),
        "entry": entries,
    }
    if draw.random() < 0.3:
        _mutate(draw, made)
    content_type, body = _written(draw, made)
    return Sent("POST", "/fhir", "", {"Content-Type": content_type}, body)


def _operation(draw: Random) -> Sent:
    where = draw.choice(
        ("", f"{_type(draw)}/", f"{_type(draw)}/{_id(draw)}/", "Patient/1/", "Encounter/1/", "Composition/1/")
    )
    path = f"/fhir/{where}${draw.choice(OPERATIONS)}"
    pairs = [*_pairs(draw, "Observation"), ("start", draw.choice(DATES)), ("max", draw.choice(NUMBERS))]
    if draw.random() < 0.6:
        return Sent("GET", f"{path}?{_encoded(draw, draw.sample(pairs, draw.randrange(3)))}", "")
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": odd(draw)}]}
    content_type, body = _written(draw, draw.choice((parameters, resource(draw), {}, None)))
    return Sent("POST", path, "", {"Content-Type": content_type}, body)


def _strange(draw: Random) -> Sent:
    """Return a request on a path or by a method that is nobody's."""
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
    parts = [
        quote(draw.choice((*ODD_TEXTS, "Patient", "metadata", "_history", "_search", "$meta")), safe="$*")
        for _ in range(4)
    ]
    path = "/fhir/" + "/".join(parts[: draw.randrange(5)])
    return Sent(draw.choice(methods), path, "", {"Content-Type": JSON}, b"{}" if draw.random() < 0.3 else b"")
