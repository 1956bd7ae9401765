"""The text of a resource that people read: its narrative, and its elements of type string and markdown."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from fhir_server.definitions.registry import Registry

# Elements of type string that are no text: ids of elements, references, versions, units, samples; and the values of
# identifiers and telephone numbers, for which there are parameters of their own.
NO_TEXT = frozenset({"id", "reference", "version", "unit", "data", "value"})
_TEXT = frozenset({"string", "markdown"})

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
# Within a line, a tag does not part words.
_INLINE = re.compile(r"</?(?:a|abbr|b|big|code|em|font|i|s|small|span|strong|sub|sup|tt|u)(?:\s[^>]*)?>", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")


def without_tags(xhtml: str) -> str:
    """Return the text of a narrative's div.

    >>> without_tags("<div><p>张<b>三</b></p><p>a &lt; b<br/>c</p></div>").split()
    ['张三', 'a', '<', 'b', 'c']
    """
    return unescape(_TAG.sub(" ", _INLINE.sub("", _COMMENT.sub(" ", xhtml))))


class Readable:
    """Finds the text of resources; the elements of a type are looked up once, when it first comes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[str, dict[str, str]] = {}

    def narrative(self, resource: dict[str, Any]) -> str:
        """Return the text of a resource's own narrative."""
        div = (resource.get("text") or {}).get("div")
        return without_tags(div) if isinstance(div, str) else ""

    def strings(self, resource: dict[str, Any]) -> list[str]:
        """Return all other text of a resource, of what it contains as well; meta is not part of it."""
        found: list[str] = []
        for key, inner in self._keys(resource["resourceType"]).items():
            if key in resource and key not in ("text", "meta"):
                self._gather(inner, resource[key], found)
        return found

    def _gather(self, type: str, value: Any, found: list[str]) -> None:
        if isinstance(value, str):
            found.append(without_tags(value) if type == "xhtml" else value)
        elif isinstance(value, list):
            for each in value:
                self._gather(type, each, found)
        elif isinstance(value, dict):
            keys = self._keys(value.get("resourceType", type) if type == "Resource" else type)
            for key, inner in value.items():
                if key in keys:
                    self._gather(keys[key], inner, found)

    def _keys(self, path: str) -> dict[str, str]:
        """Return the JSON names of what has text or may hold some, below a path, with its type or path."""
        known = self._known.get(path)
        if known is None:
            elements = self._registry.elements(path).values()
            known = self._known[path] = {
                name: inner
                for each in elements
                for name, type in each.json_names()
                if name not in NO_TEXT and (inner := self._inner(each.path, type))
            }
        return known

    def _inner(self, path: str, type: str) -> str | None:
        if type in _TEXT or type == "xhtml" or type == "Resource":
            return type
        inner = path if type in ("BackboneElement", "Element") else type
        return inner if self._registry.elements(inner) else None
