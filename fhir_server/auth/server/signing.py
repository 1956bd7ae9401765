"""The keys that tokens are signed with: made and rotated for all workers at once, private parts wrapped by the keyring.

Access tokens are signed with ES256, id tokens with RS256, which every OpenID Connect client can verify. The newest key of
each use signs; those before it are published until the last token that they signed has expired.
Source: RFC 7517, 7638; RFC 9068; OpenID Connect Core 1.0, 3.1.3.7 and 10.1.1.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import inf
from typing import Any

from joserfc.jwk import ECKey, RSAKey
from pymongo import DESCENDING
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.auth.bearer import SigningKey, Verifying
from fhir_server.auth.server.vault import SIGNING_KEYS
from fhir_server.crypto.sealing import WrappedKey, Wrapping
from fhir_server.store.commit import DURABLE

# How long a key is published after another took its place: longer than any token that it signed lives.
PUBLISHED = timedelta(hours=1, minutes=5)
RSA_BITS = 2048


class Use(StrEnum):
    """What a key signs."""

    ACCESS = "access"
    IDENTITY = "identity"


ALGORITHMS = {Use.ACCESS: "ES256", Use.IDENTITY: "RS256"}


@dataclass(frozen=True, slots=True)
class Stored:
    """A key as it is listed. until: when it is published no longer; None for the one that signs."""

    kid: str
    use: Use
    made: datetime
    until: datetime | None


class SigningKeys:
    """The signing keys of this installation."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], wrapping: Wrapping) -> None:
        self._rows = database.get_collection(SIGNING_KEYS, write_concern=DURABLE)
        self._wrapping = wrapping
        self._opened: dict[str, SigningKey] = {}

    async def signing(self, use: Use) -> SigningKey:
        """Return the key that signs now; the first one is made when it is asked for."""
        row = await self._rows.find_one({"use": use, "until": None}, sort=[("made", DESCENDING), ("_id", DESCENDING)])
        return self._open(row) if row else await self.make(use)

    async def verifying(self, use: Use) -> Mapping[str, Verifying]:
        """Return by kid the keys whose tokens are taken now."""
        return {
            row["_id"]: Verifying(self._open(row), row["until"].timestamp() if row["until"] else inf)
            for row in await self._published()
            if row["use"] == use
        }

    async def published(self) -> dict[str, Any]:
        """Return the JWK set of the public keys; whoever keeps it finds in it the keys of the first tokens too."""
        for use in Use:
            await self.signing(use)
        return {
            "keys": [
                {
                    **self._open(row).as_dict(private=False),
                    "kid": row["_id"],
                    "use": "sig",
                    "alg": ALGORITHMS[row["use"]],
                }
                for row in await self._published()
            ]
        }

    async def every(self) -> list[Stored]:
        """Return the keys that are published, newest first."""
        return [Stored(row["_id"], Use(row["use"]), row["made"], row["until"]) for row in await self._published()]

    async def rotate(self, *, at_once: bool = False) -> None:
        """Make a new key for each use; those before it sign no longer, and are published until their tokens are gone.

        at_once: their tokens are void now, as they have to be if somebody else has a key.
        """
        after = timedelta() if at_once else PUBLISHED
        for use in Use:
            new = await self.make(use)
            before: dict[str, Any] = {"use": use, "_id": {"$ne": new.kid}}
            if not at_once:
                before["until"] = None
            await self._rows.update_many(before, {"$set": {"until": datetime.now(UTC) + after}})

    async def make(self, use: Use) -> SigningKey:
        """Return a new key, which signs from now on."""
        key: SigningKey = ECKey.generate_key("P-256") if use is Use.ACCESS else await asyncio.to_thread(_rsa)
        kid = key.thumbprint()
        key = _named(key, kid)
        wrapped = self._wrapping.wrap(json.dumps(key.as_dict(private=True)).encode(), owner_of(kid))
        row = {"_id": kid, "use": str(use), "made": datetime.now(UTC), "until": None}
        await self._rows.insert_one({**row, "master": wrapped.master, "sealed": wrapped.sealed})
        self._opened[kid] = key
        return key

    async def _published(self) -> list[dict[str, Any]]:
        present = {"$or": [{"until": None}, {"until": {"$gt": datetime.now(UTC)}}]}
        return await self._rows.find(present).sort([("made", DESCENDING), ("_id", DESCENDING)]).to_list()

    def _open(self, row: Mapping[str, Any]) -> SigningKey:
        kid = row["_id"]
        if kid not in self._opened:
            plain = self._wrapping.unwrap(WrappedKey(row["master"], row["sealed"]), owner_of(kid))
            form = ECKey if row["use"] == Use.ACCESS else RSAKey
            self._opened[kid] = form.import_key(json.loads(plain))
        return self._opened[kid]


def _rsa() -> RSAKey:
    return RSAKey.generate_key(RSA_BITS)


def _named(key: SigningKey, kid: str) -> SigningKey:
    return type(key).import_key({**key.as_dict(private=True), "kid": kid})


def owner_of(kid: str) -> bytes:
    """Return the owner of a signing key for its wrapping."""
    return f"signing key {kid}".encode()
