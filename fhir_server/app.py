"""The composition root: settings in, ASGI app out; the only place where the parts are wired."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from joserfc.jwk import ECKey
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from consent_engine.vocabulary import Mode
from fhir_server import logs
from fhir_server.audit.log import AuditLog
from fhir_server.auth.accounts import wiring as accounts
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.basis import Sources
from fhir_server.auth.bearer import Bearer, Issuer
from fhir_server.auth.gate import Gatekeeper
from fhir_server.auth.memberships import Memberships
from fhir_server.auth.policy import Policy
from fhir_server.auth.server import authority as authorization
from fhir_server.auth.server import endpoints
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.cors import Cors
from fhir_server.auth.server.revocation import Revocations
from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import Wrapping
from fhir_server.crypto.tokens import Tokens
from fhir_server.definitions.registry import Registry, registry
from fhir_server.http import plain
from fhir_server.http.fhir import FhirEndpoint
from fhir_server.interactions.call import Services
from fhir_server.interactions.terminology import Terminology
from fhir_server.labelling.manifest import labeller
from fhir_server.reindexing.building import Building
from fhir_server.reindexing.definitions import Definitions, Filing
from fhir_server.search.matches import Matches
from fhir_server.search.project import Projector
from fhir_server.search.sorting import SortValues
from fhir_server.settings import Settings
from fhir_server.store.collections import Collections
from fhir_server.store.commit import Committer
from fhir_server.store.conditions import Conditions
from fhir_server.store.consents import Consents, Trust
from fhir_server.store.facts import Facts
from fhir_server.store.history import History
from fhir_server.store.installation import claim
from fhir_server.store.keys import DataKeys
from fhir_server.store.past_consents import Past
from fhir_server.store.persons import Persons
from fhir_server.store.resources import Resources
from fhir_server.store.shadow import Shadows
from fhir_server.store.writing import Writer

VERSION = version("fhir-facade")
ISSUER = "fhir-facade"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that commands use without HTTP."""

    definitions: Definitions
    building: Building
    keys: DataKeys
    collections: Collections
    client: AsyncMongoClient[dict[str, Any]]
    database: AsyncDatabase[dict[str, Any]]
    fingerprint: str

    @property
    def services(self) -> Services:
        """The services under the definitions that are in force, as far as this process knows."""
        return self.definitions.services

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
        await self.definitions.renew()


def keyring_of(settings: Settings) -> Keyring:
    """Return the keyring of an installation, made when it is first asked for."""
    settings.data.mkdir(parents=True, exist_ok=True)
    return Keyring.open(settings.data / "keyring.json")


def bearer_of(keyring: Keyring, server: Issuer | None = None) -> Bearer:
    """Return the issuer and verifier of an installation's tokens. server: whose tokens it verifies beside its own."""
    key = ECKey.import_key(keyring.signing_pem.decode())
    return Bearer(key, issuer=f"{ISSUER}/{keyring.fingerprint}", server=server)


