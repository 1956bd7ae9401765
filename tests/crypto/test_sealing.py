"""SM4-GCM as published, and what sealing promises: nothing changed, moved or swapped ever opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from gmssl.sm4 import SM4_ENCRYPT, CryptSM4
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.crypto.keyfile import KeyFile, Secrets
from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import Unsealable, WrappedKey, Wrapping, new_key, seal, unseal

# RFC 8998, appendix A.1: SM4-GCM test vector.
NONCE = bytes.fromhex("00001234567800000000ABCD")
KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
PLAIN = b"".join(bytes([part]) * 8 for part in (0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF, 0xEE, 0xAA))
AAD = bytes.fromhex("FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2")
CIPHERTEXT = bytes.fromhex(
    "17F399F08C67D5EE19D0DC9969C4BB7D5FD46FD3756489069157B282BB200735"
    "D82710CA5C22F0CCFA7CBF93D496AC15A56834CBCF98C397B4024A2691233B8D"
)
TAG = bytes.fromhex("83DE3541E4C2B58177E065A9BF7B62EC")


def test_the_published_vector_opens() -> None:
    assert unseal(KEY, NONCE + CIPHERTEXT + TAG, AAD) == PLAIN


def test_the_published_vector_is_what_the_same_calls_give() -> None:
    sealing = Cipher(algorithms.SM4(KEY), modes.GCM(NONCE)).encryptor()
    sealing.authenticate_additional_data(AAD)
    assert (sealing.update(PLAIN) + sealing.finalize(), sealing.tag) == (CIPHERTEXT, TAG)


def test_the_block_cipher_is_that_of_the_standard() -> None:
    """GB/T 32907-2016, appendix A, example 1: key and plain text are the same 16 bytes; and gmssl agrees."""
    cipher = Cipher(algorithms.SM4(KEY), modes.ECB()).encryptor()
    block = cipher.update(KEY) + cipher.finalize()
    assert block == bytes.fromhex("681EDF34D206965E86B3E94F536E4246")
    independent = CryptSM4()
    independent.set_key(KEY, SM4_ENCRYPT)
    assert bytes(independent.one_round(independent.sk, list(KEY))) == block


@given(plain=st.binary(max_size=300), aad=st.binary(max_size=40))
def test_what_is_sealed_opens_in_its_place(plain: bytes, aad: bytes) -> None:
    sealed = seal(KEY, plain, aad)
    assert len(sealed) == len(plain) + 28
    assert unseal(KEY, sealed, aad) == plain


def test_any_changed_bit_is_found() -> None:
    sealed = seal(KEY, b"plain text", b"place")
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Unsealable):
            unseal(KEY, bytes(changed), b"place")


def test_anything_cut_off_or_added_is_found() -> None:
    sealed = seal(KEY, b"plain text", b"place")
    for part in (*(sealed[:end] for end in range(len(sealed))), sealed[1:], sealed + b"\0", b"\0" + sealed):
        with pytest.raises(Unsealable):
            unseal(KEY, part, b"place")


def test_another_place_or_key_does_not_open() -> None:
    sealed = seal(KEY, b"plain text", b"Observation/1/1")
    with pytest.raises(Unsealable):
        unseal(KEY, sealed, b"Observation/1/2")
    with pytest.raises(Unsealable):
        unseal(new_key(), sealed, b"Observation/1/1")


def test_the_same_text_never_looks_the_same_twice() -> None:
    assert len({seal(KEY, b"", b"") for _ in range(1000)}) == 1000


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    return Keyring.open(tmp_path_factory.mktemp("keys") / "keyring.json")


def test_a_wrapped_key_opens_for_its_owner_only(keyring: Keyring) -> None:
    wrapping, key = Wrapping(keyring), new_key()
    wrapped = wrapping.wrap(key, b"person 1")
    assert wrapped.master == wrapping.current
    assert wrapping.unwrap(wrapped, b"person 1") == key
    with pytest.raises(Unsealable):
        wrapping.unwrap(wrapped, b"person 2")


def test_a_key_wrapped_under_an_older_master_key_still_opens(tmp_path: Path) -> None:
    path, key = tmp_path / "keyring.json", new_key()
    wrapped = Wrapping(Keyring.open(path)).wrap(key, b"person")
    newer = KeyFile(path).change(Secrets.rotated).current
    later = Wrapping(Keyring.open(path))
    assert later.unwrap(wrapped, b"person") == key
    assert later.wrap(key, b"person").master == newer != wrapped.master


def test_a_key_of_another_keyring_does_not_open(keyring: Keyring, tmp_path: Path) -> None:
    other = Keyring.open(tmp_path / "other.json")
    wrapped = Wrapping(other).wrap(new_key(), b"person")
    with pytest.raises(Unsealable, match="master key"):
        Wrapping(keyring).unwrap(wrapped, b"person")
    with pytest.raises(Unsealable):
        Wrapping(keyring).unwrap(WrappedKey(Wrapping(keyring).current, wrapped.sealed), b"person")
