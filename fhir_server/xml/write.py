"""FHIR JSON to XML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from fhir_server.errors import NotAcceptable
from fhir_server.fhir_json import decimal_text
from fhir_server.xml.table import FHIR, XHTML, Content, Field, Kind, content

Json = Mapping[str, Any]

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
# White space would be read back as spaces (XML 1.0, 3.3.3), unless written as character references.
_REFERENCES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
# Beside those, the characters that no XML document can hold (XML 1.0, 2.2).
_TO_ESCAPE = re.compile(r'[&<>"\x00-\x1f\ufffe\uffff]')
_NO_CHARACTER = "\ufffd"
_NAMESPACED = re.compile(r"""\s*<div(\s+[\w:.-]+\s*=\s*("[^"]*"|'[^']*'))*?\s+xmlns\s*=""")


def to_xml(resource: Json, *, pretty: bool = False) -> bytes:
    """Return a resource as an XML document in UTF-8, its elements in the order of the standard.

    pretty: indented, an element to a line.
    Raises NotAcceptable if it holds what R4 does not define, for which XML has no place.
    """
    writer = _Writer(pretty)
    writer.resource(resource, f' xmlns="{FHIR}"', 0)
    return (_HEAD + "".join(writer.out) + ("\n" if pretty else "")).encode()


class _Writer:
    __slots__ = ("out", "pretty")

    def __init__(self, pretty: bool) -> None:
        self.out: list[str] = []
        self.pretty = pretty

    def resource(self, value: Json, namespace: str, depth: int) -> None:
        self.element(value["resourceType"], content(value["resourceType"]), value, namespace, depth)

    def element(self, name: str, known: Content, value: Json, attributes: str, depth: int) -> None:
        """Write an object as an element: those of its members that are attributes, then the others in their order."""
        members = _members(known, value)
        for _, field, item in members:
            if field.kind is Kind.ATTRIBUTE:
                attributes += f' {field.name}="{_escaped(item)}"'
        self._open(name, attributes, depth, empty=False)
        for _, field, item in members:
            if field.kind is not Kind.ATTRIBUTE:
                self.member(field, item, value, depth + 1)
        self._close(name, depth)

    def member(self, field: Field, item: Any, within: Json, depth: int) -> None:
        """Write one member of an object, as many elements as it has values."""
        if field.kind is Kind.PRIMITIVE:
            self._primitives(field, item, within.get(field.shadow), depth)
            return
        for each in item if field.many else (item,):
            if field.kind is Kind.COMPLEX:
                self.element(field.name, content(field.path), each, "", depth)
            elif field.kind is Kind.XHTML:
                self.out.append(self._indent(depth) + _in_namespace(each))
            else:
                self._open(field.name, "", depth, empty=False)
                self.resource(each, "", depth + 1)
                self._close(field.name, depth)

    def _primitives(self, field: Field, item: Any, shadow: Any, depth: int) -> None:
        if not field.many:
            self._primitive(field.name, item, shadow, depth)
            return
        values, shadows = item or (), shadow or ()
        for at in range(max(len(values), len(shadows))):
            self._primitive(field.name, _at(values, at), _at(shadows, at), depth)

    def _primitive(self, name: str, value: Any, shadow: Json | None, depth: int) -> None:
        said = "" if value is None else f' value="{_text(value)}"'
        if shadow is None:
            self._open(name, said, depth, empty=True)
        elif "extension" in shadow:
            self.element(name, content("Element"), shadow, said, depth)
        else:
            self._open(name, f'{said} id="{_escaped(shadow["id"])}"', depth, empty=True)

    def _open(self, name: str, attributes: str, depth: int, *, empty: bool) -> None:
        self.out.append(f"{self._indent(depth)}<{name}{attributes}{'/>' if empty else '>'}")

    def _close(self, name: str, depth: int) -> None:
        self.out.append(f"{self._indent(depth)}</{name}>")

    def _indent(self, depth: int) -> str:
        return "\n" + "  " * depth if self.pretty else ""


def _members(known: Content, value: Json) -> list[tuple[int, Field, Any]]:
    """Return (rank, field, value) of each element of an object in the order of the standard."""
    found = []
    for name, item in value.items():
        field = known.fields.get(name)
        if field is None:
            if name == "resourceType":
                continue
            field = known.fields.get(name[1:]) if name[0] == "_" else None
            if field is None:
                raise NotAcceptable(
                    f"The answer holds an element of {known.path} that R4 does not define: ask for JSON."
                )
            if field.name in value:
                continue
            item = None  # a primitive that has extensions and no value
        found.append((field.rank, field, item))
    found.sort(key=itemgetter(0))
    return found


def _at(items: Sequence[Any], at: int) -> Any:
    return items[at] if at < len(items) else None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return _escaped(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return decimal_text(value)


def _escaped(text: str) -> str:
    return _TO_ESCAPE.sub(lambda found: _REFERENCES.get(found[0], _NO_CHARACTER), text)


def _in_namespace(div: str) -> str:
    """Return a narrative as it is, with the namespace that JSON clients like to leave out."""
    return div if _NAMESPACED.match(div) else div.replace("<div", f'<div xmlns="{XHTML}"', 1)
