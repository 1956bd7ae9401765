"""Where the test data of others lies: the folder `shared` beside the project."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def needed(*parts: str) -> Path:
    """Return a path below the folder. Where it is not there, the test module that asks for it is skipped by name."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {Path('shared', *parts)} beside the project", allow_module_level=True)
    return path


def examples(type: str) -> Iterator[dict[str, Any]]:
    """Yield the R4 specification's own examples of a resource type."""
    with gzip.open(SHARED / "data" / "examples-r4" / f"{type}.ndjson.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)
