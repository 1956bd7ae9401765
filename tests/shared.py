"""Where the test data of others lies: the folder `shared` beside the project."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared"


def examples(type: str) -> Iterator[dict[str, Any]]:
    """Yield the R4 specification's own examples of a resource type."""
    with gzip.open(SHARED / "data" / "examples-r4" / f"{type}.ndjson.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
