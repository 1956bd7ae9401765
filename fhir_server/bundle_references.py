"""References between the entries of a Bundle.

Source: FHIR R4 RESTful API, "transaction", on replacing references; FHIR R4 Bundle, "Resolving references in Bundles".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_LINK = re.compile(r"""\b(href|src)=(["'])(urn:(?:uuid|oid):[^"'\s]+)\2""")
# Strings, not URIs, in R4: an Identifier's value stays what it is, also when it equals a fullUrl.
_NOT_LINKS = frozenset({"value", "system", "fullUrl", "display", "text"})


def rewritten(value: Any, moved: Mapping[str, str]) -> Any:
    """Return a copy of a resource in which everything that means an entry of its Bundle says Type/id.

    moved: from the fullUrl of each entry to its Type/id. References follow, so do plain URIs that equal a urn: fullUrl
    and links in the narrative; a version behind a fullUrl is cut.
    """
    return _rewritten(value, moved, "")


def _rewritten(value: Any, moved: Mapping[str, str], name: str) -> Any:
    """Return a copy in which everything that means an entry of the Bundle says Type/id."""
    if isinstance(value, dict):
        return {key: _rewritten(item, moved, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_rewritten(item, moved, name) for item in value]
    if not isinstance(value, str):
        return value
    if name == "reference":
        return moved.get(value) or moved.get(value.partition("/_history/")[0], value)
    if name == "div" and "urn:" in value:
        return _LINK.sub(lambda m: f"{m[1]}={m[2]}{moved.get(m[3], m[3])}{m[2]}", value)
    return moved.get(value, value) if value.startswith("urn:") and name not in _NOT_LINKS else value
