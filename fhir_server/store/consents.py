"""Consents as the gate needs them: read once per version, found by person or by whom they bear on, never stale.

Every request first reads the consent epochs (one coalesced fetch). A write of a Consent counts its person's epoch up in
the same transaction, so whatever is kept in memory is used only while the epoch it was read under still stands: a
revocation holds for every request that begins after its response, in every worker (consent.md, D14).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, NamedTuple, TypeAlias, cast

from pymongo.asynchronous.database import AsyncDatabase

from consent_engine.consent import Consent, bearers, read_consent, rests_on
from consent_engine.proxies import rests_on_proxies
from fhir_server.crypto.tokens import Tokens
from fhir_server.fhir_json import parse
from fhir_server.store.coalesce import Coalesced
from fhir_server.store.commit import Unit
from fhir_server.store.facts import Fact, Facts
from fhir_server.store.marks import FIELD as MARK
from fhir_server.store.numbers import EPOCHS, MEMBERSHIPS, NUMBERS, REVOCATIONS

BUCKETS = 16
# The types whose resources say who belongs to whom (auth/memberships.py).
MEMBERSHIP_TYPES = frozenset({"CareTeam", "Group", "Organization", "PractitionerRole"})
# The types whose resources decide which Consents of their persons take part: these, and who may speak for whom.
PROXY_TYPES = frozenset({"Consent", "Patient", "RelatedPerson"})
ACTIVE = ":consent|active"
BY_PATIENT = "patient"
KNOWN_PERSONS = 50_000
KNOWN_ACTORS = 1_000
OPENED_AT_ONCE = 200  # that others may be answered in between


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
NO_FACTS: Mapping[str, Fact] = {}
NOTHING_KNOWN: Mapping[str, Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose word opens what: a permit stored by an institution's system opens that institution's records only.

    A patient's own permit, and one stored by an authority (an Organization id in the settings), opens those of all.
    """

    authorities: frozenset[str]
    zone: tzinfo

    def read(
        self,
        resource: Mapping[str, Any],
        *,
        custodian: str,
        by: str | None,
        facts: Mapping[str, Mapping[str, Any]] = NOTHING_KNOWN,
    ) -> Consent:
        """Return a stored Consent as the engine reads it. facts: the resources it rests on, as far as they are there."""
        trusted = by == BY_PATIENT or custodian in self.authorities
        return read_consent(
            resource,
            id=resource["id"],
            version=resource["meta"]["versionId"],
            zone=self.zone,
            authority=None if trusted else custodian,
            facts=facts,
        )


class Kept:
    """A version of a Consent as it is stored, and its last reading.

    needs: what its reading rests on. lasting: the part of it whose changes count the epoch of the Consent's person up.
    """

    __slots__ = ("_by", "_consent", "_custodian", "_facts", "_resource", "_trust", "lasting", "needs")

    def __init__(self, resource: Mapping[str, Any], trust: Trust, *, custodian: str, by: str | None) -> None:
        self._resource = resource
        self._trust = trust
        self._custodian = custodian
        self._by = by
        self.needs = rests_on(resource)
        self.lasting = rests_on_proxies(resource)
        self._facts: dict[str, Fact] = {}
        self._consent = self._read({})

    def read(self, facts: Mapping[str, Fact]) -> Consent:
        """Return the Consent as it is to be read under these facts; they may be those of others as well."""
        mine = {reference: facts[reference] for reference in self.needs if reference in facts}
        if mine.keys() != self._facts.keys() or any(mine[each].version != self._facts[each].version for each in mine):
            self._facts, self._consent = mine, self._read(mine)
        return self._consent

    @property
    def restless(self) -> bool:
        """Whether what it rests on may change, or come to be, without an epoch that tells of it."""
        return self.needs != self.lasting or not self.needs <= self._facts.keys()

    def _read(self, facts: Mapping[str, Fact]) -> Consent:
        found = {reference: fact.resource for reference, fact in facts.items()}
        return self._trust.read(self._resource, custodian=self._custodian, by=self._by, facts=found)


Known: TypeAlias = Consent | Kept  # Kept only where each request has to look anew how it is to be read
KnownByPerson = Mapping[Hashable, tuple[Known, ...]]


@dataclass(slots=True)
class _Bearing:
    """The Consents that may bear on some actors: as found under these epochs, and as read at last.

    restless: the persons whose Consents have to be read anew each time.
    """

    persons: tuple[int, ...]
    found: KnownByPerson
    restless: frozenset[Hashable]
    settled: ByPerson | None = None


