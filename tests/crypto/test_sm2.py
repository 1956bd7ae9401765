"""SM2: the standard's example, two libraries that agree both ways, and nothing malformed that verifies."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path

import pytest
from Cryptodome.Util.asn1 import DerBitString, DerObjectId, DerOctetString, DerSequence

from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sm2 import (
    Signer,
    from_der,
    identified,
    new_signer,
    private_of,
    public_of,
    public_pem,
    sm3,
    to_der,
    verify,
)
from fhir_server.crypto.sm2_curve import LIBRARIES, N, P, Unusable, library, on_curve

# GB/T 32918.5-2017, appendix A (GM/T 0003.5-2012, appendix A): signature on the recommended curve.
MESSAGE = b"message digest"
SCALAR = 0x3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8
PUBLIC = bytes.fromhex(
    "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
NONCE = 0x59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21
ZA = "b2e14c5c79c6df5b85f4fe7ed8db7a262b9da7e07ccb0ea9f4747b8ccda8a4f3"
E = "f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640"
SIGNATURE = bytes.fromhex(
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_example_of_gb_t_32918_5(name: str) -> None:
    by = library(name)
    signer = Signer(SCALAR, by=by, nonce=lambda: NONCE)
    assert signer.public_key == PUBLIC
    assert (identified(PUBLIC).hex(), sm3(identified(PUBLIC), MESSAGE).hex()) == (ZA, E)
    assert signer.sign(MESSAGE) == SIGNATURE
    assert verify(PUBLIC, MESSAGE, SIGNATURE, by=by)
    assert not verify(PUBLIC, MESSAGE + b".", SIGNATURE, by=by)


@pytest.mark.parametrize(("signs", "verifies"), [("gmalglib", "gmssl"), ("gmssl", "gmalglib")])
def test_what_one_library_signs_the_other_verifies(signs: str, verifies: str) -> None:
    for scalar in (1, N - 2, int.from_bytes(os.urandom(30), "big")):
        signer, message = Signer(scalar, by=library(signs)), os.urandom(100)
        assert signer.public_key == Signer(scalar, by=library(verifies)).public_key
        signature = signer.sign(message)
        assert verify(signer.public_key, message, signature, by=library(verifies))
        changed = bytes([signature[0] ^ 1]) + signature[1:]
        assert not verify(signer.public_key, message, changed, by=library(verifies))


def test_keys_that_begin_with_zeros_and_fours_are_read_as_they_are() -> None:
    """gmssl strips them off a key given to its constructor."""
    odd = (Signer(scalar) for scalar in range(1, 5_000))
    signer = next(each for each in odd if each.public_key[1:].hex().startswith(("04", "40", "00", "44")))
    assert verify(signer.public_key, MESSAGE, signer.sign(MESSAGE), by=library("gmssl"))


def test_no_two_signatures_have_the_same_nonce() -> None:
    """Two would give the key away."""
    for name in LIBRARIES:
        signer = Signer(SCALAR, by=library(name))
        assert len({signer.sign(MESSAGE)[:32] for _ in range(5)}) == 5


def test_without_the_c_library_the_other_one_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert library().name == "gmalglib"
    monkeypatch.setitem(sys.modules, "gmalglib", None)
    assert library().name == "gmssl"
    assert verify(PUBLIC, MESSAGE, Signer(SCALAR, by=library()).sign(MESSAGE))
    monkeypatch.setitem(sys.modules, "gmssl", None)
    with pytest.raises(RuntimeError, match="pip install gmalglib"):
        library()


R, S = SIGNATURE[:32], SIGNATURE[32:]
ZERO, ORDER = bytes(32), N.to_bytes(32, "big")
MALFORMED = [
    b"",
    SIGNATURE[:-1],
    SIGNATURE + b"\0",
    ZERO + S,
    R + ZERO,
    ORDER + S,
    R + ORDER,
    b"\xff" * 64,
    R + (N - int.from_bytes(R, "big")).to_bytes(32, "big"),  # r + s = n: the public key would not matter
    S + R,
]


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("signature", MALFORMED)
def test_a_malformed_signature_is_none(name: str, signature: bytes) -> None:
    assert not verify(PUBLIC, MESSAGE, signature, by=library(name))


OFF = [
    b"",
    PUBLIC[1:],
    b"\x06" + PUBLIC[1:],
    b"\x02" + PUBLIC[1:33],
    PUBLIC[:-1] + b"\x14",
    bytes(65),
    b"\x04" + bytes(64),
    b"\x04" + (int.from_bytes(PUBLIC[1:33], "big") + P).to_bytes(33, "big")[-32:] + PUBLIC[33:],
    b"\x04" + b"\xff" * 64,
]


@pytest.mark.parametrize("key", OFF)
def test_what_is_no_point_of_the_curve_verifies_nothing(key: bytes) -> None:
    assert not on_curve(key)
    assert not verify(key, MESSAGE, SIGNATURE)
    with pytest.raises(Unusable):
        public_of(key.hex().encode())


def test_a_private_key_is_in_range() -> None:
    for scalar in (0, N - 1, N, -1):
        with pytest.raises(Unusable):
            Signer(scalar)


def test_an_installation_always_has_the_same_key(tmp_path: Path) -> None:
    one, other = Keyring.open(tmp_path / "one"), Keyring.open(tmp_path / "other")
    assert one.signer().public_key == Keyring.open(tmp_path / "one").sm2.public_key
    keys = {one.sm2.public_key, other.sm2.public_key, one.signer("another purpose").public_key}
    assert len(keys) == 3
    derived = int.from_bytes(one.derive("sm2", 40), "big") % (N - 2) + 1
    assert Signer(derived, by=library("gmssl")).public_key == one.sm2.public_key


def test_a_signature_in_der_is_a_sequence_of_two_integers() -> None:
    encoded = to_der(SIGNATURE)
    numbers = DerSequence().decode(encoded, strict=True)
    assert [int(each).to_bytes(32, "big") for each in numbers] == [R, S]
    assert from_der(encoded) == SIGNATURE
    small = ZERO[:-1] + b"\x01" + ZERO[:-1] + b"\x80"
    assert to_der(small).hex() == "300702010102020080"
    assert from_der(to_der(small)) == small
    for wrong in (
        b"",
        encoded[:-1],
        encoded + b"\0",
        b"\x30\x00",
        b"\x30\x26\x02\x21\x01" + bytes(32) + b"\x02\x01\x01",
    ):
        with pytest.raises(Unusable):
            from_der(wrong)


def der(pem: bytes) -> bytes:
    lines = pem.decode().splitlines()
    assert max(map(len, lines)) <= 64
    return base64.b64decode("".join(lines[1:-1]))


def test_a_public_key_in_pem_is_a_subject_public_key_info() -> None:
    pem = public_pem(PUBLIC)
    assert pem.startswith(b"-----BEGIN PUBLIC KEY-----\n")
    algorithm, key = DerSequence().decode(der(pem), strict=True)
    kinds = [DerObjectId().decode(each).value for each in DerSequence().decode(algorithm)]
    assert kinds == ["1.2.840.10045.2.1", "1.2.156.10197.1.301"]
    assert DerBitString().decode(key).value == PUBLIC
    assert public_of(pem) == public_of(PUBLIC.hex().encode()) == public_of(b" %s\n" % PUBLIC.hex().upper().encode())


def test_a_private_key_in_pem_is_pkcs_8() -> None:
    signer = new_signer()
    pem = signer.private_pem()
    version, algorithm, key = DerSequence().decode(der(pem), strict=True)
    kinds = [DerObjectId().decode(each).value for each in DerSequence().decode(algorithm)]
    assert (version, kinds) == (0, ["1.2.840.10045.2.1", "1.2.156.10197.1.301"])
    ec = DerSequence().decode(DerOctetString().decode(key).payload)
    assert (ec[0], len(DerOctetString().decode(ec[1]).payload)) == (1, 32)
    again = private_of(pem)
    assert again.public_key == signer.public_key
    assert verify(signer.public_key, MESSAGE, again.sign(MESSAGE))
    assert signer.private_pem().decode() not in repr(signer)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n",
        public_pem(PUBLIC),
        Signer(7).private_pem()[:80],
    ],
)
def test_what_is_no_private_key_is_refused(text: bytes) -> None:
    with pytest.raises(Unusable, match="PKCS #8"):
        private_of(text)


@pytest.mark.parametrize("text", [b"", b"04", Signer(7).private_pem(), public_pem(PUBLIC)[:90], "公钥".encode()])
def test_what_is_no_public_key_is_refused(text: bytes) -> None:
    with pytest.raises(Unusable, match="public key"):
        public_of(text)
