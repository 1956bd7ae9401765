"""The parts of Bundles that several interactions make."""

from __future__ import annotations

import orjson

# JSON that is already written: an opened body goes into a Bundle as it is, never parsed again.
Raw = orjson.Fragment


def entry(base: str, type: str, id: str, body: bytes, mode: str) -> dict[str, object]:
    """Return a searchset entry. mode: match, include or outcome."""
    return {"fullUrl": f"{base}/{type}/{id}", "resource": Raw(body), "search": {"mode": mode}}
