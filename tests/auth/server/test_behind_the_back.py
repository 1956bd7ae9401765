"""Rows that pass, changed by whoever writes to MongoDB: a grant, a code, a session, a launch context open nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.database import Database

from fhir_server.app import keyring_of
from fhir_server.auth.accounts.sessions import SESSIONS, Sessions, digest
from fhir_server.auth.server.launches import LAUNCHES, Launch, Launches
from fhir_server.auth.server.vault import CODES, GRANTS, MARK, REVOKED, Vault
from fhir_server.store.numbers import EPOCHS, REVOCATIONS
from tests.auth.server.apps import App, Desk

Json = dict[str, Any]
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def raw(desk: Desk) -> Iterator[Database[Json]]:
    with MongoClient[Json](desk.uri, tz_aware=True) as mongo:
        yield mongo[desk.server.settings.database]


def newest(raw: Database[Json], app: App) -> Json:
    """Return the row of an app's last grant."""
    return raw[GRANTS].find({"client": app.client.id}).sort("until", -1).limit(1)[0]


def refused(app: App, token: str) -> bool:
    return bool(app.refresh(token).json().get("error") == "invalid_grant")


@pytest.mark.parametrize("change", [
    {"$set": {"client": "another"}}, {"$set": {"account": "another"}}, {"$set": {"session": "another"}},
    {"$set": {"revoked": 0}}, {"$inc": {"turn": 1}}, {"$unset": {MARK: ""}}, {"$set": {MARK: bytes(32)}},
    {"$set": {MARK: "x"}},
])  # fmt: skip
def test_a_grant_of_which_something_was_changed_brings_no_tokens(
    public_app: App, raw: Database[Json], change: Json, caplog: pytest.LogCaptureFixture
) -> None:
    token = public_app.signed_in()["refresh_token"]
    row = newest(raw, public_app)
    raw[GRANTS].update_one({"_id": row["_id"]}, change)
    assert refused(public_app, token)
    assert f"{GRANTS}/{row['_id']} was changed behind the server's back" in caplog.text
    raw[GRANTS].replace_one({"_id": row["_id"]}, row)
    assert public_app.refresh(token).status_code == 200


def test_a_revocation_is_not_undone(public_app: App, raw: Database[Json]) -> None:
    said = public_app.signed_in()
    before = newest(raw, public_app)
    data = {"token": said["refresh_token"], **public_app.proof()}
    assert public_app.desk.post("revoke", data).status_code == 200
    assert public_app.desk.read(said["access_token"]) == 401
    raw[GRANTS].update_one({"_id": before["_id"]}, {"$set": {"revoked": False}})
    assert refused(public_app, said["refresh_token"])
    # Who has seen it revoked does not believe the row as it was before either.
    raw[GRANTS].update_one({"_id": before["_id"]}, {"$set": {"revoked": True}})
    assert refused(public_app, said["refresh_token"])
    raw[GRANTS].replace_one({"_id": before["_id"]}, before)
    assert refused(public_app, said["refresh_token"])
    raw[REVOKED].delete_many({"_id": f"grant:{before['_id']}"})
    raw[EPOCHS].update_one({"_id": REVOCATIONS}, {"$inc": {"n": 1}})
    assert public_app.desk.read(said["access_token"]) == 401


def test_a_refresh_token_does_not_come_back_with_the_turn(public_app: App, raw: Database[Json]) -> None:
    first = public_app.signed_in()["refresh_token"]
    before = newest(raw, public_app)
    second = public_app.refresh(first).json()["refresh_token"]
    raw[GRANTS].update_one({"_id": before["_id"]}, {"$set": {"turn": before["turn"]}})
    assert refused(public_app, first)
    raw[GRANTS].update_one({"_id": before["_id"]}, {"$set": {"turn": before["turn"] + 1}})
    assert public_app.refresh(second).status_code == 200
    raw[GRANTS].replace_one({"_id": before["_id"]}, before)  # whole, with its mark
    assert refused(public_app, first)


def test_a_used_code_stays_used(public_app: App, raw: Database[Json]) -> None:
    code = public_app.code()
    assert public_app.redeem(code).status_code == 200
    name = Vault(keyring_of(public_app.desk.server.settings)).name("code", code)
    assert raw[CODES].update_one({"_id": name}, {"$set": {"used": False}}).modified_count == 1
    assert public_app.redeem(code).json()["error"] == "invalid_grant"


def with_vault(desk: Desk, work: Callable[[AsyncDatabase[Json], Vault], Awaitable[None]]) -> None:
    async def run() -> None:
        client: AsyncMongoClient[Json] = AsyncMongoClient(desk.uri, tz_aware=True)
        try:
            await work(client[desk.server.settings.database], Vault(keyring_of(desk.server.settings)))
        finally:
            await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("name", ["account", "at", "factors", "until", MARK])
def test_a_session_stands_for_whom_it_was_begun_for_as_long_as_it_was(
    desk: Desk, raw: Database[Json], name: str
) -> None:
    other = {
        "account": "another",
        "at": 1,
        "factors": ["mfa"],
        "until": NOW + timedelta(days=1),
        MARK: bytes(32),
    }

    async def work(database: AsyncDatabase[Json], vault: Vault) -> None:
        sessions = Sessions(database, vault, lambda: NOW, minutes=10)
        cookie, session = await sessions.begin("li", frozenset({"pwd"}))
        assert await sessions.of(cookie) == session
        raw[SESSIONS].update_one({"_id": session.id}, {"$set": {name: other[name]}})
        assert await sessions.of(cookie) is None

    with_vault(desk, work)


def test_a_launch_context_does_not_last_longer_than_it_was_made_for(desk: Desk, raw: Database[Json]) -> None:
    async def work(database: AsyncDatabase[Json], vault: Vault) -> None:
        now = NOW
        launches = Launches(database, vault, lambda: now)
        launch = Launch("org1", "Practitioner/li", patient="p")
        kept = await launches.add(launch)
        assert await launches.take(kept) == launch
        late = await launches.add(launch)
        raw[LAUNCHES].update_one({"_id": digest(late)}, {"$set": {"until": NOW + timedelta(days=9)}})
        now += timedelta(minutes=6)
        assert await launches.take(late) is None

    with_vault(desk, work)
