"""References between the entries of a Bundle.

Source: FHIR R4 RESTful API, "transaction", on replacing references; FHIR R4 Bundle, "Resolving references in Bundles".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_LINK = re.compile(r"""\b(href|src)=(["'])(urn:(?:uuid|oid):[^"'\s]+)\2""")
_RESTFUL = re.compile(r"(https?://.+/)[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}", re.ASCII)
# Strings, not URIs, in R4: an Identifier's value stays what it is, also when it equals a fullUrl.
_NOT_LINKS = frozenset({"value", "system", "fullUrl", "display", "text"})


def rewritten(
    value: Any, moved: Mapping[str, str], *, full_url: str | None = None, searches: set[str] | None = None
) -> Any:
    """Return a copy of a resource in which everything that means an entry of its Bundle says Type/id.

    moved: from the fullUrl of each entry to its Type/id. References follow, so do plain URIs that equal a urn: fullUrl
    and links in the narrative; a version behind a fullUrl is cut. full_url: of the resource's own entry; if it is one
    of a RESTful server, relative references are meant below that server's base first. searches: takes the references
    that mean no entry and hold a search.
    """
    restful = _RESTFUL.fullmatch(full_url) if full_url else None
    return _rewritten(value, moved, "", restful[1] if restful else "", set() if searches is None else searches)


def _rewritten(value: Any, moved: Mapping[str, str], name: str, near: str, searches: set[str]) -> Any:
    """Return a copy in which everything that means an entry of the Bundle says Type/id."""
    if isinstance(value, dict):
        return {key: _rewritten(item, moved, key, near, searches) for key, item in value.items()}
    if isinstance(value, list):
        return [_rewritten(item, moved, name, near, searches) for item in value]
    if not isinstance(value, str):
        return value
    if name == "reference":
        return _led_to(value, moved, near, searches)
    if name == "div" and "urn:" in value:
        return _LINK.sub(lambda m: f"{m[1]}={m[2]}{moved.get(m[3], m[3])}{m[2]}", value)
    return moved.get(value, value) if value.startswith("urn:") and name not in _NOT_LINKS else value


def _led_to(reference: str, moved: Mapping[str, str], near: str, searches: set[str]) -> str:
    """Return the Type/id of the entry that a reference means, or the reference itself."""
    bare = reference.partition("/_history/")[0]
    found = moved.get(reference) or moved.get(bare) or (moved.get(near + bare) if near else None)
    if found is None and "?" in reference:
        searches.add(reference)
    return found or reference
