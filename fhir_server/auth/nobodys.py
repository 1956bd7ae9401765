"""A hash that no secret has, for who is not there: to verify against it takes as long as against any other."""

from __future__ import annotations

import secrets
from base64 import b64encode

from argon2 import PasswordHasher


def nobodys(hasher: PasswordHasher) -> str:
    """Return a PHC string with the parameters of a hasher, and drawn bytes in place of salt and hash.

    Nothing is hashed for it: each process makes it as it starts, and one hash takes 64 MiB and a tenth of a second.

    >>> hasher = PasswordHasher()
    >>> made = nobodys(hasher)
    >>> made[:10], hasher.check_needs_rehash(made), len(made) == len(hasher.hash("x"))
    ('$argon2id$', False, True)
    """
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    drawn = (_text(secrets.token_bytes(length)) for length in (hasher.salt_len, hasher.hash_len))
    return "$".join(("", f"argon2{hasher.type.name.lower()}", "v=19", cost, *drawn))


def _text(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")
