"""How each element of R4 stands in XML, as tables made from the definitions.

Source: FHIR R4, "XML Representation of Resources" and "JSON Representation of Resources".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

from fhir_server.definitions.registry import Element, registry
from fhir_server.fhir_json import number

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
ANY_RESOURCE = "Resource"
# Backbone elements say one of these; what is in them stands under their own path.
_ANONYMOUS = frozenset({"BackboneElement", "Element"})
# The elements that XML writes as attributes, beside every primitive's value.
_ATTRIBUTES = frozenset({"Element.id", "Extension.url"})


class Kind(Enum):
    """How an element is written in XML."""

    ATTRIBUTE = auto()
    PRIMITIVE = auto()  # <name value="…"/>, with its id and its extensions
    XHTML = auto()  # <div xmlns="…">, as it is
    COMPLEX = auto()  # <name><child/>…</name>
    RESOURCE = auto()  # <name><Patient>…</Patient></name>


@dataclass(frozen=True, slots=True)
class Field:
    """One JSON name in an object, which is the XML name as well."""

    name: str
    rank: int  # place in the order of the standard
    kind: Kind
    many: bool
    path: str  # of the children: a type, or the path of a backbone element
    read: Callable[[str], object]  # the JSON value of a value attribute
    shadow: str  # the JSON name of a primitive's id and extensions
    said: str  # in FHIRPath: "value.ofType(Quantity)"


# What the root element stands in: a document holds one resource.
DOCUMENT = Field("", 0, Kind.RESOURCE, False, ANY_RESOURCE, str, "", "")


@dataclass(frozen=True, slots=True)
class Content:
    """What may stand in a type or backbone element: by JSON name, and by XML name as "namespace name"."""

    path: str
    fields: Mapping[str, Field]
    tags: Mapping[str, Field]


@cache
def content(path: str) -> Content:
    """Return the content of a type or of the backbone element at a path; without fields if there is no such thing."""
    fields: dict[str, Field] = {}
    for element in registry().elements(path).values():
        for name, type in element.json_names():
            fields[name] = _field(element, name, type, len(fields))
    return Content(path, fields, {_tag(field): field for field in fields.values() if field.kind is not Kind.ATTRIBUTE})


@cache
def resources() -> Content:
    """Return the content of what holds a resource: one of any type that R4 has."""
    types = sorted(registry().types | registry().unserved.keys())
    fields = {type: Field(type, 0, Kind.COMPLEX, False, type, str, "", type) for type in types}
    return Content(ANY_RESOURCE, fields, {_tag(field): field for field in fields.values()})


def _field(element: Element, name: str, type: str, rank: int) -> Field:
    kind = _kind(element, type)
    path = element.path if type in _ANONYMOUS else type
    said = f"{element.name}.ofType({type})" if element.choice else name
    return Field(name, rank, kind, element.many, path, _READ.get(type, str), f"_{name}", said)


def _kind(element: Element, type: str) -> Kind:
    if element.path in _ATTRIBUTES:
        return Kind.ATTRIBUTE
    if type == ANY_RESOURCE:
        return Kind.RESOURCE
    if type == "xhtml":
        return Kind.XHTML
    return Kind.COMPLEX if registry().elements(type) else Kind.PRIMITIVE


def _tag(field: Field) -> str:
    return f"{XHTML if field.kind is Kind.XHTML else FHIR} {field.name}"


def _boolean(text: str) -> object:
    return {"true": True, "false": False}.get(text, text)


# What is not of its type stays the string that it is: validation says so, and where.
_READ: Mapping[str, Callable[[str], object]] = {
    "boolean": _boolean,
    "decimal": number,
    **dict.fromkeys(("integer", "positiveInt", "unsignedInt"), number),
}