def _needs(known: Iterable[Known | None]) -> frozenset[str]:
    return frozenset().union(*(each.needs for each in known if isinstance(each, Kept)))


def _read(known: Known, facts: Mapping[str, Fact]) -> Consent:
    return known.read(facts) if isinstance(known, Kept) else known


def _at_rest(known: Known, facts: Mapping[str, Fact]) -> Known:
    """Return a Consent as it is read now, if that stands as long as the epoch of its person does."""
    consent = _read(known, facts)
    return known if isinstance(known, Kept) and known.restless else consent


def _persons(document: Mapping[str, Any]) -> tuple[Hashable, ...]:
    """Return the keys of the persons that a stored Consent is of."""
    return tuple(each for each in document.get("pats", [document.get("pat")]) if each is not None)


def _restless(found: KnownByPerson) -> frozenset[Hashable]:
    return frozenset(person for person, known in found.items() if any(isinstance(each, Kept) for each in known))


class _Read(NamedTuple):
    """A version of a Consent that was opened; the persons it is of, and its mark, which was looked at."""

    known: Known
    persons: tuple[Hashable, ...]
    mark: bytes


class _OfPerson(NamedTuple):
    """The active Consents of one person as found under an epoch. restless: they have to be read anew each time."""

    epoch: int
    known: tuple[Known, ...]
    restless: bool


def bucket(person: Hashable) -> int:
    """Return the epoch that changes when a Consent of this person does."""
    return int(person) % BUCKETS if isinstance(person, int) else 0


def consent_terms(consent: Consent) -> list[str]:
    """Return the plain index terms under which an active Consent is found by those on whom it bears."""
    found = bearers(consent)
    return [ACTIVE, *(f":bears|{actor}" for actor in found)] if found else []


def count_up_all(unit: Unit, type: str, *documents: Mapping[str, Any]) -> None:
    """Add to a unit that what is known of these documents' persons or members is out of date once the unit is stored."""
    if type in MEMBERSHIP_TYPES:
        unit.touch(EPOCHS, {"_id": MEMBERSHIPS}, {"$inc": {"n": 1}})
    if type in PROXY_TYPES:
        persons = {person for each in documents for person in each.get("pats", [each.get("pat")])} - {None}
        for one in {bucket(person) for person in persons}:
            unit.touch(EPOCHS, {"_id": one}, {"$inc": {"n": 1}})


