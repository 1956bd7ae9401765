"""Events are kept as long as they must be; what is removed then leaves a signed note, so that the log still verifies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fhir_server.audit.anchors import Kind
from fhir_server.audit.expiring import Expiry, Tampered
from fhir_server.settings import Settings, SettingsError
from fhir_server.store.instants import microseconds
from tests.audit.logs import Log, opened

pytestmark = pytest.mark.anyio
DAYS = 200


@pytest.fixture
async def log(log: Log) -> Log:
    """Two stretches of three events, each anchored; two events that are not."""
    for _ in range(2):
        await log.write(3)
        await log.parts.chain.anchor()
    await log.write(2)
    return log


def expiry(log: Log, *, later: int) -> Expiry:
    """Return an expiry so many days from now."""
    now = datetime.now(UTC) + timedelta(days=later)
    return Expiry(log.parts.database, log.keyring, log.parts.leavings._anchors, days=DAYS, now=now)


async def numbers(log: Log) -> list[int]:
    return [each["chain"]["n"] for each in await log.chained()]


async def test_nothing_is_removed_before_its_time(log: Log) -> None:
    assert await expiry(log, later=DAYS - 1).run() == 0
    assert await numbers(log) == list(range(1, 9))


async def test_what_is_older_is_removed_as_far_as_it_is_anchored(log: Log) -> None:
    assert await expiry(log, later=DAYS + 1).run() == 6
    assert await numbers(log) == [7, 8]
    newest = await log.newest()
    assert (newest.kind, newest.n) == (Kind.EXPIRED, 6)
    await log.write(1)
    await log.parts.chain.anchor()
    report = await log.verified()
    assert (report.intact, report.events, report.expired) == (True, 3, 6)
    await log.events.delete_one({"chain.n": 7})
    assert await log.found() == [("removed", 7, 7)]


async def test_a_young_event_keeps_its_stretch_and_all_behind_it(log: Log) -> None:
    young = microseconds(datetime.now(UTC) + timedelta(days=30))
    await log.record(9, at=young)
    await log.parts.chain.anchor()
    assert await expiry(log, later=DAYS + 1).run() == 6
    assert await numbers(log) == [7, 8, 9]


async def test_a_removal_that_was_broken_off_verifies_and_goes_on(log: Log) -> None:
    kept = await log.events.find({"chain.n": {"$in": [2, 5]}}).to_list()
    await expiry(log, later=DAYS + 1).run()
    await log.events.insert_many(kept)
    assert (await log.verified()).intact
    assert await expiry(log, later=DAYS + 1).run() == 2
    assert (await log.verified()).intact
    assert await numbers(log) == [7, 8]


async def test_nothing_is_removed_from_a_log_whose_anchors_do_not_verify(log: Log) -> None:
    await log.anchors.update_one({"_id": 2}, {"$set": {"n": 8}})
    with pytest.raises(Tampered):
        await expiry(log, later=DAYS + 1).run()
    assert await numbers(log) == list(range(1, 9))


async def test_events_from_before_the_chain_are_removed_too(log: Log, mongo_uri: str, tmp_path: Path) -> None:
    await log.events.update_many({}, {"$unset": {"chain": ""}})
    await log.anchors.drop()
    async with opened(mongo_uri, tmp_path, log.parts.database.name) as upgraded:
        await upgraded.record(1, at=microseconds(datetime.now(UTC) + timedelta(days=30)))
        await upgraded.parts.chain.anchor()
        assert await expiry(upgraded, later=DAYS + 1).run() == 8
        report = await upgraded.verified()
        assert (report.intact, report.before, report.events) == (True, 0, 1)


@pytest.mark.parametrize("days", [0, 182])
def test_the_log_is_kept_for_half_a_year_at_least(tmp_path: Path, days: int) -> None:
    with pytest.raises(SettingsError, match="audit_retention_days"):
        Settings.load(tmp_path, audit_retention_days=days)
    assert Settings.load(tmp_path).audit_retention_days >= 30 * 365
