"""A backup is the database as it was at one instant, and nothing else, whoever wrote meanwhile and whoever was killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from fhir_server.backup import making, manifest, parts, restoring
from fhir_server.backup.changes import BACKUPS
from fhir_server.backup.making import back_up
from fhir_server.backup.manifest import PROGRESS, BackupError
from fhir_server.backup.purged import Purged
from fhir_server.backup.reading import verify
from fhir_server.backup.restoring import restore
from fhir_server.crypto import files
from fhir_server.crypto.keyfile import KeyFile, Secrets
from fhir_server.crypto.keyring import Keyring
from fhir_server.store.embedded import running
from fhir_server.store.installation import WrongInstallation, claim
from fhir_server.store.keys import KEYS
from tests.backup.conftest import Client, Place
from tests.backup.stock import Turns, content, indexes, stocked, turns, writing

pytestmark = pytest.mark.anyio


async def test_a_restored_database_is_the_one_that_was_backed_up(place: Place) -> None:
    await place.stock()
    made = await place.back_up()
    assert place.backup().manifest == made
    assert verify(place.backup(), place.keyring).keys == 20
    assert await place.restore() == 0
    assert await content(place.target) == await content(place.source)
    assert await indexes(place.target) == await indexes(place.source)


@pytest.mark.parametrize("most", [30, 50_000])
async def test_writes_go_on_and_the_backup_is_of_one_instant(
    place: Place, small: None, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(making, "MOST", most)
    seen = list[int]()
    await place.stock()
    async with writing(place.client, place.source) as done:
        before = await _after(done, 10)
        made = await place.back_up(progress=lambda count: seen.append(len(done)))
        after = len(done) + 1  # one may be durable and not counted yet
        await _after(done, after + 2)
    assert len({*seen}) > 1  # writes went on between the readings
    assert {each.collection for each in made.parts if each.kind == "changes"} >= {"Left", "Right", "Fresh"}
    await place.restore()
    assert before <= await turns(place.target) <= after


async def _after(done: Turns, count: int) -> int:
    await done.reach(count)
    return len(done)


def _killed_at(number: int, work: Callable[[Client], Any], uri: str) -> None:
    """Do the work in this process, which is killed right after its write of this number, before it is noted as done."""
    count = 0

    def one_more() -> None:
        nonlocal count
        count += 1
        if count >= number:
            os.kill(os.getpid(), signal.SIGKILL)

    def to_folder(path: Path, content: bytes) -> None:
        files.written(path, content)
        one_more()

    store = restoring._store

    async def to_database(*given: Any) -> None:
        await store(*given)
        one_more()

    parts.written = manifest.written = to_folder  # type: ignore[attr-defined]
    restoring._store = to_database

    async def run() -> None:
        async with AsyncMongoClient[dict[str, Any]](uri, tz_aware=True) as client:
            await work(client)

    asyncio.run(run())


async def _killed_again_and_again(work: Callable[[Client], Any], uri: str, *, step: int) -> int:
    """Start the work until it ends by itself, each time killed a few writes on; return how often it was killed."""
    context, killed = multiprocessing.get_context("fork"), 0
    while True:
        process = context.Process(target=_killed_at, args=(step, work, uri))
        process.start()
        await asyncio.to_thread(process.join, 60)
        if process.exitcode != -signal.SIGKILL:
            assert process.exitcode == 0
            return killed
        killed += 1
        assert killed < 200


async def test_killed_again_and_again_both_go_on(place: Place, mongo_uri: str, small: None) -> None:
    source, target, keyring = place.source.name, place.target.name, place.keyring
    await place.stock()
    async with writing(place.client, place.source) as done:
        before = await _after(done, 5)
        killed = await _killed_again_and_again(
            lambda own: back_up(own, own[source], place.folder, keyring), mongo_uri, step=9
        )
        after = len(done) + 1
    assert killed > 2
    backup, folders = place.backup(), [place.folder / name for name in ("records", "keys")]
    on_disk = {f"{folder.name}/{path.name}" for folder in folders for path in folder.iterdir()}
    assert on_disk == {each.file for each in backup.manifest.parts}  # nothing of what was broken off is left
    assert not (place.folder / PROGRESS).exists()
    killed = await _killed_again_and_again(
        lambda own: restore(own[target], backup, keyring, Purged()), mongo_uri, step=5
    )
    assert killed > 2
    assert before <= await turns(place.target) <= after
    assert await place.target[KEYS].count_documents({}) == 20


async def test_no_server_starts_on_what_is_half_restored(place: Place, tmp_path: Path) -> None:
    await place.stock()
    last = place.folder / (await place.back_up()).parts[-1].file
    last.rename(tmp_path / "missing")
    with pytest.raises(BackupError, match="cannot be read"):
        await place.restore()
    with pytest.raises(WrongInstallation, match="restore"):
        await claim(place.target, keyring=place.keyring.fingerprint, zone="UTC")
    (tmp_path / "missing").rename(last)
    await place.restore()
    await claim(place.target, keyring=place.keyring.fingerprint, zone="UTC")


async def test_nothing_is_restored_over_what_is_there_or_under_another_keyring(place: Place, tmp_path: Path) -> None:
    await place.stock()
    await place.back_up()
    before = await content(place.source)
    with pytest.raises(BackupError, match="not empty"):
        await restore(place.source, place.backup(), place.keyring, Purged())
    assert await content(place.source) == before
    with pytest.raises(BackupError, match="of the keyring"):
        type(place.backup()).open(place.folder, Keyring.open(tmp_path / "other.json"), None)
    path = tmp_path / "keyring.json"
    KeyFile(path).change(Secrets.rotated)
    KeyFile(path).change(lambda found: found.without(frozenset(found.older)))
    with pytest.raises(BackupError, match="master keys"):
        await place.restore()
    assert await place.target.list_collection_names() == []


async def test_a_folder_that_is_taken_is_refused_and_left_as_it_is(place: Place) -> None:
    await place.stock(10)
    place.folder.mkdir()
    (place.folder / "file").write_text("something else")
    with pytest.raises(BackupError, match="not empty"):
        await place.back_up()
    (place.folder / "file").unlink()
    await place.back_up()
    with pytest.raises(BackupError, match="finished"):
        await place.back_up()


async def test_a_dropped_collection_spoils_it_and_is_said(place: Place, small: None) -> None:
    await place.stock(10)
    with pytest.raises(KeyError):
        await place.back_up(progress=_broken_off)
    await place.source.drop_collection("Left")
    with pytest.raises(BackupError, match="dropped"):
        await place.back_up()


def _broken_off(count: int) -> None:
    raise KeyError


async def test_the_database_knows_which_master_keys_a_backup_needs(place: Place) -> None:
    await place.stock(10)
    with pytest.raises(KeyError):
        await place.back_up(progress=_broken_off)
    begun = await place.source[BACKUPS].find_one()
    assert begun is not None
    assert begun["masters"] == list(place.keyring.custody.masters())
    made = await place.back_up()
    assert (await place.source[BACKUPS].find_one({"_id": made.id}) or {})["as_of"] == made.as_of
    await place.restore()
    known = await place.target[BACKUPS].find().to_list()
    assert [(each["_id"], each["masters"]) for each in known] == [(made.id, begun["masters"])]


async def test_a_mongodb_that_was_just_started_again_is_backed_up(keyring: Keyring, tmp_path: Path) -> None:
    """For a while it tells no time of the cluster."""
    with running(tmp_path / "var", cache_gb=0.25) as uri:
        async with AsyncMongoClient[dict[str, Any]](uri) as client:
            await stocked(client["fhir"], keyring, size=10)
    with running(tmp_path / "var", cache_gb=0.25) as uri:
        async with AsyncMongoClient[dict[str, Any]](uri) as client:
            assert (await back_up(client, client["fhir"], tmp_path / "backup", keyring)).finished
