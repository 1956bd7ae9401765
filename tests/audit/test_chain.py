"""Whatever is done to the audit log behind the server's back is found and named."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from bson import Int64

from fhir_server.audit.anchors import Kind
from fhir_server.audit.links import START
from fhir_server.store.ids import new_id
from tests.audit.logs import Json, Log

pytestmark = pytest.mark.anyio
EVENTS = 9

Tamper = Callable[[Log], Awaitable[object]]


@pytest.fixture
async def log(log: Log) -> Log:
    """The log with nine events, anchored."""
    await log.write(EVENTS - 2)
    await log.write(2, together=False)
    await log.parts.chain.anchor()
    return log


async def test_a_log_that_nobody_touched_is_intact(log: Log) -> None:
    report = await log.verified()
    assert (report.intact, report.events, report.before, report.writers) == (True, EVENTS, 0, 1)
    assert report.unanchored == []
    assert [row["kind"] async for row in log.anchors.find().sort("_id", 1)] == [Kind.BEGUN, Kind.OPENS, Kind.STANDS]


async def test_events_are_numbered_in_the_order_in_which_they_are_stored(log: Log) -> None:
    documents = await log.chained()
    assert [each["chain"]["n"] for each in documents] == list(range(1, EVENTS + 1))
    codes = [each["chain"]["m"] for each in documents]
    assert [each["chain"]["p"] for each in documents] == [START, *codes[:-1]]
    assert len(set(codes)) == EVENTS
    assert {len(each) for each in codes} == {32}


async def test_what_is_not_yet_anchored_is_told_with_its_numbers(log: Log) -> None:
    await log.write(2)
    report = await log.verified()
    assert report.intact
    assert [(each.first, each.last) for each in report.unanchored] == [(EVENTS + 1, EVENTS + 2)]


def flipped(value: bytes, at: int = 20) -> bytes:
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


CHANGES: dict[str, Callable[[Json], Json]] = {
    "whose auditors see it": lambda event: {"org": "org2"},
    "its time": lambda event: {"at": event["at"] - 1},
    "its clinical time": lambda event: {"w.lo": event["w"]["lo"] - 1},
    "its version": lambda event: {"v": 2},
    "its key": lambda event: {"k": Int64(event["k"] ^ 1)},
    "its nonce": lambda event: {"body": flipped(event["body"], 0)},
    "its text": lambda event: {"body": flipped(event["body"])},
    "its tag": lambda event: {"body": flipped(event["body"], -1 + len(event["body"]))},
    "its length": lambda event: {"body": event["body"][:40] + event["body"][41:]},
    "its code": lambda event: {"chain.m": flipped(event["chain"]["m"])},
    "the code before": lambda event: {"chain.p": flipped(event["chain"]["p"])},
    "a field more": lambda event: {"lab": [1]},
    "its type": lambda event: {"org": 5},
}
ENDS = ("whose auditors see it", "its text", "its code")


@pytest.mark.parametrize(
    ("what", "n"), [*((what, 5) for what in CHANGES), *((what, n) for what in ENDS for n in (1, EVENTS))]
)
async def test_a_changed_event_is_named(log: Log, what: str, n: int) -> None:
    event = await log.event(n)
    await log.events.update_one({"_id": event["_id"]}, {"$set": CHANGES[what](event)})
    report = await log.verified()
    (finding,) = report.findings
    assert (finding.kind, finding.first, finding.last, finding.ids) == ("changed", n, n, (event["_id"],))
    assert finding.writer == event["chain"]["by"]


async def test_every_event_changed_is_named_by_itself(log: Log) -> None:
    await log.events.update_many({}, {"$set": {"org": "org2"}})
    assert await log.found() == [("changed", n, n) for n in range(1, EVENTS + 1)]


@pytest.mark.parametrize("gone", [[1], [5], [2, 3, 4], [2, 6], [EVENTS - 1]])
async def test_a_removed_event_is_named_by_its_number(log: Log, gone: list[int]) -> None:
    await log.events.delete_many({"chain.n": {"$in": gone}})
    expected = [(2, 4)] if gone == [2, 3, 4] else [(n, n) for n in gone]
    assert await log.found() == [("removed", first, last) for first, last in expected]


async def test_one_removed_and_its_neighbours_changed_are_all_named(log: Log) -> None:
    await log.events.delete_one({"chain.n": 4})
    await log.events.update_many({"chain.n": {"$in": [3, 5]}}, {"$set": {"org": "org2"}})
    assert await log.found() == [("changed", 3, 3), ("changed", 5, 5), ("removed", 4, 4)]


@pytest.mark.parametrize("n", [0, 5, EVENTS, EVENTS + 1, EVENTS + 5])
async def test_an_inserted_event_is_named(log: Log, n: int) -> None:
    made = await log.event(5)
    made = {**made, "_id": new_id(), "chain": {**made["chain"], "n": n}}
    await log.put(made)
    report = await log.verified()
    (finding,) = report.findings
    assert (finding.ids, finding.kind) == ((made["_id"],), "changed" if n == 0 else "inserted")


async def test_an_event_put_in_the_place_of_another_is_named(log: Log) -> None:
    event = await log.event(5)
    await log.events.delete_one({"_id": event["_id"]})
    await log.put({**event, "_id": new_id()})
    assert await log.found() == [("changed", 5, 5)]


@pytest.mark.parametrize("chain", ["x", 5, [], [{"by": "x", "n": 1}], {"by": 7}, {"by": "x", "n": "y"}, {}])
async def test_an_event_with_a_chain_that_is_none_is_named_and_leaves_a_gap(log: Log, chain: Any) -> None:
    event = await log.event(5)
    await log.events.update_one({"_id": event["_id"]}, {"$set": {"chain": chain}})
    findings = (await log.verified()).findings
    assert ("removed", 5, 5) in [(each.kind, each.first, each.last) for each in findings]
    assert any(each.ids == (event["_id"],) for each in findings)


@pytest.mark.parametrize("n", [5.0, "5", None, 2**63 - 1, -3])
async def test_a_number_that_is_none_is_named(log: Log, n: Any) -> None:
    event = await log.event(5)
    await log.events.update_one({"_id": event["_id"]}, {"$set": {"chain.n": n}})
    findings = (await log.verified()).findings
    assert [each.kind for each in findings if each.ids == (event["_id"],)] == ["reordered"]
    assert len(findings) == 1


async def swap(log: Log, first: int, second: int, *fields: str) -> None:
    """Exchange what chains two events, or fields of it."""
    one, other = await log.event(first), await log.event(second)
    names = fields or tuple(one["chain"])
    for each, theirs in ((one, other), (other, one)):
        await log.put({**each, "chain": each["chain"] | {name: theirs["chain"][name] for name in names}})


@pytest.mark.parametrize("fields", [(), ("n",)])
@pytest.mark.parametrize(("first", "second"), [(3, 4), (1, EVENTS)])
async def test_reordered_events_are_named(log: Log, first: int, second: int, fields: tuple[str, ...]) -> None:
    await swap(log, first, second, *fields)
    assert await log.found() == [("reordered", first, first), ("reordered", second, second)]


async def test_an_event_that_was_moved_to_the_end_is_named(log: Log) -> None:
    event = await log.event(3)
    await log.events.update_one({"_id": event["_id"]}, {"$set": {"chain.n": EVENTS + 1}})
    report = await log.verified()
    assert [(each.kind, each.first, each.ids) for each in report.findings] == [
        ("reordered", EVENTS + 1, (event["_id"],))
    ]


async def test_bodies_that_were_exchanged_are_named(log: Log) -> None:
    one, other = await log.event(3), await log.event(4)
    await log.put({**one, "body": other["body"]})
    await log.put({**other, "body": one["body"]})
    assert await log.found() == [("changed", 3, 3), ("changed", 4, 4)]


@pytest.mark.parametrize("count", [1, 4, EVENTS])
async def test_a_truncated_chain_is_named(log: Log, count: int) -> None:
    await log.events.delete_many({"chain.n": {"$gt": EVENTS - count}})
    assert await log.found() == [("truncated", EVENTS - count + 1, EVENTS)]


async def test_what_was_cut_off_before_it_was_anchored_is_named_once_the_process_anchors(log: Log) -> None:
    await log.write(3)
    await log.events.delete_many({"chain.n": {"$gt": EVENTS + 1}})
    assert (await log.verified()).intact  # nobody could tell
    await log.parts.chain.anchor()
    assert await log.found() == [("truncated", EVENTS + 2, EVENTS + 3)]


async def test_an_event_without_its_chain_is_named_and_missing(log: Log) -> None:
    event = await log.event(8)
    await log.events.update_one({"_id": event["_id"]}, {"$unset": {"chain": ""}})
    report = await log.verified()
    assert [(each.kind, each.first, each.ids) for each in report.findings] == [
        ("removed", 8, ()),
        ("changed", 0, (event["_id"],)),
    ]


async def test_events_of_a_writer_that_no_anchor_knows_are_named(log: Log) -> None:
    event = await log.event(5)
    await log.put({**event, "_id": new_id(), "chain": event["chain"] | {"by": "0123456789abcdef", "n": 1}})
    report = await log.verified()
    assert sorted((str(each.target), str(each.kind)) for each in report.findings) == [
        ("anchor", "removed"),
        ("event", "inserted"),
    ]


async def test_what_an_event_is_found_by_is_compared_if_asked(log: Log) -> None:
    event = await log.event(5)
    refile = log.parts.services.audit.filed_under
    assert (await log.verified(refile=refile)).intact
    await log.events.update_one({"_id": event["_id"]}, {"$set": {"ix": []}})
    assert (await log.verified()).intact
    (finding,) = (await log.verified(refile=refile)).findings
    assert (finding.kind, finding.ids) == ("misfiled", (event["_id"],))


async def test_progress_counts_every_event(log: Log) -> None:
    seen: list[int] = []
    await log.verified(progress=seen.append)
    assert sum(seen) == EVENTS
