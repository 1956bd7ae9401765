"""From a SearchParameter resource to search parameters that this server can answer (FHIR R4 SearchParameter). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fhir_server.definitions.make_search import members_for
from fhir_server.definitions.registry import Component, Registry, SearchParameter
from fhir_server.errors import InvalidResource
from fhir_server.search.expressions.compiled import compile_expression
from fhir_server.search.expressions.syntax import NotSupported
from fhir_server.search.expressions.syntax import parse as parse_expression
from fhir_server.search.support import unsupported

Json = Mapping[str, Any]

# A name that needs no escaping in a URL, a chain or a field of a document; those with "_" in front are R4's own.
CODE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
# Written with every answer: their index is what each request waits for.
NO_BASE = frozenset({"AuditEvent"})


def custom_parameters(resource: Json, registry: Registry) -> tuple[SearchParameter, ...]:
    """Return the search parameters that a SearchParameter resource defines, one for each base.

    registry: what is answered without it. Raises InvalidResource, with every reason, if they cannot be answered.
    """
    faults = list(_faults(resource, registry))
    if faults:
        raise InvalidResource(faults)
    made = [_parameter(resource, base, registry) for base in resource["base"]]
    faults = [fault for each in made for fault in _compiled(each, registry)]
    if faults:
        raise InvalidResource(faults)
    return tuple(made)


def _faults(resource: Json, registry: Registry) -> Iterator[tuple[str, str | None, str]]:
    code = resource["code"]
    if not CODE.fullmatch(code):
        yield _fault("value", "code", "must be a letter followed by at most 63 letters, digits, - and _")
    if not resource.get("expression"):
        yield _fault("required", "expression", "is missing: nothing says what the parameter finds")
    for base in resource["base"]:
        if base not in registry.types - NO_BASE:
            yield _fault("not-supported", "base", f"names {base}, which can have no parameters of its own here")
        elif code in registry.parameters(base):
            yield _fault("duplicate", "code", f"is that of another search parameter of {base}")
    for place, part in enumerate(resource.get("component", ())):
        if not all(_defined(part["definition"], base, registry) for base in resource["base"]):
            yield _fault("not-found", f"component[{place}].definition", "names no search parameter of every base")


def _fault(kind: str, element: str, text: str) -> tuple[str, str, str]:
    where = f"SearchParameter.{element}"
    return kind, where, f"{where} {text}."


def _defined(url: str, base: str, registry: Registry) -> SearchParameter | None:
    return next((each for each in registry.parameters(base).values() if each.url == url), None)


def _parameter(resource: Json, base: str, registry: Registry) -> SearchParameter:
    parts = [(_defined(part["definition"], base, registry), part) for part in resource.get("component", ())]
    return SearchParameter(
        base=base,
        code=resource["code"],
        type=resource["type"],
        expression=members_for(base, resource["expression"]),
        targets=tuple(sorted(registry.types & set(resource.get("target", registry.types)))),
        components=tuple(Component(found.code, found.type, part["expression"]) for found, part in parts if found),
        url=resource["url"],
    )


def _compiled(parameter: SearchParameter, registry: Registry) -> Iterator[tuple[str, str | None, str]]:
    """Yield why a parameter cannot be answered."""
    if reason := unsupported(parameter):
        yield _fault("not-supported", "type", f"cannot be answered: {reason}")
    if parameter.type == "composite" and not parameter.components:
        yield _fault("required", "component", "is missing: a composite parameter needs its parts")
    if not parameter.expression:
        yield _fault("value", "expression", f"says nothing of {parameter.base}")
        return
    try:
        compile_expression(registry, parameter.base, parameter.expression)
        for part in parameter.components:
            parse_expression(part.expression)
    except (ValueError, NotSupported) as reason:
        yield _fault("value", "expression", f"cannot be evaluated on {parameter.base}: {reason}")
