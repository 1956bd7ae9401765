"""Refusals of nobody known do not fill the log: the first is an event at once, how many more came is another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect
from typer.testing import CliRunner

from fhir_server.app import assemble, keyring_of
from fhir_server.audit.event import Happening, Outcome
from fhir_server.audit.gathering import Gathering
from fhir_server.audit.where import Addressed, address
from fhir_server.cli import app
from fhir_server.fhir_json import parse
from tests.live import live

BAD = Happening("read", Outcome.REFUSED, 401, note="login")
Written = list[tuple[str, str | None, int]]


def gathering(*, lasting: float = 60, failing: int = 0) -> tuple[Gathering, Written]:
    """Return one that writes to a list: address, note and instant. failing: how many first writes fail."""
    written: Written = []
    left = [failing]

    async def write(happening: Happening, at: int) -> None:
        if left[0]:
            left[0] -= 1
            raise AutoReconnect
        written.append((address(), happening.note, at))

    return Gathering(write, lasting=lasting), written


async def of(source: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do something for a request that comes from an address."""

    async def within(*_: Any) -> None:
        await work()

    await asyncio.create_task(Addressed(within)({"type": "http", "client": (source, 1)}, None, None))  # type: ignore[arg-type]


def test_of_each_address_the_first_is_written_at_once_and_the_others_are_counted() -> None:
    async def run() -> None:
        made, written = gathering()
        for at in range(1, 4):
            for source in ("10.0.0.1", "10.0.0.2"):
                await of(source, lambda at=at: made.record(BAD, at=at))  # type: ignore[misc]
        assert written == [("10.0.0.1", "login", 1), ("10.0.0.2", "login", 1)]
        await made.settle()
        assert written[2:] == [(each, "login 2 more within a minute", 3) for each in ("10.0.0.1", "10.0.0.2")]
        await made.settle()
        assert len(written) == 4

    asyncio.run(run())


def test_the_next_minute_begins_with_an_event_and_tells_of_the_one_before() -> None:
    async def run() -> None:
        made, written = gathering(lasting=0)
        for at in range(1, 4):
            await made.record(BAD, at=at)
        assert [note for _, note, _ in written] == ["login"] * 3
        made, written = gathering(lasting=3_600)
        for at in range(1, 4):
            await made.record(BAD, at=at)
        made._lasting = 0
        await made.record(BAD, at=9)
        assert [(note, at) for _, note, at in written] == [
            ("login", 1),
            ("login", 9),
            ("login 2 more within a minute", 3),
        ]

    asyncio.run(run())


def test_what_could_not_be_written_is_not_taken_for_the_first() -> None:
    async def run() -> None:
        made, written = gathering(failing=1)
        with pytest.raises(AutoReconnect):
            await made.record(BAD, at=1)
        await made.record(BAD, at=2)
        assert [at for *_, at in written] == [2]

    asyncio.run(run())


def test_other_kinds_are_not_counted_together() -> None:
    async def run() -> None:
        made, written = gathering()
        for note in ("password", "waiting", "password"):
            await made.record(Happening("sign-in", Outcome.REFUSED, 401, note=note), at=1)
        assert [note for _, note, _ in written] == ["password", "waiting"]

    asyncio.run(run())


def test_who_sends_bad_tokens_without_end_leaves_two_events(
    mongo_uri: str, database_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with live(mongo_uri, tmp_path, database=database_name) as server:
        with server.bearing("nonsense") as stranger:
            assert {stranger.get("Patient/x").status_code for _ in range(30)} == {401}
        settings = server.settings
    with MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        stored = list(client[database_name]["AuditEvent"].find().sort("chain.n"))

    async def opened() -> list[Any]:
        parts = assemble(settings, keyring_of(settings), uri=mongo_uri)
        try:
            return [parse(each) for each in await parts.services.resources.opened("AuditEvent", stored)]
        finally:
            await parts.client.close()

    found = asyncio.run(opened())
    assert [each["outcomeDesc"] for each in found] == ["HTTP 401 login", "HTTP 401 login 29 more within a minute"]
    assert {each["agent"][1]["network"]["address"] for each in found} == {"127.0.0.1"}
    for name, value in {"DATA": tmp_path, "MONGODB_URI": mongo_uri, "DATABASE": database_name, "ZONE": "UTC"}.items():
        monkeypatch.setenv(f"FHIR_{name}", str(value))
    assert CliRunner().invoke(app, ["audit", "verify"]).exit_code == 0
