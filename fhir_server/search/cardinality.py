"""How many values a search parameter can have in one resource."""

from __future__ import annotations

import re

from fhir_server.definitions.registry import Registry, SearchParameter

# A plain path, which may be kept to references to one type. The type that a parameter applies to comes first.
_PATH = re.compile(r"([A-Z]\w*)\.(\w+(?:\.\w+)*)(?:\.where\(resolve\(\) is \w+\))?", re.ASCII)


def single_valued(registry: Registry, parameter: SearchParameter) -> bool:
    """Return whether a resource has one value for a parameter at most; False where that cannot be told."""
    path = _PATH.fullmatch(parameter.expression)
    if path is None:
        return False
    at = path[1]
    for name in path[2].split("."):
        element = registry.elements(at).get(name)
        if element is None or element.many:
            return False
        at = element.path if element.types == ("BackboneElement",) else element.types[0]
    return True
