"""What a type may hold, as tables read from the models of `fhir.resources` (R4B) and cut down to R4 (ADR 0006).

Types that R4B changed or dropped are not served, and can stand in others (contained, in a Bundle). Theirs are read from
R4's own definitions, which here say nothing of what is required.

The models are read, not run: run, they take "yes" for true, "5" for 5, [] and null for absent, a model's Python
names for element names, and any code for a bound one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import orjson
from fhir.resources.R4B import get_fhir_model_class
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fhir_server.definitions.registry import Element, registry
from fhir_server.validation.make import one_word
from fhir_server.validation.narrative import xhtml
from fhir_server.validation.primitives import CHECKS, Check

ANY_RESOURCE = "Resource"
_BACKBONES = frozenset({"BackboneElement", "Element"})
# Data types that R4 does not have; R4B admits them in open choices (Extension.value[x] and the like).
NOT_IN_R4 = frozenset({"CodeableReference", "RatioRange"})
# Attributes rather than elements: they take no extensions, and neither does any id.
_NO_EXTENSIONS = frozenset({("Extension", "url"), ("Narrative", "div")})
# Declared with another Python type than the FHIR type's own name.
_NAMED = {"bool": "boolean", "UUID": "uuid", "AnyUrl": "url", "bytes": "base64Binary"}
_CHECKS: Mapping[str, Check] = CHECKS | {"xhtml": xhtml}


@dataclass(frozen=True, slots=True)
class Rule:
    """One JSON name in an object. Either `check` (a primitive value) or `child` (the model of an object) is set."""

    path: str  # behind the parent's, e.g. "value.ofType(Quantity)"
    many: bool
    check: Check | None = None
    child: str | None = None
    codes: frozenset[str] | None = None  # of a required binding
    choice: str | None = None  # name of the choice element, without [x]
    primitive: str | None = None  # set on "_birthDate": the name whose id and extensions it carries


@dataclass(frozen=True, slots=True)
class Shape:
    """The rules of one type by JSON name, and what must be there: (path, the names of which one must stand)."""

    name: str
    rules: Mapping[str, Rule]
    required: tuple[tuple[str, tuple[str, ...]], ...]


def is_resource(type: object) -> bool:
    """Whether `type` names a concrete resource type of R4."""
    return isinstance(type, str) and (type in registry().types or type in registry().unserved)


@cache
def shape(type: str) -> Shape:
    """Return the shape of a resource, a data type or a backbone element, called as its model is.

    Backbone elements of resources that are not served are called by their path.
    """
    if type in registry().unserved or "." in type:
        return _defined(type)
    model = get_fhir_model_class(type)
    rules: dict[str, Rule] = {}
    required: dict[str, tuple[str, ...]] = {}
    for key, field in model.model_fields.items():
        name = field.alias or key
        said = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if key == "fhir_comments" or key.endswith("__ext") or not (made := _rules(model, name, field, said)):
            continue
        rules |= made
        if field.is_required() or said.get("element_required"):
            required[name] = tuple(made)
        elif said.get("one_of_many_required"):
            choice = str(said["one_of_many"])
            required[choice] = required.get(choice, ()) + tuple(made)
    if is_resource(type):
        rules["resourceType"] = Rule("resourceType", many=False, check=CHECKS["code"])
    return Shape(type, rules, tuple(required.items()))


def _defined(path: str) -> Shape:
    """Return the shape of what R4B does not have as R4 has it."""
    rules = {"resourceType": Rule("resourceType", many=False, check=CHECKS["code"])} if "." not in path else {}
    for element in registry().elements(path).values():
        for name, type in element.json_names():
            rules |= _defined_rules(element, name, type)
    return Shape(path, rules, ())


def _defined_rules(element: Element, name: str, type: str) -> dict[str, Rule]:
    choice = element.name if element.choice else None
    said = f"{choice}.ofType({type})" if choice else name
    if type not in _CHECKS:
        return {name: Rule(said, element.many, child=element.path if type in _BACKBONES else type, choice=choice)}
    codes = _bindings().get(f"{one_word(element.path.rpartition('.')[0])}.{element.name}")
    made = {name: Rule(said, element.many, check=_CHECKS[type], codes=codes, choice=choice)}
    if name != "id":
        made[f"_{name}"] = Rule(said, element.many, child="Element", choice=choice, primitive=name)
    return made


def _rules(model: type[BaseModel], name: str, field: FieldInfo, said: Mapping[str, Any]) -> dict[str, Rule]:
    """Return the rule of one element by JSON name: two for a primitive with extensions, none if R4 does not have it."""
    declared, many = _declared(field)
    choice = said.get("one_of_many")
    if declared in NOT_IN_R4:
        return _instead(name, choice)
    path = f"{choice}.ofType({_fhir_type(name, str(choice))})" if choice else name
    if declared not in _CHECKS:
        return {name: Rule(path, many, child=declared, choice=choice)}
    made = {name: Rule(path, many, check=_CHECKS[declared], codes=_codes(model, name), choice=choice)}
    if (model.__name__, name) not in _NO_EXTENSIONS and name != "id":
        made[f"_{name}"] = Rule(path, many, child="Element", choice=choice, primitive=name)
    return made


def _instead(name: str, choice: str | None) -> dict[str, Rule]:
    """Return what R4 has in place of an R4B type: Meta is among R4's open types, and missing among R4B's."""
    if choice is None or not name.endswith("CodeableReference"):
        return {}
    return {f"{choice}Meta": Rule(f"{choice}.ofType(Meta)", many=False, child="Meta", choice=choice)}


def _fhir_type(name: str, choice: str) -> str:
    of = name.removeprefix(choice)
    lower = of[0].lower() + of[1:]
    return lower if lower in CHECKS else of


def _declared(field: FieldInfo) -> tuple[str, bool]:
    """Return the FHIR type (or the model's name) that a field is declared with, and whether it is an array."""
    visit = [getattr(said, "__visit_name__", None) for said in field.metadata]
    kind: Any = field.annotation
    many = False
    while (origin := get_origin(kind)) is not None:
        parts = [part for part in get_args(kind) if part is not type(None)]
        if origin is Annotated:
            visit += [getattr(said, "__visit_name__", None) for said in kind.__metadata__]
        elif origin is list:
            many = True
        elif origin not in (Union, UnionType):
            raise TypeError(f"cannot read the declaration {kind}")
        kind = parts[0]
    if hasattr(kind, "get_model_klass"):
        return kind.get_model_klass().__name__, many
    name = next((said for said in visit if said), None)
    return name or _NAMED[kind.__name__], many


@cache
def _bindings() -> Mapping[str, frozenset[str]]:
    table = orjson.loads(Path(__file__).with_name("codes.json").read_bytes())
    codes = {url: frozenset(found) for url, found in table["codes"].items()}
    return {name: codes[url] for name, url in table["elements"].items()}


def _codes(model: type[BaseModel], name: str) -> frozenset[str] | None:
    """Return the codes of a required binding, which a derived type (Age of Quantity) has from its base."""
    found = (_bindings().get(f"{base.__name__}.{name}") for base in model.__mro__)
    return next((codes for codes in found if codes), None)
