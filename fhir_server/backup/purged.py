"""Which data keys were purged since a backup was made, so that a restored database does not bring them back.

A list of purges is a file of lines, each a JSON object that names a delivery ({"delivery": "…"}) or a data key
({"key": 123…}); other fields are left alone, so that lists can say when and why. Deliveries name nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fhir_server.backup.manifest import BackupError
from fhir_server.store.keys import DELIVERED


@dataclass(frozen=True, slots=True)
class Purged:
    """What was purged: by delivery, and by the id of a data key."""

    deliveries: frozenset[str] = frozenset()
    keys: frozenset[int] = frozenset()

    def names(self, document: Mapping[str, Any]) -> bool:
        """Return whether a document of the collection `keys` is a purged key."""
        return document["_id"] in self.keys or document.get(DELIVERED) in self.deliveries


def listed(paths: Iterable[Path]) -> Purged:
    """Return what the lists in these files name. Raises BackupError for a file that cannot be read to its end."""
    deliveries, keys = set[str](), set[int]()
    for path in paths:
        for number, line in enumerate(_lines(path), 1):
            try:
                said = json.loads(line)
                found = {name: said[name] for name in ("delivery", "key") if name in said}
            except (ValueError, TypeError):
                found = {}
            match found:
                case {"delivery": str(delivery)}:
                    deliveries.add(delivery)
                case {"key": int(key)}:
                    keys.add(key)
                case _:
                    raise BackupError(f"{path}, line {number}: neither a delivery nor a key is named.")
    return Purged(frozenset(deliveries), frozenset(keys))


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        raise BackupError(
            f"{path} cannot be read: the list of purges is needed, or purged records come back."
        ) from None
