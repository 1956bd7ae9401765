"""The keyring: one file for all processes, closed to other users, silent about what it holds."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc.jwk import ECKey

from fhir_server.crypto.keyfile import KeyFile
from fhir_server.crypto.keyring import Keyring, KeyringError, derived


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "医院 甲" / "keyring.json"


def test_the_file_is_made_once_and_then_read(path: Path) -> None:
    made, before = Keyring.open(path), path.read_bytes()
    read = Keyring.open(path)
    assert path.read_bytes() == before
    assert made.signing_pem == read.signing_pem
    assert made.fingerprint == read.fingerprint
    assert made.derive("anything") == read.derive("anything")
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]  # no temporary file stays behind


def test_keys_have_the_sizes_of_their_algorithms(path: Path) -> None:
    keyring, secrets = Keyring.open(path), KeyFile(path).read()
    assert len(secrets.masters[secrets.current]) == len(keyring.cursor_key) == 16
    assert len(keyring.index_key) == len(keyring.derive("audit")) == 32
    signing = load_pem_private_key(keyring.signing_pem, None)
    assert isinstance(signing, ec.EllipticCurvePrivateKey)
    assert signing.curve.name == "secp256r1"
    assert ECKey.import_key(keyring.signing_pem.decode()).is_private


def test_two_keyrings_share_nothing(tmp_path: Path) -> None:
    one, other = Keyring.open(tmp_path / "a"), Keyring.open(tmp_path / "b")
    assert one.fingerprint != other.fingerprint
    assert one.index_key != other.index_key
    assert {*one.custody.masters()}.isdisjoint(other.custody.masters())


def test_each_purpose_has_its_own_key(path: Path) -> None:
    keyring = Keyring.open(path)
    keys = [keyring.derive(purpose, 16) for purpose in ("index", "cursor", "audit", "")]
    assert len({*keys, KeyFile(path).read().root[:16]}) == 5


def test_derivation_is_hkdf_with_sm3() -> None:
    """RFC 5869, sections 2.2 and 2.3, written out for one block of output."""

    def code(key: bytes, data: bytes) -> bytes:
        keyed = hmac.HMAC(key, hashes.SM3())
        keyed.update(data)
        return keyed.finalize()

    root = bytes(range(32))
    assert derived(root, "index") == code(code(bytes(32), root), b"fhir-facade/index\x01")


def test_only_the_owner_can_read_the_file(path: Path) -> None:
    before = os.umask(0)
    try:
        Keyring.open(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o666])
def test_a_file_open_to_others_is_refused(path: Path, mode: int) -> None:
    Keyring.open(path)
    path.chmod(mode)
    with pytest.raises(KeyringError, match="chmod 600"):
        Keyring.open(path)


DAMAGE = {
    "empty": lambda text: "",
    "cut": lambda text: text[: len(text) // 2],
    "not JSON": lambda text: text.replace("{", "[", 1),
    "JSON of another kind": lambda text: '["keyring"]',
    "a field is missing": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "root"}),
    "no checksum": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "checksum"}),
    "another current key": lambda text: json.dumps({**json.loads(text), "current": "0"}),
    "another format": lambda text: json.dumps({**json.loads(text), "format": 2}),
    "bytes that are not text": lambda text: text.replace('"root": "', '"root": "\udcff', 1),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_refused_and_left_alone(path: Path, how: str) -> None:
    Keyring.open(path)
    damaged = DAMAGE[how](path.read_text()).encode(errors="surrogateescape")
    path.write_bytes(damaged)
    with pytest.raises(KeyringError, match="damaged"):
        Keyring.open(path)
    assert path.read_bytes() == damaged


def test_every_changed_character_of_a_key_is_noticed(path: Path) -> None:
    Keyring.open(path)
    text = path.read_text()
    root = json.loads(text)["root"]
    assert len(root) >= 43  # 32 bytes in base64
    for i, letter in enumerate(root):
        other = "A" if letter != "A" else "B"
        path.write_text(text.replace(root, root[:i] + other + root[i + 1 :]))
        with pytest.raises(KeyringError):
            Keyring.open(path)


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match="cannot be read"):
        Keyring.open(tmp_path)


def test_neither_repr_nor_a_traceback_shows_a_key(path: Path) -> None:
    keyring = Keyring.open(path)
    stored = json.loads(path.read_text())
    held = KeyFile(path).read()
    secrets = [stored["root"], stored["signing"], *stored["masters"].values(), held.root.hex(), repr(held.root)]
    assert not any(secret in f"{keyring!r} {keyring} {held!r} {held}" for secret in secrets)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(KeyringError) as caught:
        Keyring.open(path)
    assert caught.value.__context__ is None  # a JSON error would carry the whole text
    shown = "".join(traceback.format_exception(caught.value))
    assert not any(secret in shown for secret in secrets)


def _fingerprint(path: Path, start: object, answers: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    answers.put(Keyring.open(path).fingerprint)  # type: ignore[attr-defined]


def test_processes_that_create_it_at_once_get_the_same_keyring(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, answers = context.Barrier(8), context.SimpleQueue()
    processes = [context.Process(target=_fingerprint, args=(path, start, answers)) for _ in range(8)]
    for process in processes:
        process.start()
    found = {answers.get() for _ in processes}
    for process in processes:
        process.join()
    assert found == {Keyring.open(path).fingerprint}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
