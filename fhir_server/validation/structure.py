"""Does a resource fit its R4 definition? Names, types, cardinality, values and required codes (ADR 0006).

Pure, and reads the JSON as it came: nothing is converted, and the resource is not changed. What is found is said as
where and what to do, never with the value, which may be somebody's data.
"""

from __future__ import annotations

import re
from typing import Any

from fhir_server.errors import InvalidResource
from fhir_server.validation.shapes import ANY_RESOURCE, Rule, Shape, is_resource, shape

MOST_ISSUES = 50
DEEPEST = 64
_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)

Where = tuple["Where | None", str]  # linked from the end, so that a path is only written out where something is wrong


def check(resource: Any, *, served: frozenset[str]) -> None:
    """Return if the resource fits its definition.

    served: the resource types that this server takes.
    Raises InvalidResource with up to 50 findings: (issue type code, FHIRPath, what to do).
    """
    if type(resource) is not dict:
        raise InvalidResource([("structure", None, "A resource must be a JSON object.")])
    name = resource.get("resourceType")
    if type(name) is not str or not name:
        raise InvalidResource([("required", None, "resourceType is missing: name the type of the resource.")])
    if name not in served:
        text = f"{name} is not served here." if is_resource(name) else "resourceType names no type that is served here."
        raise InvalidResource([("not-supported", None, text)])
    found: list[tuple[str, str | None, str]] = []
    try:
        _Walk(found).object(shape(name), resource, (None, name), 0)
    except _Enough:
        found.append(("too-costly", None, f"There is more; the first {MOST_ISSUES} are listed."))
    if found:
        raise InvalidResource(found)


class _Enough(Exception):
    """As many findings as anyone reads."""


class _Walk:
    """One pass over a resource, adding what it finds to `found`."""

    __slots__ = ("found",)

    def __init__(self, found: list[tuple[str, str | None, str]]) -> None:
        self.found = found

    def say(self, code: str, where: Where, text: str) -> None:
        path = _written(where)
        self.found.append((code, path, f"{path} {text}."))
        if len(self.found) >= MOST_ISSUES:
            raise _Enough

    def object(self, known: Shape, value: Any, where: Where, depth: int) -> None:
        """Check an object against the shape of its type."""
        if type(value) is not dict:
            return self.say("structure", where, "must be a JSON object")
        if not value:
            return self.say("structure", where, "is empty: leave the element out instead")
        if depth > DEEPEST:
            return self.say("too-costly", where, f"is nested more than {DEEPEST} levels deep")
        rules = known.rules
        choices: dict[str, str] = {}
        for name, item in value.items():
            rule = rules.get(name)
            if rule is None:
                self._unknown(known, name, where)
                continue
            if rule.choice and choices.setdefault(rule.choice, rule.path) != rule.path:
                self.say("structure", (where, rule.choice), "stands twice: only one type of value[x] may be given")
            here = (where, rule.path)
            if rule.many:
                self._array(rule, item, value, here, depth)
            elif rule.check is not None:
                self._primitive(rule, item, here)
            else:
                self._child(rule, item, value, here, depth)
        for path, names in known.required:
            if not any(name in value for name in names):
                self.say("required", (where, path), "is missing: R4 requires it")
        self._invariants(known, value, where)

    def _unknown(self, known: Shape, name: str, where: Where) -> None:
        if _NAME.fullmatch(name):
            self.say("structure", (where, name), f"is not an element of {known.name} in R4: remove or correct it")
        else:
            self.say("structure", where, f"holds a name that is not an element of {known.name} in R4: remove it")

    def _primitive(self, rule: Rule, item: Any, where: Where) -> None:
        problem = rule.check(item) if rule.check else None
        if problem is not None:
            self.say("structure" if isinstance(item, dict | list) or item is None else "value", where, problem)
        elif rule.codes is not None and item not in rule.codes:
            self.say("code-invalid", where, "must be a code of the value set that R4 binds it to")

    def _child(self, rule: Rule, item: Any, parent: dict[str, Any], where: Where, depth: int) -> None:
        if rule.child == ANY_RESOURCE:
            self._resource(item, where, depth)
        elif rule.primitive and rule.primitive not in parent and not _explains(item):
            self.say("required", where, "has neither a value nor an extension that says why")
        else:
            self.object(shape(rule.child or ""), item, where, depth + 1)

    def _array(self, rule: Rule, items: Any, parent: dict[str, Any], where: Where, depth: int) -> None:
        if type(items) is not list:
            return self.say("structure", where, "must be a JSON array")
        if not items:
            return self.say("structure", where, "is empty: leave the element out instead")
        partner = parent.get(rule.primitive or f"_{where[1]}") if rule.check or rule.primitive else None
        for at, item in enumerate(items):
            here = (where[0], f"{where[1]}[{at}]")
            if item is None:
                if not _stands(partner, at):
                    self.say("structure", here, "is null without a counterpart: leave it out")
            elif rule.check is not None:
                self._primitive(rule, item, here)
            elif rule.child == ANY_RESOURCE:
                self._resource(item, here, depth)
            else:
                self.object(shape(rule.child or ""), item, here, depth + 1)

    def _resource(self, item: Any, where: Where, depth: int) -> None:
        """Check a resource within a resource, whose type it says itself."""
        name = item.get("resourceType") if type(item) is dict else None
        if not is_resource(name):
            return self.say("structure", where, "must be a resource of R4, with its resourceType")
        self.object(shape(str(name)), item, where, depth + 1)

    def _invariants(self, known: Shape, value: dict[str, Any], where: Where) -> None:
        """Check the invariants that every type has and that others rely on: ext-1, dom-2, dom-4, dom-5."""
        if known.name == "Extension" and ("extension" in value) == any(
            n.lstrip("_").startswith("value") for n in value
        ):
            self.say("invariant", where, "must have either a value or extensions, not both (ext-1)")
        for at, inner in enumerate(contained if type(contained := value.get("contained")) is list else ()):
            if type(inner) is not dict:
                continue
            here = (where, f"contained[{at}]")
            if "contained" in inner:
                self.say("invariant", (here, "contained"), "stands in a contained resource (dom-2)")
            meta = inner.get("meta")
            if type(meta) is dict and not meta.keys().isdisjoint({"versionId", "lastUpdated", "security"}):
                self.say("invariant", (here, "meta"), "of a contained resource has a version or label (dom-4, dom-5)")


def _explains(item: Any) -> bool:
    return type(item) is dict and bool(item.get("extension"))


def _stands(partner: Any, at: int) -> bool:
    return type(partner) is list and at < len(partner) and partner[at] is not None


def _written(where: Where) -> str:
    parts: list[str] = []
    at: Where | None = where
    while at is not None:
        at, part = at
        parts.append(part)
    return ".".join(reversed(parts))
