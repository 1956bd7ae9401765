"""Passwords: argon2id, RFC 9106's second recommended option (64 MiB), hashed anew when that changes.

Source: RFC 9106 section 4; NIST SP 800-63B section 5.1.1.2 (length before composition; the whole password counts).
"""

from __future__ import annotations

import asyncio
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from starlette.concurrency import run_in_threadpool

from fhir_server.auth.nobodys import nobodys

SHORTEST, LONGEST = 12, 256  # characters
FEWEST_DIFFERENT = 6
AT_A_TIME = 2  # hashes; each takes 64 MiB


class WeakPassword(ValueError):
    """A password that is not taken; `rule` names why, a key of the pages' texts."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def acceptable(password: str, login: str) -> str:
    """Return the password if it may be set for this login name. Raises WeakPassword.

    >>> acceptable("correct horse battery", "li")
    'correct horse battery'
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPassword("password_length", f"a password has {SHORTEST} to {LONGEST} characters")
    if len(set(password)) < FEWEST_DIFFERENT:
        raise WeakPassword("password_varied", f"a password has at least {FEWEST_DIFFERENT} different characters")
    if len(login) > 3 and login.casefold() in password.casefold():
        raise WeakPassword("password_login", "a password does not contain the login name")
    return password


class Passwords:
    """Hashes and verifies in threads, a few at a time, so that many who sign in do not fill the memory."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._turn = asyncio.Semaphore(AT_A_TIME)
        self._nobodys = nobodys(self._hasher)

    async def hashed(self, password: str) -> str:
        """Return the hash of a password, with its parameters and salt (PHC string)."""
        async with self._turn:
            return await run_in_threadpool(self._hasher.hash, _form(password))

    async def verify(self, password: str, kept: str | None) -> bool:
        """Return whether a password is the one whose hash is kept; None, which no password is, takes as long."""
        if len(password) > LONGEST:
            password = ""
        async with self._turn:
            return await run_in_threadpool(self._verify, _form(password), kept or self._nobodys) and kept is not None

    def outdated(self, kept: str) -> bool:
        """Return whether a hash was made with other parameters than the present ones."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, password: str, kept: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False


def _form(password: str) -> str:
    """Return a password as it is hashed: what looks the same on two keyboards is the same (RFC 8265, 4.2)."""
    return unicodedata.normalize("NFC", password)
