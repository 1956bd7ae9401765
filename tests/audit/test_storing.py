"""What cannot be stored leaves no hole that looks like a removal, and nothing is disclosed without its event."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from fhir_server.audit.anchors import Kind
from fhir_server.audit.event import Happening
from fhir_server.errors import Conflict
from fhir_server.reindexing.refiling import refile
from fhir_server.store.commit import Unit
from tests.audit.logs import DOCTOR, Log, opened

pytestmark = pytest.mark.anyio
REFUSING = {"_id": "of no event"}  # a validator that lets nothing in


async def unit_of_event(log: Log, **other: Any) -> Unit:
    unit, use = Unit(), log.parts.services
    await use.audit.add(Happening("read"), DOCTOR, unit, at=use.now())
    unit.inserts["AuditEvent"][0].update(other)
    return unit


async def commit(log: Log, *units: Unit) -> list[type[Any]]:
    """Store units together; return what kind of answer each got."""
    committer = log.parts.services.committer
    found = await asyncio.gather(*(committer.commit(unit) for unit in units), return_exceptions=True)
    return [type(each) for each in found]


async def numbers(log: Log) -> list[int]:
    return [each["chain"]["n"] for each in await log.chained()]


async def kinds(log: Log) -> list[str]:
    return [row["kind"] async for row in log.anchors.find().sort("_id", 1)]


async def refuse(log: Log, validator: dict[str, Any]) -> None:
    await log.parts.database.command("collMod", "AuditEvent", validator=validator)


async def test_what_lost_against_another_write_gives_its_number_back(log: Log) -> None:
    await log.write(2)
    taken = (await log.event(1))["_id"]
    await log.parts.database.create_collection("other")
    lost = await unit_of_event(log, _id=taken)
    lost.insert("other", {"_id": 1})
    assert await commit(log, lost) == [Conflict]
    assert await commit(log, await unit_of_event(log, _id=taken)) == [Conflict]
    await log.write(1)
    await log.parts.chain.anchor()
    assert await numbers(log) == [1, 2, 3]
    assert (await log.verified()).intact
    assert Kind.VOID not in await kinds(log)


async def test_of_a_round_the_numbers_that_were_not_stored_are_declared_void(log: Log) -> None:
    await log.write(2)
    taken = (await log.event(1))["_id"]
    units = [await unit_of_event(log), await unit_of_event(log, _id=taken), await unit_of_event(log)]
    assert await commit(log, *units) == [type(None), Conflict, type(None)]
    await log.write(2)
    await log.parts.chain.anchor()
    assert await numbers(log) == [1, 2, 3, 5, 6, 7]
    assert [row["ranges"] async for row in log.anchors.find({"kind": Kind.VOID})] == [[[4, 4]]]
    assert (await log.verified()).intact
    await log.events.delete_one({"chain.n": 5})
    assert await log.found() == [("removed", 5, 5)]


async def test_what_was_declared_void_and_came_in_late_is_genuine(log: Log) -> None:
    await log.write(1)
    unit = await unit_of_event(log)
    (document,) = unit.inserts["AuditEvent"]
    chain = log.parts.chain
    await chain.begin([document])
    chain.doubt([document])  # as when the connection broke
    await log.write(1)
    assert await numbers(log) == [1, 3]
    await log.events.insert_one(document)
    await log.write(1)
    await chain.anchor()
    report = await log.verified()
    assert (report.intact, report.events) == (True, 4)
    await log.events.update_one({"chain.n": 2}, {"$set": {"org": "org2"}})
    assert await log.found() == [("changed", 2, 2)]


async def test_what_was_stored_although_nobody_knew_it_stays_in_the_chain(log: Log) -> None:
    await log.write(1)
    units = [await unit_of_event(log) for _ in range(3)]
    documents = [unit.inserts["AuditEvent"][0] for unit in units]
    chain = log.parts.chain
    await chain.begin(documents)
    await log.events.insert_many(documents[:2])
    chain.doubt(documents)
    await log.write(1)
    await chain.anchor()
    assert await numbers(log) == [1, 2, 3, 5]
    assert (await log.verified()).intact
    assert (await log.newest()).count == 4


async def test_units_of_several_writes_are_chained_with_the_others(log: Log) -> None:
    await log.parts.database.create_collection("other")
    units = [await unit_of_event(log) for _ in range(4)]
    for n, unit in enumerate(units[:2]):
        unit.insert("other", {"_id": n})
    assert await commit(log, *units) == [type(None)] * 4
    await log.parts.chain.anchor()
    report = await log.verified()
    assert (report.intact, report.events) == (True, 4)


async def test_a_store_that_refuses_events_is_no_conflict_of_the_client(log: Log) -> None:
    await log.write(1)
    await refuse(log, REFUSING)
    for unit in (await unit_of_event(log), await unit_of_event(log)):
        with pytest.raises(PyMongoError):
            await log.parts.services.committer.commit(unit)
    await refuse(log, {})
    await log.write(1)
    await log.parts.chain.anchor()
    assert await numbers(log) == [1, 2]
    assert (await log.verified()).intact


async def test_nothing_is_stored_if_the_anchors_refuse_the_writer(log: Log) -> None:
    await log.parts.database.create_collection("audit_anchors", validator=REFUSING)
    with pytest.raises(PyMongoError):
        await log.write(1)
    assert await numbers(log) == []


async def test_filing_anew_leaves_the_chain_as_it_is(log: Log) -> None:
    await log.write(3)
    await log.parts.chain.anchor()
    await log.events.update_many({}, {"$set": {"ix": []}})
    use = log.parts.services
    assert [each.seen async for each in refile(log.parts.database, use, "AuditEvent", 7)] == [3]
    report = await log.verified(refile=use.audit.filed_under)
    assert (report.intact, report.events) == (True, 3)


async def unchained(log: Log, count: int) -> None:
    """Have events stored as they were before there was a chain."""
    await log.write(count)
    await log.events.update_many({}, {"$unset": {"chain": ""}})
    await log.anchors.drop()


async def test_events_from_before_the_chain_are_counted_when_it_begins(log: Log, mongo_uri: str, tmp_path: Any) -> None:
    await unchained(log, 4)
    async with opened(mongo_uri, tmp_path, log.parts.database.name) as upgraded:
        await upgraded.write(2)
        await upgraded.parts.chain.anchor()
        report = await upgraded.verified()
        assert (report.intact, report.before, report.events) == (True, 4, 2)
        old = await upgraded.events.find_one({"chain": {"$exists": False}})
        await upgraded.events.update_one({"_id": old["_id"]}, {"$set": {"at": old["at"] - 1_000}})
        (finding, *_) = (await upgraded.verified()).findings
        assert (finding.kind, finding.ids) == ("changed", (old["_id"],))
        await upgraded.events.delete_one({"_id": old["_id"]})
        assert await upgraded.found() == [("removed", 0, 0)]
