"""The parts of the authorization server, joined once for each process, as its endpoints and commands use them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pymongo import ASCENDING
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.audit.log import AuditLog
from fhir_server.auth.bearer import Issuer
from fhir_server.auth.server.assertions import Assertions
from fhir_server.auth.server.authentication import Authentication
from fhir_server.auth.server.authorizations import Authorizations, Lives
from fhir_server.auth.server.client_keys import ClientKeys
from fhir_server.auth.server.clients import Client
from fhir_server.auth.server.grants import Grant, Grants
from fhir_server.auth.server.recording import Recorder
from fhir_server.auth.server.registered import Clients
from fhir_server.auth.server.revocation import Revocations, revoke_generation, revoke_grants, revoke_keys
from fhir_server.auth.server.signing import SigningKeys, Use
from fhir_server.auth.server.tokens import Minting
from fhir_server.auth.server.vault import GRANTS, PASSING, Vault
from fhir_server.auth.signed.refusing import Refusing
from fhir_server.auth.signed.register import PURPOSE, Register
from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import Wrapping
from fhir_server.settings import Settings
from fhir_server.store.commit import Committer, Unit
from fhir_server.store.marks import PURPOSE as MARKS
from fhir_server.store.marks import Marks

Database = AsyncDatabase[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Authority:
    """What the endpoints need. base: of the FHIR API. origin: of everything else, and the issuer's name."""

    base: str
    origin: str
    database: Database
    register: Register
    clients: Clients
    grants: Grants
    keys: SigningKeys
    minting: Minting
    authentication: Authentication
    assertions: Assertions
    authorizations: Authorizations
    revocations: Revocations
    recorder: Recorder
    committer: Committer
    marks: Marks
    now: Callable[[], float]

    @property
    def issuer(self) -> Issuer:
        """What the verifier of tokens needs to know of this server."""

        async def keys() -> Any:
            return await self.keys.verifying(Use.ACCESS)

        return Issuer(self.origin, self.base, keys)

    async def end(self, grants: Iterable[Grant], what: str) -> None:
        """End grants and every token that stands on them, at once in every worker. what: revocation, reuse, sign-out."""
        unit, ended = Unit(), list(grants)
        revoke_grants((grant.id for grant in ended), unit)
        for grant in ended:
            await self.recorder.add(what, grant, unit)
        if ended:
            await self.committer.commit(unit)

    async def end_all(self, what: str, **found_by: str) -> int:
        """End all grants of a client, an account, or a session that are not for offline access; return how many.

        found_by: client=, account= or session=, in plain.
        """
        found = [await self.grants.grant(id) for id in await self.grants.ids(**found_by)]
        await self.end([grant for grant in found if grant is not None], what)
        return len(found)

    async def rotate(self, *, at_once: bool = False) -> None:
        """Sign with new keys from now on. at_once: what the old ones have signed is void at once, in every worker."""
        before = [each.kid for each in await self.keys.every()]
        await self.keys.rotate(at_once=at_once)
        if at_once:
            unit = Unit()
            revoke_keys(before, unit)
            await self.committer.commit(unit)

    async def remove(self, client: Client) -> int:
        """Forget a client; all that it was granted ends. Return how many grants of users ended."""
        await self.clients.remove(client.id)
        unit = Unit()
        revoke_generation(client.generation, unit)
        await self.committer.commit(unit)
        return await self.end_all("revocation", client=client.id)


def opened(
    settings: Settings,
    keyring: Keyring,
    database: Database,
    *,
    audit: AuditLog,
    committer: Committer,
    at: Callable[[], int],
    now: Callable[[], float] = time.time,
) -> Authority:
    """Return the authorization server of an installation. at: for the log, in microseconds; now: in seconds."""
    base, origin, vault = settings.public_base, settings.origin, Vault(keyring)
    lives = Lives(
        settings.access_token_seconds, settings.offline_access_days * 86_400, settings.online_access_hours * 3_600
    )
    refusing = Refusing(audit, at)
    register = Register(database, keyring.signer(PURPOSE), refusing)
    clients, grants = Clients(register, vault), Grants(database, vault, refusing)
    keys, recorder = SigningKeys(database, Wrapping(keyring)), Recorder(audit, at)
    audiences = frozenset({f"{origin}/auth/token"})
    assertions = Assertions(clients, ClientKeys(), database, vault, audiences=audiences, now=now)
    return Authority(
        base=base,
        origin=origin,
        database=database,
        register=register,
        clients=clients,
        grants=grants,
        keys=keys,
        minting=Minting(keys, issuer=origin, base=base, lifetime=lives.access, now=now),
        authentication=Authentication(clients, assertions, recorder, database, vault),
        assertions=assertions,
        authorizations=Authorizations(
            clients, grants, committer, recorder, base=base, issuer=origin, lives=lives, now=now
        ),
        revocations=Revocations(database),
        recorder=recorder,
        committer=committer,
        marks=Marks(keyring.derive(MARKS)),
        now=now,
    )


async def ensure(database: Database) -> None:
    """Make the collections of what passes, and the indexes by which MongoDB drops it in time."""
    for name in PASSING:
        await database[name].create_index([("until", ASCENDING)], name="until", expireAfterSeconds=0)
    for name in ("client", "account", "session"):
        await database[GRANTS].create_index([(name, ASCENDING)], name=name, sparse=True)
