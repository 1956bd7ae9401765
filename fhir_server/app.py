"""The composition root: settings in, ASGI app out; with wiring.py the only place where the parts are joined."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route

from fhir_server import logs
from fhir_server.audit.chain import Chain
from fhir_server.audit.gathering import Gathering
from fhir_server.audit.leaving import Leavings
from fhir_server.audit.where import Addressed
from fhir_server.auth.accounts import wiring as accounts
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.bearer import Bearer, Issuer
from fhir_server.auth.server import authority as authorization
from fhir_server.auth.server import endpoints
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.cors import Cors
from fhir_server.consenting.reminders import Reminders
from fhir_server.consenting.ways.box import Box
from fhir_server.consenting.ways.transport import Queue, Sending
from fhir_server.consenting.ways.wiring import Ways
from fhir_server.crypto import opening
from fhir_server.crypto.keyring import Keyring
from fhir_server.deliveries import held as deliveries
from fhir_server.deliveries.purging import Purging
from fhir_server.emergencies import emergencies
from fhir_server.http import plain
from fhir_server.http.fhir import FhirEndpoint
from fhir_server.http.front import Front
from fhir_server.interactions.call import Services
from fhir_server.pages.desk import routes as desk
from fhir_server.pages.desk.checks import Checks
from fhir_server.pages.messages import routes as messages
from fhir_server.pages.my import wiring as my_pages
from fhir_server.pages.prompt import wiring as prompts
from fhir_server.pages.rendering import nowhere
from fhir_server.reindexing.building import Building
from fhir_server.reindexing.definitions import Definitions
from fhir_server.search.types import pinyin
from fhir_server.settings import Settings
from fhir_server.store.collections import Collections
from fhir_server.store.installation import claim
from fhir_server.store.keys import DataKeys
from fhir_server.wiring import Wiring

VERSION = version("fhir-facade")
ISSUER = "fhir-facade"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that commands use without HTTP."""

    definitions: Definitions
    building: Building
    purging: Purging
    ways: Ways
    reminders: Reminders
    chain: Chain
    leavings: Leavings
    keys: DataKeys
    collections: Collections
    client: AsyncMongoClient[dict[str, Any]]
    database: AsyncDatabase[dict[str, Any]]
    fingerprint: str

    @property
    def services(self) -> Services:
        """The services under the definitions that are in force, as far as this process knows."""
        return self.definitions.services

    @property
    def beside(self) -> tuple[Building | Purging | Chain | Leavings | Reminders | Sending | Gathering, ...]:
        """What goes on beside the requests, as long as the server runs."""
        sending = (self.ways.sending,) if self.ways.sending else ()
        gathering = self.services.audit.gathering
        return (self.building, self.purging, self.chain, self.leavings, self.reminders, gathering, *sending)

    def authority(self, settings: Settings, keyring: Keyring) -> Authority:
        """Return the authorization server."""
        use = self.services
        return authorization.opened(
            settings, keyring, self.database, audit=use.audit, committer=use.committer, at=lambda: self.services.now()
        )

    def reception(self, settings: Settings, keyring: Keyring, authority: Authority) -> Reception:
        """Return what the pages of sign-in and approval work with."""
        return accounts.opened(settings, keyring, self.database, self.services, authority)

    async def ready(self, *, any_layout: bool = False) -> None:
        """Make what the store needs before the first request. Raises WrongInstallation.

        any_layout: the records need not be indexed as this version of the program does it.
        """
        zone = str(self.services.zone)
        await claim(self.database, keyring=self.fingerprint, zone=zone, any_layout=any_layout)
        await self.collections.ensure("AuditEvent", "Consent", "Patient")
        await authorization.ensure(self.database)
        await accounts.ensure(self.database)
        await emergencies.ensure(self.database)
        await deliveries.ensure(self.database)
        await self.ways.ensure()
        await self.services.consenting.ensure()
        await prompts.ensure(self.database)
        await self.definitions.renew()

    async def close(self) -> None:
        """Anchor the end of this process's audit log, and leave the database."""
        with suppress(PyMongoError):  # the first of each kind is stored
            await self.services.audit.gathering.settle()
        await self.chain.close()
        await self.client.close()