class _Wiring:
    """How the parts over one database are joined."""

    def __init__(
        self,
        settings: Settings,
        keyring: Keyring,
        client: AsyncMongoClient[dict[str, Any]],
        clock: Callable[[], datetime],
        *,
        gated: bool,
    ) -> None:
        self._settings = settings
        self._keyring = keyring
        self._clock = clock
        self._gated = gated
        self._tokens = Tokens(keyring.index_key)
        self._index, self._labels = self._tokens.of("index"), self._tokens.of("label")
        self._zone = ZoneInfo(settings.zone)
        self._registry = registry()
        self._labeller = labeller(self._registry, settings.label_folders)
        # Whatever the URI says: a secondary may not know yet of a revocation that was acknowledged.
        self.database = client.get_database(settings.database, read_preference=ReadPreference.PRIMARY)
        self.committer = Committer(client, self.database)
        self.keys = DataKeys(self.database, Wrapping(keyring), self._tokens.of("data-key"))
        self.collections = Collections(self.database, self._registry)
        self._resources = Resources(self.database, self.keys, strictest_label=settings.strictest_label)
        self._persons = Persons(self.database, self._tokens.of("person"))
        self._revocations = Revocations(self.database)
        self._trust = Trust(settings.trusted_consent_authorities, self._zone)

    def filing(self, of: Registry) -> Filing:
        """Return what files and finds under one state of the definitions."""
        base = self._settings.public_base
        projector = Projector(of, zone=self._zone, base_url=base)
        writer = Writer(
            self.database,
            collections=self.collections,
            shadows=self._shadows(of, projector),
            persons=self._persons,
            keys=self.keys,
            resources=self._resources,
            digest=self._tokens.of("digest"),
            trust=self._trust,
            registry=of,
        )
        matches = Matches(of, zone=self._zone, base_url=base)
        return Filing(projector, matches, SortValues(of, zone=self._zone, base_url=base), writer)

    def definitions(self) -> Definitions:
        """Return the definitions in their first state, with the services that stand under it."""
        held = Definitions(self.database, self._registry, self.committer.fence, self.filing)
        held.begin(self._services(held, self.filing(self._registry)))
        return held

    def _services(self, held: Definitions, first: Filing) -> Services:
        log = AuditLog(first.projector, self._shadows(self._registry, first.projector), self.keys, self.committer)
        return Services(
            settings=self._settings,
            registry=self._registry,
            definitions=held,
            **first._asdict(),
            resources=self._resources,
            history=History(self.database, self._resources),
            committer=self.committer,
            conditions=Conditions(self.database, self._tokens.of("condition")),
            gatekeeper=self._gatekeeper(),
            audit=log,
            terminology=Terminology(self._resources, self._index, base_url=self._settings.public_base),
            past=Past(self.database, self._resources, self._trust),
            clock=self._clock,
            term=self._index,
            cursor_key=self._keyring.cursor_key,
            zone=self._zone,
        )

    def _gatekeeper(self) -> Gatekeeper:
        settings = self._settings
        sources = Sources(
            Consents(self.database, self._index, self._trust, Facts(self._resources), self._resources.opened),
            self._persons,
            Memberships(self._resources, self._index, self._zone),
            self._revocations.check,
            self._clock,
        )
        return Gatekeeper(
            self._registry,
            sources,
            policy=Policy(
                treatment=settings.implicit_policy == "treatment",
                reporting=settings.reporting_clients,
                gated=self._gated,
            ),
            mode=Mode(settings.conflict_mode),
            index=self._index,
            labels=self._labels,
        )

    def _shadows(self, of: Registry, projector: Projector) -> Shadows:
        base = self._settings.public_base
        return Shadows(of, projector, self._index, self._labels, base_url=base, labeller=self._labeller)


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
    wiring = _Wiring(settings, keyring, client, clock, gated=gated)
    held = wiring.definitions()
    return Parts(
        definitions=held,
        building=Building(wiring.database, held, wiring.committer),
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

    beside = (plain.health(alive),)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await parts.ready()
        building = asyncio.create_task(parts.building.forever())
        yield
        building.cancel()
        await asyncio.wait([building])
        await parts.client.close()

    return Starlette(
        routes=[
            # In the order in which they are looked through: what is asked most comes early.
            endpoints.smart_configuration(authority),
            Route("/fhir/{path:path}", endpoint),
            Route("/fhir", endpoint),
            *endpoints.routes(authority, bearer),
            *accounts.routes(parts.reception(settings, keyring, authority), authority, bearer),
            *(each.route() for each in (*beside, plain.description(beside, version=VERSION))),
        ],
        middleware=[Middleware(Cors, origins=authority.clients.origins, always=settings.cors_origins)],
        lifespan=lifespan,
    )


def worker() -> Starlette:
    """Return the app of one worker process; the command line hands settings and database over in the environment."""
    logs.to_standard_error()
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
