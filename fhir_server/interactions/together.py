"""Work done side by side whose problems do not depend on the time that each took."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar, cast

T = TypeVar("T")


async def all_of(work: Iterable[Awaitable[T]]) -> list[T]:
    """Return what all of them give; of several problems the first in their order is raised.

    Which problem came first in time would say how much there is to look through.
    """
    waiting = list(work)
    if not waiting:
        return []
    if len(waiting) == 1:
        return [await waiting[0]]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return cast(list[T], found)
