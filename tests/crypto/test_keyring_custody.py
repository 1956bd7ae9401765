"""Custody: whoever holds the keys, the same is done with them; a custodian gives away neither master key nor root."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from fhir_server.crypto import opening, shares
from fhir_server.crypto.apart import Apart, Unanswered
from fhir_server.crypto.custodian import LARGEST, answer, answers, listening, received, sent
from fhir_server.crypto.custody import InFile
from fhir_server.crypto.keyfile import KeyFile, Secrets
from fhir_server.crypto.keyring import Keyring, KeyringError
from fhir_server.crypto.sealing import Bound, Held, Unsealable, WrappedKey, Wrapping, new_key
from fhir_server.crypto.sm2 import verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyring.json"


@pytest.fixture
def own(path: Path) -> Keyring:
    return Keyring.open(path)


@pytest.fixture
def apart(own: Keyring, tmp_path: Path) -> Iterator[Keyring]:
    with listening(tmp_path / "socket", own.custody):
        yield opening.opened(tmp_path / "elsewhere", f"socket:{tmp_path / 'socket'}")


@pytest.fixture(params=["file", "socket"])
def keyring(request: pytest.FixtureRequest, own: Keyring) -> Keyring:
    return own if request.param == "file" else request.getfixturevalue("apart")


def test_what_a_keyring_does_is_the_same_wherever_it_is(keyring: Keyring, own: Keyring) -> None:
    assert keyring.fingerprint == own.fingerprint
    assert (keyring.index_key, keyring.cursor_key) == (own.index_key, own.cursor_key)
    assert (keyring.derive("audit"), keyring.signing_pem) == (own.derive("audit"), own.signing_pem)
    here, there, key = Wrapping(own), Wrapping(keyring), new_key()
    assert here.unwrap(there.wrap(key, b"person"), b"person") == key
    assert there.unwrap(here.wrap(key, b"person"), b"person") == key
    with pytest.raises(Unsealable):
        there.unwrap(here.wrap(key, b"person"), b"another person")


def test_signatures_are_of_the_same_key_wherever_it_is(keyring: Keyring, own: Keyring) -> None:
    assert verify(own.sm2.public_key, b"text", keyring.sm2.sign(b"text"))
    anchors = keyring.signer("anchors")
    assert anchors.public_key == own.signer("anchors").public_key != own.sm2.public_key
    assert verify(anchors.public_key, b"text", anchors.sign(b"text"))


def test_many_keys_go_in_one_call_and_in_their_order(keyring: Keyring) -> None:
    keys = [Bound(new_key(), b"%d" % number) for number in range(2_345)]
    wrapped = keyring.custody.wrap(keys)
    held = [Held(each, key.owner) for each, key in zip(wrapped, keys, strict=True)]
    assert keyring.custody.unwrap(held) == [each.key for each in keys]
    assert keyring.custody.wrap([]) == keyring.custody.unwrap([]) == []


def test_a_rotation_is_learnt_of_wherever_the_keyring_is(keyring: Keyring, path: Path) -> None:
    wrapping, key = Wrapping(keyring), new_key()
    before = wrapping.wrap(key, b"person")
    rotated = KeyFile(path).change(Secrets.rotated)
    assert wrapping.wrap(key, b"person").master == rotated.current
    assert wrapping.unwrap(before, b"person") == key


def test_whoever_asks_the_custodian_gets_no_master_key_root_or_private_key(apart: Keyring, path: Path) -> None:
    secrets = KeyFile(path).read()
    custody = InFile(KeyFile(path))
    purposes = ["index", "cursor", "audit", "fingerprint", "backup", "", "sm2", "sm2 anchors", "../root"]
    requests: list[dict[str, Any]] = [
        *({"do": "derive", "purpose": purpose, "size": size} for purpose in purposes for size in (1, 16, 40, 64, 65)),
        *({"do": do, "purpose": "sm2", "message": ""} for do in ("about", "masters", "public key", "sign", "root")),
    ]
    seen = [json.dumps(answer(custody, each)) for each in requests]
    stored = json.loads(path.read_text())
    forbidden = [stored["root"], *stored["masters"].values(), secrets.root.hex()]
    assert not any(secret in said for said in seen for secret in forbidden)
    refused = [said for each, said in zip(requests, seen, strict=True) if each["do"] == "derive" and "ok" not in said]
    assert len(refused) == 2 * 5 + 7  # whatever is signed for; more bytes than any purpose takes
    with pytest.raises(KeyringError, match="handed out"):
        apart.derive("sm2", 40)
    with pytest.raises(KeyringError, match="hand out"):
        apart.sm2.private_pem()


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"do": "nothing"},
        {"do": ["wrap"]},
        {"do": "wrap"},
        {"do": "wrap", "keys": 5},
        {"do": "wrap", "keys": [["a", "b", "c"]]},
        {"do": "unwrap", "keys": [["a", "?", "?"]]},
        {"do": "derive", "purpose": "x", "size": "many"},
    ],
)
def test_a_request_of_another_form_is_refused_without_a_word_of_it(own: Keyring, request_: dict[str, Any]) -> None:
    said = answer(own.custody, request_)
    assert said.keys() == {"refused"}
    assert "many" not in said["refused"]


def test_whatever_comes_over_the_socket_the_custodian_goes_on(apart: Keyring, tmp_path: Path) -> None:
    def say(content: bytes) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "socket"))
            connection.sendall(content)

    for content in (b"", b"\0", b"\0\0\0\5[1]\n\n", b"\0\0\0\2{]", struct.pack(">I", LARGEST + 1) + b"x", b"\xff" * 99):
        say(content)
    assert apart.derive("after all that") == apart.derive("after all that")


def test_a_message_is_read_as_it_was_sent() -> None:
    here, there = socket.socketpair()
    with here, there:
        sent(here, {"text": "密钥"})
        assert received(there) == {"text": "密钥"}


def test_a_custodian_that_was_started_anew_is_found_again(own: Keyring, tmp_path: Path) -> None:
    with listening(tmp_path / "socket", own.custody):
        keyring = opening.opened(tmp_path, f"socket:{tmp_path / 'socket'}")
        wrapped = Wrapping(keyring).wrap(new_key(), b"person")
    assert not (tmp_path / "socket").exists()
    with pytest.raises(KeyringError, match="does not answer"):
        Wrapping(keyring).wrap(new_key(), b"person")
    with listening(tmp_path / "socket", own.custody):
        assert len(Wrapping(keyring).unwrap(wrapped, b"person")) == 16


def test_a_custodian_that_holds_another_keyring_now_is_not_used(own: Keyring, tmp_path: Path) -> None:
    path, strange = tmp_path / "socket", Keyring.open(tmp_path / "strange" / "keyring.json")
    with listening(path, own.custody):
        keyring = opening.opened(tmp_path, f"socket:{path}")
        wrapped = Wrapping(keyring).wrap(new_key(), b"person")
    with listening(path, strange.custody):
        for work in (lambda: Wrapping(keyring).wrap(new_key(), b"person"), keyring.custody.masters):
            with pytest.raises(Unanswered, match="another keyring"):
                work()
    with listening(path, own.custody):
        assert len(Wrapping(keyring).unwrap(wrapped, b"person")) == 16


@contextmanager
def silent(path: Path) -> Iterator[list[socket.socket]]:
    """Take connections at a socket and answer none; yield those that there were."""
    taken: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def take() -> None:
            with suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        thread = threading.Thread(target=take)
        thread.start()
        yield taken
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for each in taken:
        each.close()


def test_nobody_waits_for_a_custodian_that_has_just_answered_nobody(own: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening(path, own.custody):
        apart = Apart(path, patience=0.1)
    with silent(path) as taken:
        for _ in range(3):
            with pytest.raises(Unanswered, match="does not answer") as refused:
                apart.masters()
            assert isinstance(refused.value, PyMongoError)  # 503, and background work tries again
        assert len(taken) == 1


class Forgetful(InFile):
    """A custody that wraps a key other than the one it is given."""

    def wrap(self, keys: Iterable[Bound]) -> list[WrappedKey]:
        return super().wrap(Bound(new_key(), owner) for _, owner in keys)


def test_a_key_that_does_not_open_as_it_was_wrapped_is_not_used(own: Keyring, path: Path) -> None:
    with listening(path.with_name("socket"), Forgetful(KeyFile(path))):
        keyring = opening.opened(path.parent, f"socket:{path.with_name('socket')}")
        with pytest.raises(KeyringError, match="otherwise"):
            Wrapping(keyring).wrap(new_key(), b"person")


def test_the_socket_is_closed_to_other_users_and_taken_once(own: Keyring, tmp_path: Path) -> None:
    with listening(tmp_path / "socket", own.custody):
        assert (tmp_path / "socket").stat().st_mode & 0o777 == 0o600
        with pytest.raises(KeyringError, match="already"), listening(tmp_path / "socket", own.custody):
            pass
    (tmp_path / "socket").write_text("")
    with pytest.raises(KeyringError, match="not a socket"), listening(tmp_path / "socket", own.custody):
        pass


def test_a_socket_that_a_killed_custodian_left_is_no_hindrance(own: Keyring, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "socket"))
    assert not answers(tmp_path / "socket")
    with listening(tmp_path / "socket", own.custody):
        assert answers(tmp_path / "socket")


def test_a_folder_with_a_long_name_has_a_socket_too(tmp_path: Path) -> None:
    folder = tmp_path / ("医院" * 20) / ("甲" * 40)
    keyring = Keyring.open(folder / "keyring.json")
    with listening(folder / "custodian.sock", keyring.custody):
        found = opening.opened(folder, f"socket:{folder / 'custodian.sock'}")
        assert found.fingerprint == keyring.fingerprint


def test_a_sealed_keyring_is_found_where_somebody_holds_it_open(own: Keyring, path: Path) -> None:
    sealed, made = shares.sealing(KeyFile(path).read(), path.with_suffix(".sealed"), shares=2, threshold=2)
    sealed.put(KeyFile(path).read())
    path.unlink()
    with pytest.raises(KeyringError, match="sealed"):
        opening.opened(path.parent, "file")
    with listening(path.parent / opening.SOCKET_NAME, InFile(shares.opening(made, sealed.path))):
        found = opening.opened(path.parent, "file")
        assert found.fingerprint == own.fingerprint
        assert found.index_key == own.index_key
