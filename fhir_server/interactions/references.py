"""References between the entries of a Bundle.

Source: FHIR R4 RESTful API, "transaction", step on replacing references; FHIR R4 Bundle, "Resolving references in Bundles".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def rewritten(value: Any, places: Mapping[str, str]) -> Any:
    """Return a resource (or part of one) with every reference or URI that names an entry replaced by its place.

    places: from the fullUrl of each entry to "Type/id". A fragment or version behind a fullUrl is kept out.
    """
    if isinstance(value, dict):
        return {key: rewritten(each, places) for key, each in value.items()}
    if isinstance(value, list):
        return [rewritten(each, places) for each in value]
    if isinstance(value, str):
        return places.get(value, value)
    return value
