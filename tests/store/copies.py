"""Many documents like one that the server stored: for what is counted, planned and refused, never for what is shown.

Their bodies are sealed for another place, so nobody can open them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pymongo.collection import Collection

Document = dict[str, Any]
BATCH = 1_000


def copied(
    collection: Collection[Document], id: str, ids: Iterable[str], changed: Callable[[int], Document] = lambda n: {}
) -> None:
    """Store copies of the document with an id. changed: the fields in which the copy of a number differs."""
    pattern = collection.find_one({"_id": id})
    assert pattern, "what is to be copied is there"
    copies = [{**pattern, **changed(number), "_id": each} for number, each in enumerate(ids)]
    for first in range(0, len(copies), BATCH):
        collection.insert_many(copies[first : first + BATCH], ordered=False)


def born(day: int) -> Document:
    """Return the fields of a Patient who was born on a day, counted from 1970-01-01 UTC."""
    began = day * 86_400_000_000
    return {"r": {"birthdate": [{"lo": began, "hi": began + 86_399_999_999}]}, "s": {"birthdate": began}}
