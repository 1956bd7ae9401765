"""The ciphers and digests give what their standards print: SM3, SM4, HMAC-SM3, SM4-GCM, SM4-CCM.

HKDF with SM3, for which no standard prints values, is held against RFC 5869 written out over an independent SM3 (gmssl).
"""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from gmssl.sm3 import sm3_hash
from gmssl.sm4 import SM4_ENCRYPT, CryptSM4

from fhir_server.crypto.keyring import derived
from fhir_server.crypto.sealing import seal, unseal
from fhir_server.crypto.sm2 import sm3

KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")

# RFC 8998, appendix A: both of its examples have these.
NONCE = bytes.fromhex("00001234567800000000ABCD")
ASSOCIATED = bytes.fromhex("FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2")
PLAIN = bytes.fromhex("".join(digit * 16 for digit in "ABCDEFEA"))


def independent_sm3(data: bytes) -> bytes:
    return bytes.fromhex(sm3_hash(list(data)))


def independent_hmac(key: bytes, data: bytes) -> bytes:
    """RFC 2104 over gmssl's SM3."""
    block = (key if len(key) <= 64 else independent_sm3(key)).ljust(64, b"\0")
    inner, outer = (bytes(each ^ pad for each in block) for pad in (0x36, 0x5C))
    return independent_sm3(outer + independent_sm3(inner + data))


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
        (b"abcd" * 16, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
    ],
)
def test_sm3_gives_the_examples_of_gb_t_32905_appendix_a(message: bytes, digest: str) -> None:
    assert sm3(message).hex() == digest == independent_sm3(message).hex()
    assert sm3(message[:2], b"", message[2:]).hex() == digest


def test_sm4_gives_the_examples_of_gb_t_32907_appendix_a() -> None:
    once = Cipher(algorithms.SM4(KEY), modes.ECB()).encryptor()
    assert (once.update(KEY) + once.finalize()).hex() == "681edf34d206965e86b3e94f536e4246"
    independent = CryptSM4()
    independent.set_key(KEY, SM4_ENCRYPT)
    assert bytes(independent.one_round(independent.sk, list(KEY))).hex() == "681edf34d206965e86b3e94f536e4246"
    # CBC over zeros enciphers its own last block again and again: a million times, as example 2 wants.
    often = Cipher(algorithms.SM4(KEY), modes.CBC(KEY)).encryptor()
    assert (often.update(bytes(16 * 1_000_000)) + often.finalize())[-16:].hex() == "595298c7c6fd271f0402f804c33d3f66"


@pytest.mark.parametrize(
    ("key", "data", "code"),
    [
        (
            bytes(range(1, 33)),
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq" * 2,
            "ca05e144ed05d1857840d1f318a4a8669e559fc8391f414485bfdf7bb408963a",
        ),
        (bytes(range(1, 38)), b"\xcd" * 50, "220bf579ded555393f0159f66c99877822a3ecf610d1552154b41d44b94db3ae"),
        (b"\x0b" * 32, b"Hi There", "c0ba18c68b90c88bc07de794bfc7d2c8d19ec31ed8773bc2b390c9604e0be11e"),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "2e87f1d16862e6d964b50a5200bf2b10b764faa9680a296a2405f24bec39f882",
        ),
    ],
)
def test_hmac_sm3_gives_the_examples_of_gm_t_0042_appendix_d(key: bytes, data: bytes, code: str) -> None:
    keyed = hmac.HMAC(key, hashes.SM3())
    keyed.update(data)
    assert keyed.finalize().hex() == code == independent_hmac(key, data).hex()


@pytest.mark.parametrize(("purpose", "size"), [("sm2", 40), ("cursor", 16), ("索引", 70)])
def test_keys_are_derived_by_rfc_5869_over_sm3(purpose: str, size: int) -> None:
    root, info = bytes(range(32)), b"fhir-facade/" + purpose.encode()
    extracted = independent_hmac(bytes(32), root)
    blocks = [b""]
    while sum(map(len, blocks)) < size:
        blocks.append(independent_hmac(extracted, blocks[-1] + info + bytes([len(blocks)])))
    assert derived(root, purpose, size) == b"".join(blocks)[:size]


