"""Anchors are a chain of their own: none can be changed, taken away or put in, and one kept elsewhere convicts all others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fhir_server.audit.anchors import KEPT_FILE, Anchor, Kind, exported, imported, kept_in, signer
from fhir_server.audit.leaving import Leavings
from fhir_server.audit.verifying import verified
from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sm2 import verify
from fhir_server.store.instants import moment
from tests.audit.logs import Log, opened

pytestmark = pytest.mark.anyio
ANCHORED = 4


@pytest.fixture
async def log(log: Log) -> Log:
    """The log of eight events in four stretches, each anchored; the anchors are 0 (begun), 1 (opens), 2 to 5."""
    for _ in range(ANCHORED):
        await log.write(2)
        await log.parts.chain.anchor()
    return log


async def test_each_anchor_names_the_one_before_it_and_is_signed(log: Log) -> None:
    anchors = [Anchor.read(row) async for row in log.anchors.find().sort("_id", 1)]
    key = signer(log.keyring).public_key
    assert [each and each.seq for each in anchors] == list(range(ANCHORED + 2))
    for before, anchor in zip([None, *anchors], anchors, strict=False):
        assert anchor
        assert anchor.previous == (before.digest if before else "")
        assert verify(key, anchor.signed, bytes.fromhex(anchor.signature))
        assert not verify(key, replace(anchor, n=anchor.n + 1).signed, bytes.fromhex(anchor.signature))


@pytest.mark.parametrize("gone", [0, 1, 3, 4])
async def test_a_removed_anchor_is_named(log: Log, gone: int) -> None:
    await log.anchors.delete_one({"_id": gone})
    report = await log.verified()
    assert [(each.kind, each.target, each.first, each.last) for each in report.findings] == [
        ("removed", "anchor", gone, gone)
    ]


@pytest.mark.parametrize("n", [0, 3, ANCHORED + 1])
@pytest.mark.parametrize("change", [{"at": 5}, {"m": "00" * 32}, {"signature": "00" * 64}, {"kind": "x"}, {"more": 1}])
async def test_a_changed_anchor_is_named(log: Log, change: dict[str, Any], n: int) -> None:
    await log.anchors.update_one({"_id": n}, {"$set": change})
    report = await log.verified()
    assert ("changed", "anchor", n) in [(each.kind, each.target, each.first) for each in report.findings]


@pytest.mark.parametrize("id", [ANCHORED + 2, -1, 2.5, "9"])
async def test_an_inserted_anchor_is_named_and_not_believed(log: Log, id: Any) -> None:
    row = await log.anchors.find_one({"_id": ANCHORED + 1})
    await log.anchors.insert_one({**row, "_id": id, "n": 100})
    report = await log.verified()
    assert [(each.target, each.kind) for each in report.findings] == [
        ("anchor", "changed" if id == ANCHORED + 2 else "inserted")
    ]


async def test_the_log_goes_on_behind_an_anchor_that_cannot_be_read(
    mongo_uri: str, tmp_path: Path, database_name: str, log: Log
) -> None:
    await log.anchors.update_one({"_id": ANCHORED + 1}, {"$set": {"n": "x"}})
    async with opened(mongo_uri, tmp_path, database_name) as other:
        await other.write(1)
    assert {(each.target, each.kind) for each in (await log.verified()).findings} == {("anchor", "changed")}


async def test_anchors_that_were_cut_off_are_found_by_the_process_that_made_them(log: Log) -> None:
    await log.anchors.delete_many({"_id": {"$gt": 3}})
    await log.events.delete_many({"chain.n": {"$gt": 4}})
    assert (await log.verified()).intact  # from the inside nobody could tell
    await log.write(1)
    await log.parts.chain.anchor()
    found = {(each.kind, each.target) for each in (await log.verified()).findings}
    assert found == {("removed", "anchor"), ("removed", "event")}


async def test_what_was_cut_off_is_found_by_an_anchor_kept_elsewhere(log: Log, tmp_path: Path) -> None:
    kept = kept_in(tmp_path / KEPT_FILE)
    assert kept == await log.newest()
    printed = exported(kept, signer(log.keyring).public_key)
    assert (await log.verified(known=[kept])).intact
    await log.anchors.delete_many({"_id": {"$gt": 3}})
    await log.events.delete_many({"chain.n": {"$gt": 4}})
    outside = imported(printed)
    assert outside
    assert await log.found(known=[outside]) == [("truncated", 4, 5)]
    assert verify(bytes.fromhex(printed["publicKey"]), outside.signed, bytes.fromhex(printed["signature"]))


async def test_a_history_that_was_written_anew_with_the_keys_is_found_by_an_anchor_kept_elsewhere(
    mongo_uri: str, tmp_path: Path, database_name: str, log: Log
) -> None:
    kept = await log.newest()
    await log.anchors.drop()
    await log.events.drop()
    async with opened(mongo_uri, tmp_path, database_name) as other:
        for _ in range(ANCHORED + 1):
            await other.write(1)
            await other.parts.chain.anchor()
        assert (await other.verified()).intact
        assert ("changed", kept.seq, kept.seq) in await other.found(known=[kept])


async def test_a_writer_that_vanished_with_its_events_is_found(log: Log) -> None:
    await log.events.delete_many({})
    assert await log.found() == [("truncated", 1, 2 * ANCHORED)]
    await log.anchors.delete_many({"_id": {"$gt": 0}})
    await log.parts.chain.anchor(Kind.CLOSED)
    assert await log.found() == [("removed", 1, ANCHORED + 1), ("truncated", 1, 2 * ANCHORED)]


async def test_several_processes_have_one_chain_of_anchors(mongo_uri: str, tmp_path: Path, database_name: str) -> None:
    async with (
        opened(mongo_uri, tmp_path, database_name) as one,
        opened(mongo_uri, tmp_path, database_name) as other,
    ):
        for _ in range(3):
            await asyncio.gather(one.write(2), other.write(3))
            await asyncio.gather(one.parts.chain.anchor(), other.parts.chain.anchor())
        report = await one.verified()
        assert (report.findings, report.events, report.writers, report.anchors) == ([], 15, 2, 9)


async def test_a_chain_ends_with_its_process_and_later_events_have_another_writer(log: Log) -> None:
    await log.parts.chain.close()
    assert (await log.newest()).kind is Kind.CLOSED
    await log.write(1)
    report = await log.verified()
    assert (report.intact, report.writers) == (True, 2)


async def killed(mongo_uri: str, folder: Path, database: str) -> None:
    """Have a process store five events and die."""
    async with opened(mongo_uri, folder, database, closed=False) as log:
        await log.write(2)
        await log.parts.chain.anchor()
        await log.write(3)


def leavings(log: Log) -> Leavings:
    return Leavings(log.parts.database, log.keyring, log.parts.leavings._anchors)


async def test_what_a_dead_process_left_is_anchored_by_another_one(
    mongo_uri: str, tmp_path: Path, database_name: str
) -> None:
    await killed(mongo_uri, tmp_path, database_name)
    async with opened(mongo_uri, tmp_path, database_name) as log:
        (tail,) = (await log.verified()).unanchored
        assert (tail.first, tail.last) == (3, 5)
        assert await leavings(log).once() == 0  # it may live: its last event is young
        assert await leavings(log).once(after=0) == 1
        report = await log.verified()
        assert (report.intact, report.unanchored) == (True, [])
        newest = await log.newest()
        assert (newest.kind, newest.n, newest.count) == (Kind.LEFT, 5, 5)
        assert await leavings(log).once(after=0) == 0


async def test_what_a_dead_process_left_is_not_anchored_if_it_was_tampered_with(
    mongo_uri: str, tmp_path: Path, database_name: str
) -> None:
    await killed(mongo_uri, tmp_path, database_name)
    async with opened(mongo_uri, tmp_path, database_name) as log:
        await log.events.delete_one({"chain.n": 4})
        assert await leavings(log).once(after=0) == 0
        assert await log.found() == [("removed", 4, 4)]


async def test_verification_since_an_instant_trusts_what_was_anchored_before(log: Log) -> None:
    anchors = [Anchor.read(row) async for row in log.anchors.find().sort("_id", 1)]
    await log.events.delete_one({"chain.n": 2})
    await log.events.delete_one({"chain.n": 7})
    assert anchors[3]
    since = moment(anchors[3].at + 1_000)
    assert await log.found(since=since) == [("removed", 7, 7)]
    assert await log.found() == [("removed", 2, 2), ("removed", 7, 7)]


async def test_another_keyring_verifies_nothing(log: Log, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    report = await verified(log.parts.database, Keyring.open(tmp_path / "other" / "keyring.json"))
    assert report.events == 0
    assert not report.intact