class Consents:
    """The active Consents of the store."""

    def __init__(
        self, database: AsyncDatabase[dict[str, Any]], index: Tokens, trust: Trust, facts: Facts, opened: Opener
    ) -> None:
        self._epochs = database[EPOCHS]
        self._collection = database["Consent"]
        self._index = index
        self._trust = trust
        self._facts = facts
        self._opened = opened
        self._now: Coalesced[str, Epochs] = Coalesced(self._fetch_epochs)
        self._fetched: Coalesced[Hashable, tuple[Known, ...]] = Coalesced(self._fetch_persons)
        self._by_person: dict[Hashable, _OfPerson] = {}
        self._by_actors: dict[frozenset[str], _Bearing] = {}
        self._finding: dict[tuple[frozenset[str], tuple[int, ...]], asyncio.Future[_Bearing]] = {}
        self._read: dict[tuple[str, int], _Read] = {}

    def begun(self) -> asyncio.Future[Epochs | None]:
        """Return a reading of the epochs, begun now; others may wait for the same."""
        return self._now.get("now")

    async def epochs(self, begun: asyncio.Future[Epochs | None] | None = None) -> Epochs:
        """Return the epochs as they stand now, or when a reading was begun."""
        if begun is None or not begun.done():
            return await asyncio.shield(begun or self.begun()) or Epochs()
        return begun.result() or Epochs()

    async def of_persons(self, persons: Iterable[Hashable], epochs: Epochs) -> ByPerson:
        """Return the active Consents of each person, as of these epochs or later."""
        found: dict[Hashable, tuple[Known, ...]] = {}
        missing, restless = [], set[Hashable]()
        for person in persons:
            known = self._by_person.get(person)
            if known and known.epoch == epochs.persons[bucket(person)]:
                found[person] = known.known
                if known.restless:
                    restless.add(person)
            else:
                missing.append(person)
        if missing:
            fetched = await self._fetched.get_many(missing)
            if len(self._by_person) > KNOWN_PERSONS:
                self._by_person.clear()
            found |= {person: fetched.get(person, ()) for person in missing}
            anew = _restless({person: found[person] for person in missing})
            restless |= anew
            for person in missing:
                # What was fetched after the epoch was read is at least as new as the epoch says.
                epoch = epochs.persons[bucket(person)]
                self._by_person[person] = _OfPerson(epoch, found[person], person in anew)
        return await self._settled(found, restless)

    async def bearing_on(self, actors: frozenset[str], epochs: Epochs) -> ByPerson:
        """Return, by person, the active Consents that may bear on one of the actors; the others say nothing to them.

        It is the same object for as long as nothing has changed.
        """
        known = self._by_actors.get(actors)
        if not known or known.persons != epochs.persons:
            known = await self._borne(actors, epochs.persons)
        if known.settled is None or known.restless:
            settled = await self._settled(known.found, known.restless)
            if known.settled is None or any(settled[each] != known.settled[each] for each in known.restless):
                known.settled = settled
        return known.settled

    async def _borne(self, actors: frozenset[str], persons: tuple[int, ...]) -> _Bearing:
        """Return the Consents that may bear on one of the actors, found once for all who wait for the same.

        What is found stands under these epochs: a Consent that changed since would have changed them too.
        """
        key = (actors, persons)
        finding = self._finding.get(key)
        if finding is None:
            finding = self._finding[key] = asyncio.ensure_future(self._find_bearing(actors, persons))
            finding.add_done_callback(lambda _: self._finding.pop(key, None))
        return await asyncio.shield(finding)

    async def _find_bearing(self, actors: frozenset[str], persons: tuple[int, ...]) -> _Bearing:
        terms = [self._index(f":bears|{actor}") for actor in (*sorted(actors), "*")]
        found = await self._find({"ix": {"$in": terms}})
        if len(self._by_actors) > KNOWN_ACTORS:
            self._by_actors.clear()
        known = self._by_actors[actors] = _Bearing(persons, found, _restless(found))
        return known

    async def _settled(self, found: KnownByPerson, restless: Collection[Hashable]) -> ByPerson:
        """Return Consents as they are to be read now."""
        if not restless:
            return cast(ByPerson, found)
        facts = await self._facts.now(_needs(each for person in restless for each in found[person]))
        now = {person: tuple(_read(each, facts) for each in found[person]) for person in restless}
        return {**cast(ByPerson, found), **now}

    async def _find(self, filter: dict[str, Any]) -> KnownByPerson:
        """Return the Consents that a filter finds, by person; only versions not read before are opened.

        Whose a Consent is, is believed of an opened document alone: one that is said to be another's by now is opened again.
        Raises ChangedInStore.
        """
        shown = {"_id": 1, "v": 1, "pat": 1, "pats": 1, MARK: 1}
        documents = await self._collection.find(filter, shown).to_list()
        # Held from here on: whoever reads meanwhile may throw away what is kept.
        kept = [self._read.get((each["_id"], each["v"])) for each in documents]
        kept = [
            here if here and (here.persons, here.mark) == (_persons(each), each.get(MARK)) else None
            for each, here in zip(documents, kept, strict=True)
        ]
        opened = await self._open([each["_id"] for each, here in zip(documents, kept, strict=True) if here is None])
        # A version that was replaced meanwhile is not found again: then its successor speaks.
        known = [here or opened.get(each["_id"]) for each, here in zip(documents, kept, strict=True)]
        needs = _needs(each.known for each in known if each)
        facts = await self._facts.now(needs) if needs else NO_FACTS
        by_person: dict[Hashable, list[Known]] = {}
        for each in known:
            if each is not None:
                for person in each.persons:
                    by_person.setdefault(person, []).append(_at_rest(each.known, facts))
        return {person: tuple(found) for person, found in by_person.items()}

    async def _open(self, ids: list[str]) -> dict[str, _Read]:
        if len(self._read) > KNOWN_PERSONS:
            self._read.clear()
        opened: dict[str, _Read] = {}
        for start in range(0, len(ids), OPENED_AT_ONCE):
            documents = await self._collection.find({"_id": {"$in": ids[start : start + OPENED_AT_ONCE]}}).to_list()
            for document, body in zip(documents, await self._opened("Consent", documents), strict=True):
                kept = Kept(parse(body), self._trust, custodian=document["org"], by=document.get("by"))
                read = _Read(kept if kept.needs else kept.read({}), _persons(document), document[MARK])
                opened[document["_id"]] = self._read[document["_id"], document["v"]] = read
        return opened

    async def _fetch_persons(self, persons: list[Hashable]) -> KnownByPerson:
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
