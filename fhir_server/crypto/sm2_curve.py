"""The arithmetic of SM2, by a library: `gmalglib` (C), or where that is missing `gmssl` (Python, 20 to 40 times slower).

Both are given digests and numbers; what is hashed, and how keys and signatures are written, is sm2.py's alone.
Neither library's own random numbers are used: the nonce of a signature comes from the operating system.
Source: GB/T 32918.2-2016, 6.1 and 7.1; GB/T 32918.5-2017 (the curve).
"""

from __future__ import annotations

import importlib.util
import secrets
import sys
from collections.abc import Callable
from typing import Any, Protocol

P = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFF_00000000_FFFFFFFF_FFFFFFFF
A = P - 3
B = 0x28E9FA9E_9D9F5E34_4D5A9E4B_CF6509A7_F39789F5_15AB8F92_DDBCBD41_4D940E93
N = 0xFFFFFFFE_FFFFFFFF_FFFFFFFF_FFFFFFFF_7203DF6B_21C6052B_53BBF409_39D54123
GX = 0x32C4AE2C_1F198119_5F990446_6A39C994_8FE30BBF_F2660BE1_715A4589_334C74C7
GY = 0xBC3736A2_F4F6779C_59BDCEE3_6B692153_D0A9877C_C62A4740_02DF32E5_2139F0A0

SIZE = 32  # bytes of a coordinate, of a scalar, of half a signature
UNCOMPRESSED = b"\x04"
Nonce = Callable[[], int]


class Unusable(ValueError):
    """Bytes that are no SM2 key; the message does not repeat them."""


def nonce() -> int:
    """Return a fresh random number in [1, n-1]."""
    return secrets.randbelow(N - 1) + 1


def on_curve(public_key: bytes) -> bool:
    """Return whether 65 bytes are a point of the curve, uncompressed; the point at infinity cannot be written so."""
    if len(public_key) != 2 * SIZE + 1 or public_key[:1] != UNCOMPRESSED:
        return False
    x, y = _number(public_key[1 : SIZE + 1]), _number(public_key[SIZE + 1 :])
    return x < P and y < P and (y * y - (x * x * x + A * x + B)) % P == 0


class Private(Protocol):
    """A private key of one library. public_key: 65 bytes, uncompressed."""

    public_key: bytes

    def sign(self, digest: bytes) -> bytes:
        """Return r|s (64 bytes) over a digest of 32 bytes."""
        ...


class Library(Protocol):
    """What of a library is used. The names of the two are those of their packages."""

    name: str

    def private(self, scalar: int, nonce: Nonce) -> Private:
        """Return the key of a scalar in [1, n-2]."""
        ...

    def verified(self, public_key: bytes, digest: bytes, signature: bytes) -> bool:
        """Return whether r|s in [1, n-1] is a signature over the digest, by the key of a point of the curve."""
        ...


class _Gmalglib:
    """The C library. Its key objects hold the point and the inverse of 1 + d ready."""

    name = "gmalglib"

    def __init__(self) -> None:
        from gmalglib.sm2 import SM2  # type: ignore[import-untyped]

        self._made: Any = SM2

    def private(self, scalar: int, nonce: Nonce) -> Private:
        return _GmalglibKey(self._made, scalar, nonce)

    def verified(self, public_key: bytes, digest: bytes, signature: bytes) -> bool:
        return bool(self._made(pk=public_key).verify_digest(digest, signature))


class _GmalglibKey:
    def __init__(self, made: Any, scalar: int, nonce: Nonce) -> None:
        def drawn(size: int) -> bytes:
            return nonce().to_bytes(size, sys.byteorder)  # the library reads it as the machine holds numbers

        secret = scalar.to_bytes(SIZE, "big")
        self._key = made(sk=secret, rnd_fn=drawn)
        self.public_key = bytes(made.get_pk(secret))

    def sign(self, digest: bytes) -> bytes:
        return bytes(self._key.sign_digest(digest))


class _Gmssl:
    """The library in Python. It takes hexadecimal text."""

    name = "gmssl"

    def __init__(self) -> None:
        from gmssl.sm2 import CryptSM2  # type: ignore[import-untyped]

        self._made: Any = CryptSM2

    def private(self, scalar: int, nonce: Nonce) -> Private:
        return _GmsslKey(self._made, scalar, nonce)

    def verified(self, public_key: bytes, digest: bytes, signature: bytes) -> bool:
        return bool(_bare(self._made, "", public_key[1:]).verify(signature.hex(), digest))


class _GmsslKey:
    def __init__(self, made: Any, scalar: int, nonce: Nonce) -> None:
        self._nonce = nonce
        self._key = _bare(made, f"{scalar:064x}", b"")
        point = self._key._kg(scalar, self._key.ecc_table["g"])
        self.public_key = UNCOMPRESSED + bytes.fromhex(point)

    def sign(self, digest: bytes) -> bytes:
        signature = None
        while signature is None:  # r, s or r + k came to nothing: another nonce
            signature = self._key.sign(digest, f"{self._nonce():064x}")
        return bytes.fromhex(signature)


def _bare(made: Any, private: str, public: bytes) -> Any:
    """Return gmssl's object. Its constructor strips every leading 0 and 4 of a public key, so that is set afterwards."""
    key = made(private_key=private, public_key="")
    key.public_key = public.hex()
    return key


def _number(part: bytes) -> int:
    return int.from_bytes(part, "big")


LIBRARIES: dict[str, Callable[[], Library]] = {"gmalglib": _Gmalglib, "gmssl": _Gmssl}


def library(*preferred: str) -> Library:
    """Return the first library that is installed. Raises RuntimeError if none is."""
    for name in preferred or tuple(LIBRARIES):
        if importlib.util.find_spec(name) is not None:
            return LIBRARIES[name]()
    raise RuntimeError("SM2 needs the package gmalglib (or, slower, gmssl): pip install gmalglib")
