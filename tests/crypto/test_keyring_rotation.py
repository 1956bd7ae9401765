"""A new master key: every process learns of it at once, nothing that was wrapped is lost, and nothing half is ever read."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from fhir_server.crypto.keyfile import KeyFile, Secrets
from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import Unsealable, Wrapping, new_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyring.json"


def test_a_running_process_wraps_under_the_new_master_key_and_opens_what_the_old_one_wrapped(path: Path) -> None:
    running, key = Wrapping(Keyring.open(path)), new_key()
    before = running.wrap(key, b"person")
    KeyFile(path).change(Secrets.rotated)
    after = running.wrap(key, b"person")
    assert before.master != after.master == running.current
    assert running.unwrap(before, b"person") == running.unwrap(after, b"person") == key


def test_a_running_process_opens_what_another_one_wrapped_under_a_master_key_it_has_not_seen(path: Path) -> None:
    running, key = Wrapping(Keyring.open(path)), new_key()
    KeyFile(path).change(Secrets.rotated)
    assert running.unwrap(Wrapping(Keyring.open(path)).wrap(key, b"person"), b"person") == key


def test_what_is_not_a_master_key_stays_as_it_is(path: Path) -> None:
    before = Keyring.open(path)
    KeyFile(path).change(Secrets.rotated)
    after = Keyring.open(path)
    assert (before.fingerprint, before.index_key, before.signing_pem) == (
        after.fingerprint,
        after.index_key,
        after.signing_pem,
    )
    assert before.sm2.public_key == after.sm2.public_key


def test_a_prepared_master_key_wraps_nothing_until_the_rotation_takes_it(path: Path) -> None:
    first = Keyring.open(path).custody.masters()
    prepared = KeyFile(path).change(Secrets.preparing)
    assert (prepared.current,) == tuple(first)
    assert len(prepared.prepared) == 1
    rotated = KeyFile(path).change(Secrets.rotated)
    assert rotated.current == prepared.prepared[0]
    assert (rotated.older, rotated.prepared) == (tuple(first), ())
    assert len(rotated.masters) == 2


def test_only_master_keys_that_were_current_before_are_taken_out(path: Path) -> None:
    Keyring.open(path)
    rotated = KeyFile(path).change(Secrets.rotated)
    kept = KeyFile(path).change(Secrets.preparing)
    for name in (rotated.current, kept.prepared[0], "unknown"):
        with pytest.raises(ValueError, match="current before"):
            kept.without(frozenset({name}))
    left = KeyFile(path).change(lambda found: found.without(frozenset(found.older)))
    assert tuple(left.masters) == (rotated.current, kept.prepared[0])


def test_without_its_master_key_a_wrapped_key_is_gone_for_running_processes_too(path: Path) -> None:
    running = Wrapping(Keyring.open(path))
    wrapped = running.wrap(new_key(), b"person")
    KeyFile(path).change(Secrets.rotated)
    KeyFile(path).change(lambda found: found.without(frozenset(found.older)))
    with pytest.raises(Unsealable, match="master key"):
        running.unwrap(wrapped, b"person")


def _damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def _gone(path: Path) -> None:
    path.unlink()


def _anothers(path: Path) -> None:
    Keyring.open(path.with_name("other.json"))
    os.replace(path.with_name("other.json"), path)


def _open_to_others(path: Path) -> None:
    _anothers(path)
    path.chmod(0o644)


@pytest.mark.parametrize("become", [_damaged, _gone, _anothers, _open_to_others])
def test_a_running_process_goes_on_with_what_it_read(path: Path, become: Any) -> None:
    running, key = Wrapping(Keyring.open(path)), new_key()
    wrapped = running.wrap(key, b"person")
    become(path)
    assert running.unwrap(wrapped, b"person") == key
    assert running.current == wrapped.master


def _read_often(path: Path, count: int, answers: Any) -> None:
    running, key = Wrapping(Keyring.open(path)), new_key()
    seen = set()
    while len(seen) < count:
        wrapped = running.wrap(key, b"person")
        assert Wrapping(Keyring.open(path)).unwrap(wrapped, b"person") == key
        seen.add(wrapped.master)
    answers.put(len(seen))


def test_readers_meet_whole_files_only_while_several_rotate(path: Path) -> None:
    Keyring.open(path)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    readers = [context.Process(target=_read_often, args=(path, 5, answers)) for _ in range(3)]
    for each in readers:
        each.start()
    while any(each.is_alive() for each in readers):
        KeyFile(path).change(Secrets.rotated)
    for each in readers:
        each.join()
    assert [each.exitcode for each in readers] == [0, 0, 0]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def _rotate(path: Path, times: int) -> None:
    for _ in range(times):
        KeyFile(path).change(Secrets.rotated)


def test_no_rotation_is_lost_when_two_rotate_at_once(path: Path) -> None:
    Keyring.open(path)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_rotate, args=(path, 10)) for _ in range(2)]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    assert len(KeyFile(path).read().masters) == 21
