"""A backup is the database as it was at one instant, and nothing else, whoever wrote meanwhile and whoever was killed."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from fhir_server.backup import making, manifest, parts, restoring
from fhir_server.backup.changes import BACKUPS
from fhir_server.backup.making import back_up
from fhir_server.backup.manifest import MANIFEST, PROGRESS, BackupError
from fhir_server.backup.purged import Purged, listed
from fhir_server.backup.reading import Backup, verify, without_keys
from fhir_server.backup.restoring import restore
from fhir_server.crypto import files
from fhir_server.crypto.keyfile import KeyFile, Secrets
from fhir_server.crypto.keyring import Keyring
from fhir_server.store.installation import WrongInstallation, claim
from fhir_server.store.keys import KEYS
from tests.backup.stock import Turns, content, indexes, stocked, turns, wrapped, writing

Client = AsyncMongoClient[dict[str, Any]]
PASSPHRASE = "a passphrase of the operator"
NOTHING = Purged()
pytestmark = pytest.mark.anyio


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and rounds so small that a little database has many."""
    monkeypatch.setattr(parts, "FULL", 4_000)
    monkeypatch.setattr(making, "TOGETHER", 7)
    monkeypatch.setattr(restoring, "TOGETHER", 7)


async def test_a_restored_database_is_the_one_that_was_backed_up(
    client: Client, database_name: str, elsewhere: str, keyring: Keyring, tmp_path: Path
) -> None:
    source, target = client[database_name], client[elsewhere]
    await stocked(source, keyring)
    made = await back_up(client, source, tmp_path / "backup", keyring)
    backup = Backup.open(tmp_path / "backup", keyring, None)
    assert backup.manifest == made
    assert verify(backup, keyring).keys == 20
    assert await restore(target, backup, keyring, NOTHING) == 0
    assert await content(target) == await content(source)
    assert await indexes(target) == await indexes(source)