def keyring_of(settings: Settings) -> Keyring:
    """Return the keyring of an installation, made when it is first asked for."""
    settings.data.mkdir(parents=True, exist_ok=True)
    return opening.opened(settings.data, settings.key_custody)


def bearer_of(keyring: Keyring, server: Issuer | None = None) -> Bearer:
    """Return the issuer and verifier of an installation's tokens. server: whose tokens it verifies beside its own."""
    key = ECKey.import_key(keyring.signing_pem.decode())
    return Bearer(key, issuer=f"{ISSUER}/{keyring.fingerprint}", server=server)


def assemble(
    settings: Settings,
    keyring: Keyring,
    *,
    uri: str,
    clock: Callable[[], datetime] = _now,
    gated: bool = True,
) -> Parts:
    """Return the wired parts over the database at a MongoDB URI. gated: see auth/policy.py."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        uri, tz_aware=True, maxPoolSize=20, serverSelectionTimeoutMS=5_000
    )
    wiring = Wiring(settings, keyring, client, clock, gated=gated)
    held = wiring.definitions()
    return Parts(
        definitions=held,
        building=Building(wiring.database, held, wiring.committer),
        purging=Purging(wiring.database, wiring.keys, lambda: held.services),
        ways=wiring.ways,
        reminders=Reminders(
            wiring.database,
            lambda: held.services,
            Queue(wiring.database, Box(keyring)) if wiring.ways.sending else None,
        ),
        chain=wiring.chain,
        leavings=Leavings(wiring.database, keyring, wiring.anchors),
        keys=wiring.keys,
        collections=wiring.collections,
        client=client,
        database=wiring.database,
        fingerprint=keyring.fingerprint,
    )


def create_app(settings: Settings, parts: Parts, keyring: Keyring) -> Starlette:
    """Return the ASGI app over wired parts."""
    authority = parts.authority(settings, keyring)
    bearer = bearer_of(keyring, authority.issuer)
    endpoint = FhirEndpoint(parts.services, bearer, base=settings.public_base, version=VERSION)

    async def alive() -> bool:
        try:
            await parts.client.admin.command("ping")
        except PyMongoError:
            return False
        return True

    checks = (plain.health(alive),)
    reception = parts.reception(settings, keyring, authority)
    refiling = parts.services.audit.refiling
    verifications = Checks(parts.database, keyring, reception.vault, parts.services.now, refiling)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await parts.ready()
        beside = [asyncio.create_task(each.forever()) for each in parts.beside]
        yield
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
        await verifications.close()
        await parts.close()

    return Front(
        endpoint,
        routes=[
            # In the order in which they are looked through: what is asked most comes early.
            endpoints.smart_configuration(authority),
            Route("/fhir/{path:path}", endpoint),
            Route("/fhir", endpoint),
            *endpoints.routes(authority, bearer),
            *accounts.routes(reception, authority, bearer),
            *my_pages.routes(reception, authority),
            *prompts.routes(parts.database, reception, authority, bearer),
            *desk.routes(reception, verifications),
            *(messages.routes(reception, parts.ways.stand_in) if parts.ways.stand_in else ()),
            *(each.route() for each in (*checks, plain.description(checks, version=VERSION))),
        ],
        middleware=[
            Middleware(Addressed),
            Middleware(Cors, origins=authority.clients.origins, always=settings.cors_origins),
        ],
        exception_handlers={HTTPException: nowhere},
        lifespan=lifespan,
    )


def worker() -> Starlette:
    """Return the app of one worker process; the command line hands settings and database over in the environment."""
    logs.to_standard_error()
    pinyin.prepare()
    settings = Settings.load(Path(os.environ["FHIR_DATA"]))
    keyring = keyring_of(settings)
    made = create_app(settings, assemble(settings, keyring, uri=os.environ["FHIR_MONGODB_URI"]), keyring)
    _collect_rarely()
    return made


def _collect_rarely() -> None:
    """Keep the garbage collector from looking through what lives as long as the process.

    Definitions, models and caches are many objects; walking them stopped a worker for 50 ms now and then: the slowest
    hundredth of reads by id took 46 to 70 ms with it, 13 to 29 ms without.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
