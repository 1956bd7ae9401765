"""SM2 signatures with SM3: who holds a private key signs, whoever has the public one verifies.

A key is a number d in [1, n-2]; its public key is the point dG, 65 bytes: 04 | x | y. A signature is r | s, 64 bytes.
Source: GB/T 32918.2-2016 (the algorithm), GB/T 32918.5-2017 (the curve), GM/T 0009-2012 (the default user id, key and
signature formats), RFC 5480 and GM/T 0006-2012 (SubjectPublicKeyInfo and its object identifiers).
"""

from __future__ import annotations

import base64
import binascii
import os
from functools import cache, lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from fhir_server.crypto import sm2_curve as curve
from fhir_server.crypto.sm2_curve import SIZE, UNCOMPRESSED, Library, N, Nonce, Unusable

USER_ID = b"1234567812345678"  # GM/T 0009-2012, 10
KEY_SIZE, SIGNATURE_SIZE = 2 * SIZE + 1, 2 * SIZE
# 64 bits more than a scalar has: what is left of the division's bias is below 2^-64 (FIPS 186-5, A.2.1).
SEED_SIZE = SIZE + 8
KNOWN_KEYS = 64

# AlgorithmIdentifier {id-ecPublicKey 1.2.840.10045.2.1, sm2p256v1 1.2.156.10197.1.301}, and what stands around it.
_ALGORITHM = bytes.fromhex("301306072a8648ce3d020106082a811ccf5501822d")
_PUBLIC = bytes.fromhex("3059") + _ALGORITHM + bytes.fromhex("034200")
_PRIVATE = bytes.fromhex("308187020100") + _ALGORITHM + bytes.fromhex("046d306b0201010420")
_ITS_PUBLIC = bytes.fromhex("a144034200")


