"""Secret sharing: a secret in n shares, of which any k restore it and any k - 1 tell nothing about it but its length.

Each byte of the secret is the value at 0 of a polynomial of degree k - 1 over GF(256) whose other coefficients are random;
a share has its values at one x. Given k - 1 shares, every secret of that length is as likely as every other.
Source: A. Shamir, "How to Share a Secret", 1979. The field is that of FIPS 197, 4.2: x^8 + x^4 + x^3 + x + 1.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

MOST = 255  # shares: the elements of the field but 0, where the secret is
_MODULUS, _GENERATOR = 0x11B, 0x03


def _tables() -> tuple[list[int], list[int]]:
    """Return the powers of the generator (twice around) and the logarithms to it."""
    powers, logarithms, value = [0] * 510, [0] * 256, 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = value
        logarithms[value] = exponent
        doubled = value << 1
        value = (doubled ^ _MODULUS if doubled & 0x100 else doubled) ^ value  # times x + 1
    return powers, logarithms


_POWERS, _LOGARITHMS = _tables()


def times(a: int, b: int) -> int:
    """Return the product in GF(256).

    >>> hex(times(0x57, 0x83))  # FIPS 197, 4.2
    '0xc1'
    """
    return _POWERS[_LOGARITHMS[a] + _LOGARITHMS[b]] if a and b else 0


def over(a: int, b: int) -> int:
    """Return the quotient in GF(256); b is not 0."""
    return _POWERS[_LOGARITHMS[a] + 255 - _LOGARITHMS[b]] if a else 0


def split(secret: bytes, *, shares: int, threshold: int) -> dict[int, bytes]:
    """Return the shares by their x, from 1 on, each as long as the secret. Raises ValueError.

    >>> parts = split(b"master key", shares=3, threshold=2)
    >>> joined({3: parts[3], 1: parts[1]})
    b'master key'
    """
    if not 1 < threshold <= shares <= MOST:
        raise ValueError(f"a threshold is at least 2 and at most the number of shares, which is at most {MOST}")
    coefficients = [secret, *(os.urandom(len(secret)) for _ in range(threshold - 1))]
    return {x: bytes(_value(each, x) for each in zip(*coefficients, strict=True)) for x in range(1, shares + 1)}


def _value(coefficients: Sequence[int], x: int) -> int:
    """Return the polynomial's value at x; its lowest coefficient comes first."""
    value = 0
    for coefficient in reversed(coefficients):
        value = times(value, x) ^ coefficient
    return value


def joined(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret that shares (by their x) restore; fewer than the threshold, or changed ones, give another text."""
    weights = {x: _at_zero(x, [other for other in shares if other != x]) for x in shares}
    restored = bytearray(len(next(iter(shares.values()))))
    for x, share in shares.items():
        for place, value in enumerate(share):
            restored[place] ^= times(weights[x], value)
    return bytes(restored)


def _at_zero(x: int, others: Sequence[int]) -> int:
    """Return the Lagrange polynomial of x at 0: the product of other / (other - x)."""
    weight = 1
    for other in others:
        weight = times(weight, over(other, other ^ x))
    return weight
