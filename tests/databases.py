"""A database of one's own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import MongoClient


@contextmanager
def fresh(uri: str) -> Iterator[str]:
    """Yield the name of a database that no other test uses; it is dropped at the end."""
    name = f"test_{secrets.token_hex(6)}"
    try:
        yield name
    finally:
        with MongoClient[dict[str, Any]](uri) as client:
            client.drop_database(name)
