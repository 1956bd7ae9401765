"""Coalesced reads: who waits with whom, and what a failure or a cancellation does to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from fhir_server.store.coalesce import MOST_AT_ONCE, Coalesced

pytestmark = pytest.mark.anyio


class Source:
    """What is fetched from: counts up, so that the answer tells when it was made; waits until it is let go."""

    def __init__(self) -> None:
        self.fetched: list[list[str]] = []
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.failing = False

    async def __call__(self, keys: list[str]) -> Mapping[str, int]:
        self.fetched.append(keys)
        number = len(self.fetched)
        self.begun.set()
        await self.gate.wait()
        if self.failing:
            raise OSError("the store is away")
        return {key: number for key in keys if key != "none"}


async def test_who_asks_together_is_served_by_one_fetch() -> None:
    source = Source()
    reads = Coalesced(source)
    waiting = [asyncio.ensure_future(reads.get_many(["a", each])) for each in ("a", "b", "c", "none")]
    await source.begun.wait()
    source.gate.set()
    assert await asyncio.gather(*waiting) == [{"a": 1}, {"a": 1, "b": 1}, {"a": 1, "c": 1}, {"a": 1}]
    assert [sorted(keys) for keys in source.fetched] == [["a", "b", "c", "none"]]


async def test_who_asks_during_a_fetch_is_served_by_the_next_one() -> None:
    source = Source()
    reads = Coalesced(source)
    early = asyncio.ensure_future(reads.get_many(["a"]))
    await source.begun.wait()
    late = asyncio.ensure_future(reads.get_many(["a"]))
    await asyncio.sleep(0)
    source.gate.set()
    assert (await early, await late) == ({"a": 1}, {"a": 2})


async def test_an_error_reaches_all_who_wait_and_nobody_after_them() -> None:
    source = Source()
    reads = Coalesced(source)
    source.failing = True
    waiting = [asyncio.ensure_future(reads.get_many([each])) for each in "abc"]
    await source.begun.wait()
    source.gate.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in found] == [OSError] * 3
    source.failing = False
    assert await reads.get_many(["a"]) == {"a": 2}


@pytest.mark.parametrize("before_the_fetch", [True, False])
async def test_one_who_leaves_does_not_hurt_the_others(before_the_fetch: bool) -> None:
    source = Source()
    reads = Coalesced(source)
    leaving, staying = (asyncio.ensure_future(reads.get_many(["a"])) for _ in range(2))
    if not before_the_fetch:
        await source.begun.wait()
    else:
        await asyncio.sleep(0)
    leaving.cancel()
    source.gate.set()
    assert await staying == {"a": 1}
    assert leaving.cancelled()


async def test_a_fetch_has_a_limit_and_everybody_is_served() -> None:
    source = Source()
    source.gate.set()
    keys = [str(n) for n in range(MOST_AT_ONCE * 2 + 1)]
    assert (await Coalesced(source).get_many(keys)).keys() == set(keys)
    assert [len(each) for each in source.fetched] == [MOST_AT_ONCE, MOST_AT_ONCE, 1]
