"""The files of a backup: sealed, whole or refused, and without the keys of what was purged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_server.backup.manifest import MANIFEST, BackupError
from fhir_server.backup.purged import Purged, listed
from fhir_server.backup.reading import Backup, verify, without_keys
from fhir_server.crypto.keyfile import KeyFile
from fhir_server.store.keys import KEYS
from tests.backup.conftest import Place
from tests.backup.stock import content, wrapped

PASSPHRASE = "a passphrase of the operator"
pytestmark = pytest.mark.anyio


async def test_the_backup_holds_nothing_in_the_clear_and_no_keyring(place: Place, tmp_path: Path) -> None:
    await place.stock()
    await place.source["Left"].insert_one({"_id": "secret", "text": "a word that is stored"})
    made = await place.back_up()
    secrets = KeyFile(tmp_path / "keyring.json").read()
    paths = [path for path in place.folder.rglob("*") if path.is_file()]
    assert len(paths) == len(made.parts) + 1
    for said in (b"a word that is stored", secrets.root, *secrets.masters.values()):
        assert not any(said in path.read_bytes() for path in paths)
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths)


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


async def test_whatever_is_done_to_its_files_is_found(place: Place, tmp_path: Path, small: None) -> None:
    await place.stock(30)
    made = await place.back_up()
    for name in (*DONE_TO, *SAID):
        copy = Path(shutil.copytree(place.folder, tmp_path / name))
        verify(Backup.open(copy, place.keyring, None), place.keyring)
        if name in DONE_TO:
            DONE_TO[name](*(copy / each.file for each in made.parts[:2]))
        else:
            said = json.loads((copy / MANIFEST).read_text())
            (copy / MANIFEST).write_text(json.dumps(SAID[name](said)))
        with pytest.raises(BackupError, match=r"changed|cannot be read"):
            verify(Backup.open(copy, place.keyring, None), place.keyring)


async def test_under_a_passphrase_it_opens_with_that_alone(place: Place) -> None:
    await place.stock(10)
    with pytest.raises(BackupError, match="12"):
        await place.back_up(passphrase="short")
    await place.back_up(passphrase=PASSPHRASE)
    for other in (None, "another passphrase"):
        with pytest.raises(BackupError, match="passphrase"):
            place.backup(other)
    await place.restore(passphrase=PASSPHRASE)
    assert await content(place.target) == await content(place.source)


@pytest.fixture
async def delivered(place: Place, small: None) -> Place:
    """A database with the keys of three deliveries, backed up."""
    await place.stock(10)
    await place.source[KEYS].insert_many([wrapped(place.keyring, name, f"d{name % 3}") for name in range(100, 109)])
    await place.back_up()
    return place


async def test_what_was_purged_since_does_not_come_back(delivered: Place, tmp_path: Path) -> None:
    (tmp_path / "purged").write_text('{"delivery": "d1", "why": "30 days"}\n\n{"key": 7}\n')
    assert await delivered.restore(listed([tmp_path / "purged"])) == 4
    left = {each["_id"] async for each in delivered.target[KEYS].find()}
    assert left == {*range(20), *range(100, 109)} - {7, 100, 103, 106}


@pytest.mark.parametrize("line", ["delivery d1", '{"deliver": "d1"}', '{"key": "7"}', '{"delivery": 5}', "[]", "7"])
async def test_a_list_of_purges_that_cannot_be_read_to_its_end_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "purged").write_text(f'{{"delivery": "d1"}}\n{line}\n')
    with pytest.raises(BackupError, match="line 2"):
        listed([tmp_path / "purged"])
    with pytest.raises(BackupError, match="cannot be read"):
        listed([tmp_path / "none"])


async def test_a_purge_reaches_a_backup_that_was_made_before(delivered: Place) -> None:
    def files() -> set[str]:
        return {path.name for path in (delivered.folder / "keys").iterdir()}

    before = files()
    backup, count = without_keys(delivered.backup(), Purged(frozenset({"d2"})).names)
    assert count == 3
    assert files() != before
    assert verify(backup, delivered.keyring).keys == verify(delivered.backup(), delivered.keyring).keys == 26
    assert without_keys(backup, Purged(frozenset({"d2"})).names)[1] == 0
    await delivered.restore()
    assert await delivered.target[KEYS].count_documents({"delivery": "d2"}) == 0
