"""Consents as the gate needs them: read once per version, found by person or by whom they bear on, never stale.

Every request first reads the consent epochs (one coalesced fetch). A write of a Consent counts its person's epoch up in
the same transaction, so whatever is kept in memory is used only while the epoch it was read under still stands: a
revocation holds for every request that begins after its response, in every worker (consent.md, D14).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, NamedTuple

from pymongo.asynchronous.database import AsyncDatabase

from consent_engine.consent import Consent, bearers, read_consent
from fhir_server.crypto.tokens import Tokens
from fhir_server.fhir_json import parse
from fhir_server.store.coalesce import Coalesced
from fhir_server.store.commit import Unit
from fhir_server.store.numbers import EPOCHS, MEMBERSHIPS, NUMBERS, REVOCATIONS

BUCKETS = 16
ACTIVE = ":consent|active"
BY_PATIENT = "patient"
KNOWN_PERSONS = 50_000
KNOWN_ACTORS = 1_000


class Epochs(NamedTuple):
    """Counts of what changed; what was read under some of them stands as long as those do.

    persons: changes of Consents, one count for each bucket of persons. memberships: changes of who belongs to which
    group, team and institution. revocations: revoked grants. definitions: their number (numbers.py).
    """

    persons: tuple[int, ...] = (0,) * BUCKETS
    memberships: int = 0
    revocations: int = 0
    definitions: int = 0


ByPerson = Mapping[Hashable, tuple[Consent, ...]]
Opener = Callable[[str, list[dict[str, Any]]], Awaitable[list[bytes]]]


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose word opens what: a permit stored by an institution's system opens that institution's records only.

    A patient's own permit, and one stored by an authority (an Organization id in the settings), opens those of all.
    """

    authorities: frozenset[str]
    zone: tzinfo

    def read(self, resource: Mapping[str, Any], *, custodian: str, by: str | None) -> Consent:
        """Return a stored Consent as the engine reads it."""
        trusted = by == BY_PATIENT or custodian in self.authorities
        return read_consent(
            resource,
            id=resource["id"],
            version=resource["meta"]["versionId"],
            zone=self.zone,
            authority=None if trusted else custodian,
        )


def bucket(person: Hashable) -> int:
    """Return the epoch that changes when a Consent of this person does."""
    return int(person) % BUCKETS if isinstance(person, int) else 0


def consent_terms(consent: Consent) -> list[str]:
    """Return the plain index terms under which an active Consent is found by those on whom it bears."""
    found = bearers(consent)
    return [ACTIVE, *(f":bears|{actor}" for actor in found)] if found else []


def count_up(person: Hashable, unit: Unit) -> None:
    """Add to a unit that what is known of a person's Consents is out of date once the unit is stored."""
    unit.touch(EPOCHS, {"_id": bucket(person)}, {"$inc": {"n": 1}})


class Consents:
    """The active Consents of the store."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], index: Tokens, trust: Trust, opened: Opener) -> None:
        self._epochs = database[EPOCHS]
        self._collection = database["Consent"]
        self._index = index
        self._trust = trust
        self._opened = opened
        self._now: Coalesced[str, Epochs] = Coalesced(self._fetch_epochs)
        self._fetched: Coalesced[Hashable, tuple[Consent, ...]] = Coalesced(self._fetch_persons)
        self._by_person: dict[Hashable, tuple[int, tuple[Consent, ...]]] = {}
        self._by_actors: dict[frozenset[str], tuple[Epochs, ByPerson]] = {}
        self._read: dict[tuple[str, int], Consent] = {}

    def begun(self) -> asyncio.Future[Epochs | None]:
        """Return a reading of the epochs, begun now; others may wait for the same."""
        return self._now.get("now")

    async def epochs(self, begun: asyncio.Future[Epochs | None] | None = None) -> Epochs:
        """Return the epochs as they stand now, or when a reading was begun."""
        return await asyncio.shield(begun or self.begun()) or Epochs()

    async def of_persons(self, persons: Iterable[Hashable], epochs: Epochs) -> ByPerson:
        """Return the active Consents of each person, as of these epochs or later."""
        found: dict[Hashable, tuple[Consent, ...]] = {}
        missing = []
        for person in persons:
            known = self._by_person.get(person)
            if known and known[0] == epochs.persons[bucket(person)]:
                found[person] = known[1]
            else:
                missing.append(person)
        if missing:
            fetched = await self._fetched.get_many(missing)
            if len(self._by_person) > KNOWN_PERSONS:
                self._by_person.clear()
            for person in missing:
                found[person] = fetched.get(person, ())
                # What was fetched after the epoch was read is at least as new as the epoch says.
                self._by_person[person] = (epochs.persons[bucket(person)], found[person])
        return found

    async def bearing_on(self, actors: frozenset[str], epochs: Epochs) -> ByPerson:
        """Return, by person, the active Consents that may bear on one of the actors; the others say nothing to them."""
        known = self._by_actors.get(actors)
        if known and known[0] == epochs:
            return known[1]
        terms = [self._index(f":bears|{actor}") for actor in (*sorted(actors), "*")]
        by_person = await self._find({"ix": {"$in": terms}})
        if len(self._by_actors) > KNOWN_ACTORS:
            self._by_actors.clear()
        self._by_actors[actors] = (epochs, by_person)
        return by_person

    async def _find(self, filter: dict[str, Any]) -> ByPerson:
        """Return the Consents that a filter finds, by person; only versions not read before are opened."""
        shown = {"_id": 1, "v": 1, "pat": 1, "pats": 1, "org": 1, "by": 1, "k": 1}
        documents = await self._collection.find(filter, shown).to_list()
        new = [each["_id"] for each in documents if (each["_id"], each["v"]) not in self._read]
        opened = await self._open(new)
        by_person: dict[Hashable, list[Consent]] = {}
        for each in documents:
            # A version that was replaced meanwhile is not found again: then its successor speaks.
            consent = opened.get(each["_id"]) or self._read.get((each["_id"], each["v"]))
            for person in each.get("pats", [each.get("pat")]):
                if consent and person is not None:
                    by_person.setdefault(person, []).append(consent)
        return {person: tuple(found) for person, found in by_person.items()}

    async def _open(self, ids: list[str]) -> dict[str, Consent]:
        if len(self._read) > KNOWN_PERSONS:
            self._read.clear()
        opened: dict[str, Consent] = {}
        for start in range(0, len(ids), 1_000):
            documents = await self._collection.find({"_id": {"$in": ids[start : start + 1_000]}}).to_list()
            for document, body in zip(documents, await self._opened("Consent", documents), strict=True):
                consent = self._trust.read(parse(body), custodian=document["org"], by=document.get("by"))
                opened[document["_id"]] = self._read[document["_id"], document["v"]] = consent
        return opened

    async def _fetch_persons(self, persons: list[Hashable]) -> ByPerson:
        active = self._index(ACTIVE)
        return await self._find(
            {"$or": [{"pat": {"$in": persons}, "ix": active}, {"pats": {"$in": persons}, "ix": active}]}
        )

    async def _fetch_epochs(self, _: list[str]) -> dict[str, Epochs]:
        rows = {each["_id"]: each for each in await self._epochs.find().to_list()}

        def count(id: str | int, of: str = "n") -> int:
            found: int = rows.get(id, {}).get(of, 0)
            return found

        return {
            "now": Epochs(
                persons=tuple(map(count, range(BUCKETS))),
                memberships=count(MEMBERSHIPS),
                revocations=count(REVOCATIONS),
                definitions=count(NUMBERS["_id"], "heard"),
            )
        }
