"""FHIRPath expressions of search parameters, compiled to a walk over JSON.

All parameters of a type share one walk: their places (see expression_routes.py) are merged into a tree of JSON keys,
and every key of a resource is looked at once, however many parameters ask for it. What the compiler cannot take is
evaluated by fhirpathpy instead, more slowly; no parameter of R4 needs that.

Beside FHIRPath stand two liberties, both needed for R4's own parameters: `as` keeps the values of a type out of many,
as ofType() does, instead of failing; and `resolve() is X` is decided on what the reference itself says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from fhir_server.definitions.registry import Registry
from fhir_server.search.expressions.fallback import evaluated_by_fhirpathpy
from fhir_server.search.expressions.routes import At, Key, Place, Scope, Step, Test, Where, condition_test, places
from fhir_server.search.expressions.syntax import Binary, Call, NotSupported, Tree, parse

Json: TypeAlias = dict[str, Any]
Typed: TypeAlias = tuple[str, Any]  # FHIR type name, JSON value


HOLLOW = frozenset({"id", "extension"})


class Extraction(Protocol):
    """Finds the values of several expressions at once: as an Extractor, by label; a label without a value is absent."""

    def __call__(self, node: Json, resource: Json | None = None) -> dict[str, list[Typed]]: ...


class CodeValue(str):
    """A `code` that knows its system: that of the required binding, None if the binding leaves it open."""

    __slots__ = ("system",)
    system: str | None

    def __new__(cls, code: str, system: str | None) -> CodeValue:
        made = super().__new__(cls, code)
        made.system = system
        return made


@dataclass(slots=True)
class _Stop:
    """One node of the merged walk: the labels that take a value found here, and the ways on."""

    type: str = ""
    system: str | None = None
    labels: tuple[str, ...] = ()
    keys: dict[str, _Stop] = field(default_factory=dict)
    wheres: dict[Where, _Stop] = field(default_factory=dict)
    ats: dict[At, _Stop] = field(default_factory=dict)

    def after(self, step: Step) -> _Stop:
        match step:
            case Key(name, _):
                return self.keys.setdefault(name, _Stop())
            case Where():
                return self.wheres.setdefault(step, _Stop())
            case At():
                return self.ats.setdefault(step, _Stop())

    def add(self, place: Place, label: str) -> None:
        stop = self
        for step in place.steps:
            stop = stop.after(step)
        stop.type, stop.system = place.says, place.system
        if label not in stop.labels:
            stop.labels += (label,)


def _visit(stop: _Stop, value: Any, found: dict[str, list[Typed]]) -> None:
    if stop.labels and not _is_hollow(value):
        pair = _typed(stop, value)
        for label in stop.labels:
            found.setdefault(label, []).append(pair)
    for where, then in stop.wheres.items():
        if where.test(value):
            _visit(then, value, found)
    if stop.keys and isinstance(value, dict):
        keys = stop.keys
        for key, inner in value.items():
            then = keys.get(key)  # type: ignore[assignment]
            if then is None or inner is None:
                continue
            if isinstance(inner, list):
                _visit_array(then, inner, found)
            else:
                _visit(then, inner, found)


def _is_hollow(value: Any) -> bool:
    """Return whether an element has extensions, such as the reason for its absence, and no value."""
    return isinstance(value, dict) and "extension" in value and value.keys() <= HOLLOW


def _visit_array(stop: _Stop, values: list[Any], found: dict[str, list[Typed]]) -> None:
    for at, then in stop.ats.items():
        if at.position < len(values) and values[at.position] is not None:
            _visit(then, values[at.position], found)
    for value in values:
        if value is not None:
            _visit(stop, value, found)


def _typed(stop: _Stop, value: Any) -> Typed:
    type = stop.type
    if type == "code" and isinstance(value, str):
        return type, CodeValue(value, stop.system)
    if type == "Resource" and isinstance(value, dict):
        return str(value.get("resourceType", type)), value
    return type, value


@dataclass(slots=True)
class _Walk:
    """Expressions under labels, run together."""

    this: _Stop = field(default_factory=_Stop)
    resource: _Stop = field(default_factory=_Stop)
    tests: list[tuple[str, Test]] = field(default_factory=list)
    others: list[tuple[str, Callable[[Json, Json], list[Typed]]]] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)

    def add(self, label: str, expression: str, scope: Scope) -> None:
        try:
            tree = parse(expression)
            if _is_condition(tree):
                self.tests.append((label, condition_test(tree, scope)))
                return
            found = places(tree, scope)
        except NotSupported:
            self.others.append((label, evaluated_by_fhirpathpy(expression, scope.this.type)))
            return
        self.places.extend(found)
        for place in found:
            (self.resource if place.absolute else self.this).add(place, label)

    def __call__(self, node: Json, resource: Json | None = None) -> dict[str, list[Typed]]:
        found: dict[str, list[Typed]] = {}
        _visit(self.this, node, found)
        if self.resource.keys:
            _visit(self.resource, node if resource is None else resource, found)
        for label, test in self.tests:
            answer = test(node)
            if answer is not None:
                found.setdefault(label, []).append(("boolean", answer))
        for label, evaluate in self.others:
            if pairs := evaluate(node, node if resource is None else resource):
                found.setdefault(label, []).extend(pairs)
        return found


def _is_condition(tree: Tree) -> bool:
    match tree:
        case Binary("and" | "=" | "!=") | Call(_, "exists", ()):
            return True
    return False


class Extractor:
    """Finds the values of one expression.

    Called with the base's JSON, it returns (FHIR type name, JSON value) pairs in the order of the JSON. The type is
    the concrete one; for backbone elements their path ("Observation.component"), for kinds of Quantity "Quantity".
    A value of type "code" is a CodeValue. Nulls, absent values and what has only extensions give nothing; a
    value of the wrong shape gives nothing or comes as it is, and never raises.
    resource: what %resource stands for, when the base is not itself the resource.
    """

    __slots__ = ("_walk", "compiled", "paths")

    def __init__(self, expression: str, scope: Scope) -> None:
        self._walk = _Walk()
        self._walk.add("", expression, scope)
        self.compiled: bool = not self._walk.others  # False: fhirpathpy evaluates it
        self.paths: tuple[tuple[str, ...], ...] = tuple(_keys(place.steps) for place in self._walk.places)

    def __call__(self, node: Json, resource: Json | None = None) -> list[Typed]:
        return self._walk(node, resource).get("", [])


def _keys(steps: Iterable[Step]) -> tuple[str, ...]:
    return tuple(step.name for step in steps if isinstance(step, Key))


def compile_expression(registry: Registry, base: str, expression: str, *, resource: str | None = None) -> Extractor:
    """Return the extractor of an expression.

    base: a resource type, a data type, or the path of a backbone element such as "Observation.component".
    resource: the type of %resource, where the base does not tell (a data type).
    Raises UnknownElement if the expression names what the base does not have, NotSupported if it is not FHIRPath
    that this server can evaluate; both are ValueErrors.
    """
    return Extractor(expression, _scope(registry, base, resource))


def compile_together(
    registry: Registry, base: str, expressions: Mapping[str, str], *, resource: str | None = None
) -> Extraction:
    """Return the extraction of several expressions, by label. base, resource, errors: as for compile_expression."""
    walk = _Walk()
    scope = _scope(registry, base, resource)
    for label, expression in expressions.items():
        walk.add(label, expression, scope)
    return walk


def compile_all(registry: Registry, type: str) -> Extraction:
    """Return the extraction of all but the composite parameters of a type, by code."""
    parameters = registry.parameters(type).items()
    return compile_together(
        registry, type, {code: each.expression for code, each in parameters if each.type != "composite"}
    )


def _scope(registry: Registry, base: str, resource: str | None) -> Scope:
    root = base.partition(".")[0]
    return Scope(
        registry=registry,
        this=Place("BackboneElement" if "." in base else base, base),
        resource=resource or (root if root in registry.types else None),
    )