class Signer:
    """A private key that signs. It never shows the key; `private_pem` is for whoever makes one to keep elsewhere."""

    __slots__ = ("_key", "_scalar", "_za", "public_key")

    def __init__(self, scalar: int, *, by: Library | None = None, nonce: Nonce = curve.nonce) -> None:
        """scalar: in [1, n-2]; raises Unusable. nonce: where the random number of each signature comes from."""
        if not 1 <= scalar <= N - 2:
            raise Unusable("An SM2 private key is a number from 1 to n - 2.")
        self._scalar = scalar
        self._key = (by or _library()).private(scalar, nonce)
        self.public_key: bytes = self._key.public_key
        self._za = identified(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return r|s (64 bytes) over a message, with the default user id."""
        while True:
            signature = self._key.sign(sm3(self._za, message))
            if in_range(signature):  # r or s is zero once in 2^256 signatures
                return signature

    def private_pem(self) -> bytes:
        """Return the private key as PKCS #8, unencrypted (RFC 5208, RFC 5915)."""
        scalar = self._scalar.to_bytes(SIZE, "big")
        return _pem("PRIVATE KEY", _PRIVATE + scalar + _ITS_PUBLIC + self.public_key)

    def __repr__(self) -> str:
        return f"Signer({fingerprint(self.public_key)})"


def verify(public_key: bytes, message: bytes, signature: bytes, *, by: Library | None = None) -> bool:
    """Return whether a signature (64 bytes) is one over the message by this key (65 bytes), with the default user id.

    Whatever is malformed is none: a wrong length, a number out of range, a point off the curve.
    """
    if not in_range(signature) or not _usable(public_key):
        return False
    return (by or _library()).verified(public_key, sm3(_identified(public_key), message), signature)


def in_range(signature: bytes) -> bool:
    """Return whether r and s are in [1, n-1], and r + s is not n (GB/T 32918.2, 7.1, steps B1, B2 and B5)."""
    if len(signature) != SIGNATURE_SIZE:
        return False
    r, s = _halves(signature)
    return 0 < r < N and 0 < s < N and r + s != N


def signer_from(seed: bytes) -> Signer:
    """Return the key that a seed (SEED_SIZE bytes, derived from the keyring's root) yields.

    d = 1 + (the seed's 320 bits mod (n - 2)), which is in [1, n - 2].
    """
    return Signer(1 + int.from_bytes(seed, "big") % (N - 2))


def new_signer() -> Signer:
    """Return a fresh random key."""
    return Signer(1 + int.from_bytes(os.urandom(SEED_SIZE), "big") % (N - 2))


def sm3(*parts: bytes) -> bytes:
    """Return the SM3 digest (32 bytes) of the parts, one after the other. Source: GB/T 32905-2016."""
    digest = hashes.Hash(hashes.SM3())
    for part in parts:
        digest.update(part)
    return digest.finalize()


def identified(public_key: bytes, user: bytes = USER_ID) -> bytes:
    """Return ZA: what binds a signature to its user and key (GB/T 32918.2-2016, 5.5)."""
    constants = b"".join(each.to_bytes(SIZE, "big") for each in (curve.A, curve.B, curve.GX, curve.GY))
    return sm3((8 * len(user)).to_bytes(2, "big"), user, constants, public_key[1:])


def fingerprint(public_key: bytes) -> str:
    """Return what tells one public key from another at a glance: the first 16 digits of its SM3."""
    return sm3(public_key).hex()[:16]


def to_der(signature: bytes) -> bytes:
    """Return r|s as SEQUENCE {INTEGER r, INTEGER s} (GM/T 0009-2012, 7.3)."""
    return encode_dss_signature(*_halves(signature))


def from_der(encoded: bytes) -> bytes:
    """Return r|s of a signature in DER. Raises Unusable."""
    try:
        r, s = decode_dss_signature(encoded)
        return r.to_bytes(SIZE, "big") + s.to_bytes(SIZE, "big")
    except (ValueError, OverflowError):
        raise Unusable("This is not an SM2 signature in DER.") from None


def public_pem(public_key: bytes) -> bytes:
    """Return a public key as SubjectPublicKeyInfo in PEM."""
    return _pem("PUBLIC KEY", _PUBLIC + public_key)


def public_of(text: bytes) -> bytes:
    """Return the public key (65 bytes) that a file holds: PEM, or its 130 hexadecimal digits. Raises Unusable."""
    content = _unpem("PUBLIC KEY", text)
    if content is not None:
        key = content.removeprefix(_PUBLIC)
    else:
        try:
            key = bytes.fromhex(text.decode("ascii").strip())
        except ValueError:
            key = b""
    if not _usable(key):
        raise Unusable("This is not an SM2 public key: neither PEM (SubjectPublicKeyInfo) nor 130 hexadecimal digits.")
    return key


def private_of(text: bytes) -> Signer:
    """Return the key that a PEM file (PKCS #8, unencrypted) holds. Raises Unusable."""
    content = _unpem("PRIVATE KEY", text) or b""
    scalar = content.removeprefix(_PRIVATE)[:SIZE]
    if not content.startswith(_PRIVATE) or len(scalar) != SIZE:
        raise Unusable("This is not an SM2 private key in PEM (PKCS #8, unencrypted).")
    return Signer(int.from_bytes(scalar, "big"))


@cache
def _library() -> Library:
    return curve.library()


@lru_cache(KNOWN_KEYS)
def _identified(public_key: bytes) -> bytes:
    return identified(public_key)


@lru_cache(KNOWN_KEYS)
def _usable(public_key: bytes) -> bool:
    return len(public_key) == KEY_SIZE and public_key[:1] == UNCOMPRESSED and curve.on_curve(public_key)


def _halves(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:SIZE], "big"), int.from_bytes(signature[SIZE:], "big")


def _pem(label: str, content: bytes) -> bytes:
    body = base64.encodebytes(content).replace(b"\n", b"")
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return b"\n".join((f"-----BEGIN {label}-----".encode(), *lines, f"-----END {label}-----".encode(), b""))


def _unpem(label: str, text: bytes) -> bytes | None:
    """Return what a PEM file of this label holds, None if it is none."""
    begin, end = f"-----BEGIN {label}-----".encode(), f"-----END {label}-----".encode()
    if begin not in text or end not in text:
        return None
    body = text.split(begin, 1)[1].split(end, 1)[0]
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        return b""