@pytest.mark.parametrize("most", [30, 50_000])
async def test_writes_go_on_and_the_backup_is_of_one_instant(
    client: Client, database_name: str, elsewhere: str, keyring: Keyring, tmp_path: Path, small: None,
    monkeypatch: pytest.MonkeyPatch, most: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(making, "MOST", most)
    source, target, seen = client[database_name], client[elsewhere], []
    await stocked(source, keyring)
    async with writing(client, source) as done:
        before = await _after(done, 10)
        made = await back_up(
            client, source, tmp_path / "backup", keyring, progress=lambda count: seen.append(len(done))
        )
        after = len(done) + 1  # one may be durable and not counted yet
        await _after(done, after + 2)
    assert len({*seen}) > 1  # writes went on between the readings
    assert {each.collection for each in made.parts if each.kind == "changes"} >= {"Left", "Right", "Fresh"}
    await restore(target, Backup.open(tmp_path / "backup", keyring, None), keyring, NOTHING)
    assert before <= await turns(target) <= after


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


async def test_killed_again_and_again_both_go_on(
    client: Client, mongo_uri: str, database_name: str, elsewhere: str, keyring: Keyring, tmp_path: Path, small: None
) -> None:
    source, folder = client[database_name], tmp_path / "backup"
    await stocked(source, keyring)
    async with writing(client, source) as done:
        before = await _after(done, 5)
        killed = await _killed_again_and_again(
            lambda own: back_up(own, own[database_name], folder, keyring), mongo_uri, step=9
        )
        after = len(done) + 1
    assert killed > 2
    backup = Backup.open(folder, keyring, None)
    on_disk = {f"{path.parent.name}/{path.name}" for name in ("records", "keys") for path in (folder / name).iterdir()}
    assert on_disk == {each.file for each in backup.manifest.parts}  # nothing of what was broken off is left
    assert not (folder / PROGRESS).exists()
    target = client[elsewhere]
    killed = await _killed_again_and_again(
        lambda own: restore(own[elsewhere], backup, keyring, NOTHING), mongo_uri, step=5
    )
    assert killed > 2
    assert before <= await turns(target) <= after
    assert await target[KEYS].count_documents({}) == 20


async def test_no_server_starts_on_what_is_half_restored(
    client: Client, database_name: str, elsewhere: str, keyring: Keyring, tmp_path: Path
) -> None:
    await stocked(client[database_name], keyring)
    await back_up(client, client[database_name], tmp_path / "backup", keyring)
    backup = Backup.open(tmp_path / "backup", keyring, None)
    (tmp_path / "backup" / backup.manifest.parts[-1].file).rename(tmp_path / "missing")
    with pytest.raises(BackupError, match="cannot be read"):
        await restore(client[elsewhere], backup, keyring, NOTHING)
    with pytest.raises(WrongInstallation, match="restore"):
        await claim(client[elsewhere], keyring=keyring.fingerprint, zone="UTC")
    (tmp_path / "missing").rename(tmp_path / "backup" / backup.manifest.parts[-1].file)
    await restore(client[elsewhere], backup, keyring, NOTHING)
    await claim(client[elsewhere], keyring=keyring.fingerprint, zone="UTC")


async def test_nothing_is_restored_over_what_is_there_or_under_another_keyring(
    client: Client, database_name: str, elsewhere: str, keyring: Keyring, tmp_path: Path
) -> None:
    source, folder = client[database_name], tmp_path / "backup"
    await stocked(source, keyring)
    await back_up(client, source, folder, keyring)
    before = await content(source)
    with pytest.raises(BackupError, match="not empty"):
        await restore(source, Backup.open(folder, keyring, None), keyring, NOTHING)
    assert await content(source) == before
    with pytest.raises(BackupError, match="of the keyring"):
        Backup.open(folder, Keyring.open(tmp_path / "other.json"), None)
    path = tmp_path / "keyring.json"
    KeyFile(path).change(Secrets.rotated)
    KeyFile(path).change(lambda found: found.without(frozenset(found.older)))
    with pytest.raises(BackupError, match="master keys"):
        await restore(client[elsewhere], Backup.open(folder, keyring, None), keyring, NOTHING)
    assert await client[elsewhere].list_collection_names() == []


async def test_the_backup_holds_nothing_in_the_clear_and_no_keyring(
    client: Client, database_name: str, keyring: Keyring, tmp_path: Path
) -> None:
    source, folder = client[database_name], tmp_path / "backup"
    await stocked(source, keyring)
    await source["Left"].insert_one({"_id": "secret", "text": "a word that is stored"})
    made = await back_up(client, source, folder, keyring)
    secrets = KeyFile(tmp_path / "keyring.json").read()
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert len(written) == len(made.parts) + 1
    for said in (b"a word that is stored", secrets.root, *secrets.masters.values()):
        assert not any(said in content for content in written)
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*") if path.is_file())


def _turned(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


DONE_TO: dict[str, Callable[[Path, Path], object]] = {
    "changed": lambda one, other: one.write_bytes(_turned(one.read_bytes())),
    "cut": lambda one, other: one.write_bytes(one.read_bytes()[:-1]),
    "longer": lambda one, other: one.write_bytes(one.read_bytes() + b"\0"),
    "gone": lambda one, other: one.unlink(),
    "exchanged": lambda one, other: one.rename(one.with_name("x")).rename(other),
}
SAID: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "as of another time": lambda said: {**said, "as_of": "2020-01-01T00:00:00+00:00"},
    "a part less": lambda said: {**said, "parts": said["parts"][1:]},
    "another digest": lambda said: {**said, "parts": [{**said["parts"][0], "sm3": "0" * 64}, *said["parts"][1:]]},
}


async def test_whatever_is_done_to_its_files_is_found(
    client: Client, database_name: str, keyring: Keyring, tmp_path: Path, small: None
) -> None:
    source, folder = client[database_name], tmp_path / "backup"
    await stocked(source, keyring, size=30)
    made = await back_up(client, source, folder, keyring)
    for name in (*DONE_TO, *SAID):
        copy = Path(shutil.copytree(folder, tmp_path / name))
        verify(Backup.open(copy, keyring, None), keyring)
        if name in DONE_TO:
            DONE_TO[name](*(copy / each.file for each in made.parts[:2]))
        else:
            said = json.loads((copy / MANIFEST).read_text())
            (copy / MANIFEST).write_text(json.dumps(SAID[name](said)))
        with pytest.raises(BackupError, match=r"changed|cannot be read"):
            verify(Backup.open(copy, keyring, None), keyring)


async def test_under_a_passphrase_it_opens_with_that_alone(
    client: Client, database_name: str, elsewhere: str, keyring: Keyring, tmp_path: Path
) -> None:
    source, folder = client[database_name], tmp_path / "backup"
    await stocked(source, keyring, size=10)
    with pytest.raises(BackupError, match="12"):
        await back_up(client, source, folder, keyring, passphrase="short")
    await back_up(client, source, folder, keyring, passphrase=PASSPHRASE)
    for other in (None, "another passphrase"):
        with pytest.raises(BackupError, match="passphrase"):
            Backup.open(folder, keyring, other)
    await restore(client[elsewhere], Backup.open(folder, keyring, PASSPHRASE), keyring, NOTHING)
    assert await content(client[elsewhere]) == await content(source)


async def test_a_folder_that_is_taken_is_refused_and_left_as_it_is(
    client: Client, database_name: str, keyring: Keyring, tmp_path: Path
) -> None:
    await stocked(client[database_name], keyring, size=10)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("something else")
    with pytest.raises(BackupError, match="not empty"):
        await back_up(client, client[database_name], tmp_path / "taken", keyring)
    await back_up(client, client[database_name], tmp_path / "backup", keyring)
    with pytest.raises(BackupError, match="finished"):
        await back_up(client, client[database_name], tmp_path / "backup", keyring)


async def test_a_dropped_collection_spoils_it_and_is_said(
    client: Client, database_name: str, keyring: Keyring, tmp_path: Path, small: None
) -> None:
    source = client[database_name]
    await stocked(source, keyring, size=10)
    with pytest.raises(KeyError):
        await back_up(client, source, tmp_path / "backup", keyring, progress=_broken_off)
    await source.drop_collection("Left")
    with pytest.raises(BackupError, match="dropped"):
        await back_up(client, source, tmp_path / "backup", keyring)


def _broken_off(count: int) -> None:
    raise KeyError


async def test_the_database_knows_which_master_keys_a_backup_needs(
    client: Client, database_name: str, elsewhere: str, keyring: Keyring, tmp_path: Path
) -> None:
    source = client[database_name]
    await stocked(source, keyring, size=10)
    with pytest.raises(KeyError):
        await back_up(client, source, tmp_path / "backup", keyring, progress=_broken_off)
    begun = await source[BACKUPS].find_one()
    assert begun is not None
    assert begun["masters"] == list(keyring.custody.masters())
    made = await back_up(client, source, tmp_path / "backup", keyring)
    assert (await source[BACKUPS].find_one({"_id": made.id}) or {})["as_of"] == made.as_of
    await restore(client[elsewhere], Backup.open(tmp_path / "backup", keyring, None), keyring, NOTHING)
    known = await client[elsewhere][BACKUPS].find().to_list()
    assert [(each["_id"], each["masters"]) for each in known] == [(made.id, begun["masters"])]


async def test_what_was_purged_since_does_not_come_back(
    client: Client, database_name: str, elsewhere: str, keyring: Keyring, tmp_path: Path, small: None
) -> None:
    source, folder = client[database_name], tmp_path / "backup"
    await stocked(source, keyring, size=10)
    await source[KEYS].insert_many([wrapped(keyring, name, f"d{name % 3}") for name in range(100, 109)])
    await back_up(client, source, folder, keyring)
    (tmp_path / "purged").write_text('{"delivery": "d1", "why": "30 days"}\n\n{"key": 7}\n')
    gone = await restore(client[elsewhere], Backup.open(folder, keyring, None), keyring, listed([tmp_path / "purged"]))
    left = {each["_id"] async for each in client[elsewhere][KEYS].find()}
    assert gone == 4
    assert left == {*range(20), *range(100, 109)} - {7, 100, 103, 106}


@pytest.mark.parametrize("line", ["delivery d1", '{"deliver": "d1"}', '{"key": "7"}', '{"delivery": 5}', "[]", "7"])
async def test_a_list_of_purges_that_cannot_be_read_to_its_end_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "purged").write_text(f'{{"delivery": "d1"}}\n{line}\n')
    with pytest.raises(BackupError, match="line 2"):
        listed([tmp_path / "purged"])
    with pytest.raises(BackupError, match="cannot be read"):
        listed([tmp_path / "none"])


async def test_a_purge_reaches_a_backup_that_was_made_before(
    client: Client, database_name: str, elsewhere: str, keyring: Keyring, tmp_path: Path, small: None
) -> None:
    source, folder = client[database_name], tmp_path / "backup"
    await stocked(source, keyring, size=10)
    await source[KEYS].insert_many([wrapped(keyring, name, f"d{name % 3}") for name in range(100, 109)])
    await back_up(client, source, folder, keyring)
    before = {path.name for path in (folder / "keys").iterdir()}
    backup, count = without_keys(Backup.open(folder, keyring, None), Purged(frozenset({"d2"})).names)
    assert count == 3
    assert {path.name for path in (folder / "keys").iterdir()} != before
    assert verify(backup, keyring).keys == verify(Backup.open(folder, keyring, None), keyring).keys == 26
    assert without_keys(backup, Purged(frozenset({"d2"})).names)[1] == 0
    await restore(client[elsewhere], backup, keyring, NOTHING)
    assert await client[elsewhere][KEYS].count_documents({"delivery": "d2"}) == 0
