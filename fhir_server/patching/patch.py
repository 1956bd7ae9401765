"""A patch of either kind, carried out on a resource."""

from __future__ import annotations

from typing import Any

from fhir_server.definitions.registry import Registry
from fhir_server.errors import InvalidRequest
from fhir_server.patching import fhirpath_patch, json_patch


def patched(resource: dict[str, Any], patch: Any, registry: Registry) -> Any:
    """Return a copy of a resource with a patch carried out: a list is JSON Patch, a Parameters resource FHIRPath Patch.

    Raises InvalidRequest if the patch cannot be read, Unprocessable if it cannot be carried out on this resource. What
    comes out need not be a valid resource.
    """
    if isinstance(patch, list):
        return json_patch.patched(resource, patch)
    if isinstance(patch, dict) and patch.get("resourceType") == "Parameters":
        return fhirpath_patch.patched(resource, patch, registry)
    raise InvalidRequest("A patch is a JSON Patch (an array of operations) or a Parameters resource (FHIRPath Patch).")
