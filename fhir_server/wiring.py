"""How the parts over one database are joined."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pymongo import AsyncMongoClient, ReadPreference

from consent_engine.vocabulary import Mode
from fhir_server.audit.anchors import KEPT_FILE, Anchors
from fhir_server.audit.chain import Chain
from fhir_server.audit.told import ToldLog
from fhir_server.auth.basis import Sources
from fhir_server.auth.gate import Gatekeeper
from fhir_server.auth.memberships import Memberships
from fhir_server.auth.policy import Policy
from fhir_server.auth.server.revocation import Revocations
from fhir_server.consenting.ends import Ends
from fhir_server.consenting.life_cycle import LifeCycle
from fhir_server.consenting.rows import Rows
from fhir_server.consenting.speaking import Speaking
from fhir_server.consenting.ways import wiring as ways
from fhir_server.crypto.keyring import Keyring
from fhir_server.crypto.sealing import Wrapping
from fhir_server.crypto.tokens import Tokens
from fhir_server.definitions.registry import Registry, registry
from fhir_server.deliveries.held import Deliveries
from fhir_server.emergencies.emergencies import Emergencies
from fhir_server.interactions.call import Services
from fhir_server.interactions.terminology import Terminology
from fhir_server.labelling.manifest import labeller
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
from fhir_server.store.keys import DataKeys
from fhir_server.store.marks import RowMarks
from fhir_server.store.outbox import Outbox
from fhir_server.store.past_consents import Past
from fhir_server.store.persons import Persons
from fhir_server.store.resources import Resources
from fhir_server.store.shadow import Shadows
from fhir_server.store.writing import Writer


class Wiring:
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
        self.anchors = Anchors(self.database, keyring, settings.data / KEPT_FILE)
        self.chain = Chain(self.database, keyring, self.anchors)
        self.committer = Committer(client, self.database, self.chain)
        self.keys = DataKeys(self.database, Wrapping(keyring), self._tokens.of("data-key"))
        self.collections = Collections(self.database, self._registry)
        self._resources = Resources(self.database, self.keys, strictest_label=settings.strictest_label)
        self._persons = Persons(self.database, self._tokens.of("person"))
        self.ways = ways.opened(
            settings, keyring, self.database, resources=self._resources, persons=self._persons, clock=clock
        )
        self._revocations = Revocations(self.database)
        self._emergencies = Emergencies(
            self.database,
            self.keys,
            self._tokens.of("emergency"),
            self._persons,
            lasting=timedelta(minutes=settings.emergency_minutes),
            entitled=settings.emergency_entitlement,
        )
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
        shadows = self._shadows(self._registry, first.projector)
        log = ToldLog(first.projector, shadows, self.keys, self.committer, self._persons)
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
            emergencies=self._emergencies,
            terminology=Terminology(self._resources, self._index, base_url=self._settings.public_base),
            past=Past(self.database, self._resources, self._trust),
            consenting=LifeCycle(
                lambda: held.services,
                Rows(self.database, self._tokens),
                Ends(self.database),
                Outbox(self.database, self.keys),
                self.ways.by_code,
            ),
            deliveries=Deliveries(self.database, RowMarks(self._keyring.derive("delivery marks"))),
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
            self._emergencies.counting,
            Speaking(Facts(self._resources).now, self._persons, self._zone).whose,
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
