"""A database of one's own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from pymongo import MongoClient


@contextmanager
def fresh(uri: str) -> Iterator[str]:
    """Yield the name of a database that no other test uses; it is dropped at the end."""
    name = f"test_{secrets.token_hex(6)}"
    try:
        yield name
    finally:
        _client(uri).drop_database(name)


@cache
def _client(uri: str) -> MongoClient[dict[str, Any]]:
    """Return a client for all drops: to prove the password and to watch the server takes longer than a drop."""
    return MongoClient(uri)


def close(uri: str) -> None:
    """End the client; another is made if it is needed again."""
    _client(uri).close()
    _client.cache_clear()
