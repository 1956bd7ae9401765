"""The parts of Bundles that several interactions make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from fhir_server.fhir_json import dump, parse
from fhir_server.interactions.call import outcome

# JSON that is already written: an opened body goes into a Bundle as it is, never parsed again.
Raw = orjson.Fragment
Link = dict[str, str]


def entry(base: str, type: str, id: str, body: bytes, mode: str) -> dict[str, object]:
    """Return a searchset entry. mode: match, include or outcome."""
    return {"fullUrl": f"{base}/{type}/{id}", "resource": Raw(body), "search": {"mode": mode}}


def searchset(total: int | None, links: Sequence[Link], entries: Sequence[Any]) -> bytes:
    """Return a searchset Bundle. total: of the matches on all pages; None: left out."""
    return dump(
        {
            "resourceType": "Bundle",
            "type": "searchset",
            **({} if total is None else {"total": total}),
            "link": links,
            **({"entry": entries} if entries else {}),
        }
    )


def warning(ignored: Sequence[str]) -> dict[str, object]:
    """Return the entry that says which parameters were left out."""
    said = [
        {"severity": "warning", "code": "not-supported", "diagnostics": f"Ignored the parameter {name}."}
        for name in ignored
    ]
    return {"resource": parse(outcome(*said)), "search": {"mode": "outcome"}}
