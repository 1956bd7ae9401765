"""fhir-facade backup, verify, restore and purges, as an operator uses them; what they do is in tests/backup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.commands.console import Console, console
from tests.databases import fresh
from tests.live import live

PASSPHRASE = "a passphrase of the operator\n"


@pytest.fixture
def elsewhere(mongo_uri: str) -> Iterator[str]:
    with fresh(mongo_uri) as name:
        yield name


@pytest.fixture
def shell(mongo_uri: str, database_name: str, tmp_path: Path) -> Console:
    shell = console(mongo_uri, database_name, tmp_path / "var")
    records = tmp_path / "records.ndjson"
    records.write_text('{"resourceType": "Patient", "id": "p1", "name": [{"text": "王五"}]}\n', encoding="utf-8")
    shell.run("load", records, "--organization", "org1")
    return shell


def test_what_is_restored_is_served(shell: Console, mongo_uri: str, elsewhere: str, tmp_path: Path) -> None:
    shell.run("backup", tmp_path / "backup", "--keyring-shares", tmp_path / "shares")
    moved = console(mongo_uri, elsewhere, tmp_path / "moved")
    assert "no keyring" in moved.refused("restore", tmp_path / "backup")
    assert not (tmp_path / "moved" / "keyring.json").exists()
    one, _, three = sorted((tmp_path / "shares").iterdir())
    moved.run("keys", "combine", one, three, "--sealed", tmp_path / "backup" / "keyring.sealed")
    moved.run("restore", tmp_path / "backup")
    with live(mongo_uri, tmp_path / "moved", database=elsewhere) as server:
        with server.client("practitioner", "Practitioner/dr1") as doctor:
            assert doctor.get("Patient?name=王五").json()["total"] == 1
            assert doctor.get("Patient/p1/_history").json()["total"] == 1
        with server.client("auditor", "Practitioner/auditor") as auditor:
            found = auditor.get("AuditEvent", params={"subtype": "backup,restore,master-key"}).json()["entry"]
            assert {each["resource"]["subtype"][0]["code"] for each in found} == {"backup", "restore"}


def test_shares_beside_their_keyring_are_refused(shell: Console, tmp_path: Path) -> None:
    for place in (tmp_path / "backup", tmp_path / "backup" / "shares"):
        assert "elsewhere" in shell.refused("backup", tmp_path / "backup", "--keyring-shares", place)
    assert not (tmp_path / "backup").exists()


def test_the_passphrase_comes_from_standard_input(shell: Console, tmp_path: Path) -> None:
    shell.run("backup", tmp_path / "backup", "--passphrase-stdin", stdin=PASSPHRASE)
    assert "--passphrase-stdin" in shell.refused("verify", tmp_path / "backup")
    assert "is whole" in shell.run("verify", tmp_path / "backup", "--passphrase-stdin", stdin=PASSPHRASE)


def test_purged_deliveries_are_listed_and_taken_out_of_a_backup(
    shell: Console, mongo_uri: str, database_name: str, tmp_path: Path
) -> None:
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        database = client[database_name]
        key = database["keys"].find_one() or {}
        database["keys"].insert_one({**key, "_id": 5, "delivery": "d1"})
        database["deliveries"].insert_many([{"_id": "d1", "state": "purged"}, {"_id": "d2", "state": "held"}])
        shell.run("backup", tmp_path / "backup")
        # As a purge has it: nothing but the key is gone. Other keys that are gone are no purge.
        database["keys"].delete_many({})
    shell.run("purges", tmp_path / "purged.ndjson")
    assert (tmp_path / "purged.ndjson").read_text() == '{"delivery": "d1"}\n'
    assert shell.run("backup", tmp_path / "backup", "--forget-purged").startswith("1 purged")
    assert shell.run("backup", tmp_path / "backup", "--forget-purged").startswith("0 purged")


def test_a_folder_that_is_no_backup_is_said_in_a_line(shell: Console, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "file").touch()
    for command, reason in (("backup", "not empty"), ("verify", "manifest.json"), ("restore", "manifest.json")):
        assert reason in shell.refused(command, tmp_path / "none")