def test_sealing_is_sm4_gcm_of_rfc_8998_appendix_a_1() -> None:
    enciphered = bytes.fromhex(
        "17F399F08C67D5EE19D0DC9969C4BB7D5FD46FD3756489069157B282BB200735"
        "D82710CA5C22F0CCFA7CBF93D496AC15A56834CBCF98C397B4024A2691233B8D"
    )
    tag = bytes.fromhex("83DE3541E4C2B58177E065A9BF7B62EC")
    assert unseal(KEY, NONCE + enciphered + tag, ASSOCIATED) == PLAIN
    assert unseal(KEY, seal(KEY, PLAIN, ASSOCIATED), ASSOCIATED) == PLAIN


def independent_gcm(key: bytes, sealed: bytes, associated: bytes) -> tuple[bytes, bytes]:
    """Return plain text and tag of NIST SP 800-38D, written out over gmssl's SM4."""
    cipher = CryptSM4()
    cipher.set_key(key, SM4_ENCRYPT)

    def block(data: bytes) -> int:
        return int.from_bytes(bytes(cipher.one_round(cipher.sk, list(data))), "big")

    def times(x: int, y: int) -> int:
        product = 0
        for place in range(127, -1, -1):
            product ^= y if x >> place & 1 else 0
            y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
        return product

    nonce, enciphered = sealed[:12], sealed[12:-16]
    subkey, coded = block(bytes(16)), 0
    lengths = (8 * len(associated)).to_bytes(8, "big") + (8 * len(enciphered)).to_bytes(8, "big")
    parts = [part + bytes(-len(part) % 16) for part in (associated, enciphered)]
    whole = b"".join((*parts, lengths))
    for at in range(0, len(whole), 16):
        coded = times(coded ^ int.from_bytes(whole[at : at + 16], "big"), subkey)
    tag = coded ^ block(nonce + (1).to_bytes(4, "big"))
    stream = b"".join(
        block(nonce + count.to_bytes(4, "big")).to_bytes(16, "big") for count in range(2, 3 + len(enciphered) // 16)
    )
    return bytes(a ^ b for a, b in zip(enciphered, stream, strict=False)), tag.to_bytes(16, "big")


@pytest.mark.parametrize("size", [0, 1, 16, 100])
def test_what_is_sealed_here_an_independent_sm4_gcm_opens(size: int) -> None:
    key, plain, associated = os.urandom(16), os.urandom(size), os.urandom(20)
    sealed = seal(key, plain, associated)
    assert independent_gcm(key, sealed, associated) == (plain, sealed[-16:])


def test_sm4_gives_ccm_of_rfc_8998_appendix_a_2() -> None:
    """CCM (NIST SP 800-38C) written out over SM4, for nothing here seals by it: 16-byte tag, 3 bytes of length."""

    def blocks(data: bytes) -> bytes:
        return data + bytes(-len(data) % 16)

    first = bytes([0b0111_1010]) + NONCE + len(PLAIN).to_bytes(3, "big")
    coded = first + blocks(len(ASSOCIATED).to_bytes(2, "big") + ASSOCIATED) + blocks(PLAIN)
    mac = Cipher(algorithms.SM4(KEY), modes.CBC(bytes(16))).encryptor()
    last = (mac.update(coded) + mac.finalize())[-16:]
    counter = Cipher(algorithms.SM4(KEY), modes.CTR(bytes([0b010]) + NONCE + bytes(3))).encryptor()
    tag, enciphered = counter.update(last), counter.update(PLAIN)
    assert enciphered.hex().upper() == (
        "48AF93501FA62ADBCD414CCE6034D895DDA1BF8F132F042098661572E7483094"
        "FD12E518CE062C98ACEE28D95DF4416BED31A2F04476C18BB40C84A74B97DC5B"
    )
    assert tag.hex().upper() == "16842D4FA186F56AB33256971FA110F4"
