"""fhir-facade keys …, as an operator uses it on the keyring."""

from __future__ import annotations

import re
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from fhir_server.crypto.custodian import listening
from fhir_server.crypto.custody import InFile
from fhir_server.crypto.keyfile import KeyFile
from fhir_server.crypto.keyring import Keyring
from fhir_server.store.keys import KEYS
from tests.commands.console import Console, console
from tests.live import live

ROWS = '{"resourceType": "Patient", "id": "p%d", "name": [{"text": "王五"}]}\n'
UNCHANGED = "0 stored, 3 unchanged, 0 rejected\n"
PASSPHRASES = "the first passphrase\nthe second passphrase\nthe third passphrase\n"


@pytest.fixture
def shell(mongo_uri: str, database_name: str, tmp_path: Path) -> Console:
    return console(mongo_uri, database_name, tmp_path / "var")


@pytest.fixture
def records(shell: Console, tmp_path: Path) -> Path:
    path = tmp_path / "records.ndjson"
    path.write_text("".join(ROWS % number for number in range(3)), encoding="utf-8")
    shell.run("load", path, "--organization", "org1")
    return path


@pytest.fixture
def keys(mongo_uri: str, database_name: str) -> Iterator[Any]:
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        yield client[database_name][KEYS]


def load(shell: Console, records: Path) -> str:
    return shell.run("load", records, "--organization", "org1")


def current(shell: Console) -> str:
    return KeyFile(shell.data / "keyring.json").read().current


def test_a_rotation_wraps_every_key_and_changes_no_record(
    shell: Console, records: Path, keys: Any, mongo_uri: str, database_name: str
) -> None:
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        patients = client[database_name]["Patient"]
        bodies = {each["_id"]: (each["body"], each["k"]) for each in patients.find()}
        said = shell.run("keys", "rotate-master")
        assert said == f"{keys.count_documents({})} keys wrapped under the master key {current(shell)}.\n"
        assert keys.distinct("master") == [current(shell)]
        assert {each["_id"]: (each["body"], each["k"]) for each in patients.find()} == bodies
    assert "Taken out" in shell.run("keys", "rotate-master", "--retire")
    assert len(KeyFile(shell.data / "keyring.json").read().masters) == 1
    assert load(shell, records) == UNCHANGED


def test_a_rotation_that_was_broken_off_goes_on_and_no_other_begins(shell: Console, records: Path, keys: Any) -> None:
    shell.run("keys", "rotate-master", "--apart")  # as if it had been killed right after the file was changed
    begun, count = current(shell), keys.count_documents({})
    assert "still wrapped" in shell.refused("keys", "rotate-master", "--retire")
    assert shell.run("keys", "rotate-master") == f"{count} keys wrapped under the master key {begun}.\n"
    assert current(shell) == begun
    shell.run("keys", "rotate-master")
    assert current(shell) != begun


def test_a_key_under_a_master_key_that_is_lost_is_said_and_the_rest_is_wrapped(
    shell: Console, records: Path, keys: Any
) -> None:
    keys.update_one({}, {"$set": {"master": "lost"}})
    shell.run("keys", "rotate-master", "--apart")
    assert "1 keys are wrapped" in shell.refused("keys", "rotate-master")
    assert set(keys.distinct("master")) == {"lost", current(shell)}


def test_a_prepared_master_key_can_be_spread_before_it_wraps(shell: Console, records: Path, keys: Any) -> None:
    before = current(shell)
    (name,) = re.findall(r"[0-9a-f]{8}", shell.run("keys", "rotate-master", "--prepare"))
    assert shell.run("keys", "masters").splitlines() == [f"{before}\tcurrent", f"{name}\tprepared"]
    shell.run("keys", "rotate-master")
    assert shell.run("keys", "masters").splitlines() == [f"{before}\tolder", f"{name}\tcurrent"]
    assert keys.distinct("master") == [name]


