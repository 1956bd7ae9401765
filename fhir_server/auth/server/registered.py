"""The clients of this installation, sealed and signed in the store; the operator registers them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pymongo.errors import DuplicateKeyError

from fhir_server.auth.server.clients import Client, InvalidClient, Kind, checked, client_of
from fhir_server.auth.server.vault import CLIENTS, Vault, new_secret
from fhir_server.auth.signed.register import Register

ORIGINS_KEPT = 2.0  # seconds


class Clients:
    """Registered clients by id. One whose row was changed behind the server's back counts as none."""

    def __init__(self, register: Register, vault: Vault) -> None:
        self._register = register
        self._vault = vault
        self._origins: tuple[float, frozenset[str]] = (-ORIGINS_KEPT, frozenset())

    async def get(self, id: str) -> Client | None:
        """Return a client as it is registered now."""
        row = await self._register.row(CLIENTS, {"_id": id})
        return self.read(row) if row else None

    async def every(self) -> list[Client]:
        """Return all clients, by id."""
        return [self.read(row) for row in await self._register.rows(CLIENTS)]

    async def add(self, client: Client) -> Client:
        """Register a new client, and return it as stored. Raises InvalidClient."""
        made = checked(replace(client, generation=new_secret(12)))
        if await self.get(made.id) is not None:
            raise InvalidClient(f"A client {made.id} is registered already: remove it first, or take another id.")
        try:
            await self._register.insert(CLIENTS, self._row(made))
        except DuplicateKeyError:
            raise InvalidClient(
                f"There is a row of a client {made.id} that is not as it was registered. See: fhir-facade keys check-access"
            ) from None
        return made

    async def change(self, client: Client) -> None:
        """Store a registered client as it is to be from now on. Raises InvalidClient."""
        row = self._row(checked(client))
        if not await self._register.change(CLIENTS, client.id, lambda _: row):
            raise InvalidClient(f"No client {client.id} is registered.")

    async def remove(self, id: str) -> None:
        """Forget a client. What it was granted is revoked by its generation (revocation.py)."""
        await self._register.remove(CLIENTS, id)

    async def origins(self) -> frozenset[str]:
        """Return the origins whose pages may call this server, as of two seconds ago or later."""
        read, found = self._origins
        if time.monotonic() - read >= ORIGINS_KEPT:
            read = time.monotonic()
            found = frozenset(origin for client in await self.every() for origin in client.origins)
            self._origins = (read, found)
        return found

    def _row(self, client: Client) -> dict[str, Any]:
        return {"_id": client.id, "body": self._vault.sealed(_place(client.id), client.stored())}

    def read(self, row: Mapping[str, Any]) -> Client:
        """Return the client that a row seals. Raises Unsealable."""
        return client_of(self._vault.opened(_place(row["_id"]), row["body"]))


def _place(id: str) -> str:
    return f"{CLIENTS}/{id}"


def public(client: Client) -> dict[str, Any]:
    """Return a client as JSON for people: without the hash of its secret."""
    shown = {name: value for name, value in client.stored().items() if value not in (None, (), False, "")}
    shown.pop("secret_hash", None)
    shown.pop("generation", None)
    return {**shown, "kind": str(Kind(client.kind))}