def test_a_server_serves_before_while_and_after(
    mongo_uri: str, database_name: str, tmp_path: Path, shell: Console
) -> None:
    with live(mongo_uri, shell.data, database=database_name) as server, server.system() as emr:
        server.put({"resourceType": "Patient", "id": "before"})
        seen: list[int] = []
        over = threading.Event()

        def ask() -> None:
            number = 0
            while not over.is_set():
                number += 1
                patient = {"resourceType": "Patient", "id": f"p{number}"}
                seen.append(emr.put(f"Patient/p{number}", json=patient).status_code)
                seen.append(emr.get("Patient/before").status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        shell.run("keys", "rotate-master")
        shell.run("keys", "rotate-master", "--retire")
        until = time.monotonic() + 30
        count = len(seen)
        while len(seen) < count + 4 and time.monotonic() < until:
            time.sleep(0.01)
        over.set()
        asking.join()
        assert {*seen} == {200, 201}
        assert len(seen) > 6
    with live(mongo_uri, shell.data, database=database_name) as server, server.system() as emr:
        assert all(emr.get(f"Patient/p{number}").status_code == 200 for number in range(1, len(seen) // 2 + 1))


def test_shares_with_passphrases_give_the_keyring_back(shell: Console, records: Path, tmp_path: Path) -> None:
    said = shell.run("keys", "split", "--to", tmp_path / "s", "--protect", "--passphrase-stdin", stdin=PASSPHRASES)
    paths = [Path(line) for line in said.splitlines()]
    assert len(paths) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    words = ("keys", "combine", *paths[1:], "--passphrase-stdin")
    assert "exists" in shell.refused(*words, stdin="x\n")
    kept = (shell.data / "keyring.json").read_bytes()
    (shell.data / "keyring.json").unlink()
    assert "does not open share 2" in shell.refused(*words, stdin="the first passphrase\n")
    shell.run(*words, stdin="the second passphrase\nthe third passphrase\n")
    assert (shell.data / "keyring.json").read_bytes() == kept
    assert load(shell, records) == UNCHANGED


def test_a_custodian_holds_the_keyring_of_a_server(
    shell: Console, records: Path, tmp_path: Path, mongo_uri: str, database_name: str, keys: Any
) -> None:
    """The server's own folder has no keyring; it serves, and its keys are rotated, by another process's."""
    path = shell.data / "keyring.json"
    with listening(tmp_path / "socket", InFile(KeyFile(path))):
        custody = f"socket:{tmp_path / 'socket'}"
        own = console(mongo_uri, database_name, tmp_path / "own")
        apart = Console({**own.environment, "FHIR_KEY_CUSTODY": custody})
        with (
            live(mongo_uri, tmp_path / "own", database=database_name, key_custody=custody) as server,
            server.client("practitioner", "Practitioner/dr1") as doctor,
        ):
            assert doctor.get("Patient/p1").json()["name"] == [{"text": "王五"}]
            assert doctor.get("Patient?name=王五").json()["total"] == 3
        assert "custodian" in apart.refused("keys", "rotate-master", "--apart")
        assert "--apart" in apart.run("keys", "rotate-master")
        shell.run("keys", "rotate-master", "--apart")
        assert current(shell) in apart.run("keys", "rotate-master")
        assert keys.distinct("master") == [current(shell)]
        assert load(apart, records) == UNCHANGED
        assert not (tmp_path / "own" / "keyring.json").exists()
    assert "does not answer" in apart.refused("load", records, "--organization", "org1")


def test_a_sealed_keyring_is_sealed_anew_with_new_shares(shell: Console, records: Path, tmp_path: Path) -> None:
    before = Keyring.open(shell.data / "keyring.json").fingerprint
    first = shell.run("keys", "split", "--seal", "--to", tmp_path / "a").split()
    assert not (shell.data / "keyring.json").exists()
    assert "sealed" in shell.refused("load", records, "--organization", "org1")
    given = [word for path in first[:2] for word in ("--share", path)]
    second = shell.run("keys", "split", "--seal", "--to", tmp_path / "b", *given).split()
    assert "damaged" in shell.refused("keys", "combine", *first[:2])
    assert before in shell.run("keys", "combine", *second[1:])
    assert {path.name for path in shell.data.glob("keyring*")} == {"keyring.json"}
    assert load(shell, records) == UNCHANGED


def test_a_passphrase_that_is_chosen_is_typed_twice(shell: Console, records: Path, tmp_path: Path) -> None:
    first, *others = PASSPHRASES.splitlines()
    typed = [first, "a slip of the hand", first, first, *(each for other in others for each in (other, other))]
    said = shell.run("keys", "split", "--to", tmp_path / "s", "--protect", stdin="\n".join(typed) + "\n")
    (shell.data / "keyring.json").unlink()
    shell.run("keys", "combine", *said.split()[:2], "--passphrase-stdin", stdin=PASSPHRASES)
    assert load(shell, records) == UNCHANGED
