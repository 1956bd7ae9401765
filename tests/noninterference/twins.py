"""Twins: two servers that are gated alike, of which one holds everything, the other only what some users may know of.

What a user may know of is what they may see, and what decides on that: the Consents that bear on them, the groups and
positions by which they are meant, and what these Consents rest on. Which Patients are one person is nowhere to be seen, and
the same on both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from fhir_server.audit.log import OWNER as EVENTS_OWNER
from fhir_server.auth.server.vault import ACCOUNTS
from fhir_server.consenting.rows import LOCKS, ROWS
from fhir_server.consenting.ways.codes import CODES, ISSUED
from fhir_server.consenting.ways.transport import MESSAGES, QUEUE
from fhir_server.deliveries.delivery import RECEIVED
from fhir_server.emergencies.emergencies import EMERGENCIES
from fhir_server.emergencies.emergencies import OWNER as EMERGENCIES_OWNER
from fhir_server.pages.prompt.prompts import PROMPTS
from fhir_server.store.received import DELIVERIES
from tests.noninterference.filled import Store
from tests.noninterference.oracle import Oracle, User
from tests.noninterference.pair import Pair, pair
from tests.noninterference.world import World
from tests.noninterference.written import Records, Version, mentions_of

Place = tuple[str, str]
# What doors leave behind beside records.
BESIDE = (ROWS, LOCKS, CODES, ISSUED, QUEUE, MESSAGES, EMERGENCIES, DELIVERIES, RECEIVED, PROMPTS, ACCOUNTS)
# To whom somebody belongs is said in these, whoever may see them.
BELONGING = frozenset({"Group", "CareTeam", "PractitionerRole", "Organization", "Practitioner"})
# What decides who sees a person's records.
DECIDING = frozenset({"Consent", "RelatedPerson", "Patient"})


class Shelf(Store):
    """A store that is emptied of what doors leave behind as well."""

    def empty(self) -> None:
        super().empty()
        beside = (*BESIDE, "outbox", "authorization_ends", "Provenance", "Provenance_history")
        for name in {*self.database.list_collection_names()} & {*beside}:
            self.database[name].delete_many({})


def twins(mongo_uri: str, folder: Path, **settings: Any) -> AbstractContextManager[Pair]:
    """Run both servers with these settings, over two databases that are dropped in the end."""
    return pair(mongo_uri, folder, gated=True, kept=Shelf, **settings)


def filled(servers: Pair, world: World, *users: User) -> list[Oracle]:
    """Fill both: one with the world, the other with what these users may know of; return what each of them may see."""
    servers.store_a.write(world)
    oracles = [servers.oracle(world, user) for user in users]
    hold(servers, only(world, frozenset[Place]().union(*map(known_to, oracles))))
    return oracles


def hold(servers: Pair, world: World) -> None:
    """Fill the second server with a world, whose Patients are the persons that they are on the first."""
    links = list(servers.store_a.database["persons"].find())
    if links:
        servers.store_b.database["persons"].insert_many(links)
    servers.store_b.write(world)


def only(world: World, kept: frozenset[Place]) -> World:
    """Return a world without all but these resources."""
    groups = [[step for step in group if (step.type, step.id) in kept] for group in world.groups]
    return World(groups, world.patients, [place for place in world.places if place in kept])


def known_to(oracle: Oracle) -> frozenset[Place]:
    """Return the resources that a user may know of."""
    records = oracle.records
    seen = {place for place, versions in records.versions.items() if sees_any(oracle, versions)}
    deciding = [each for each in records.current() if each.type == "Consent" and _bears(oracle, each)]
    rests_on = {place for each in deciding for place in _facts(each)}
    belonging = {place for place in records.versions if place[0] in BELONGING}
    children = {("Patient", id) for id, person in records.person.items() if str(person) in oracle.spoken}
    return frozenset(
        children
        | seen
        | rests_on
        | belonging
        | {(each.type, each.id) for each in deciding}
        | {_place(oracle.user.user)}
    )


def sees_any(oracle: Oracle, versions: Iterable[Version]) -> bool:
    return any(oracle.sees(each, letter) for each in versions for letter in "rs")


def _bears(oracle: Oracle, consent: Version) -> bool:
    """Return whether a Consent says something to a user, or of their institution."""
    found = (each for said in oracle.consents.values() for each in said if each.consent == consent.id)
    named = f'"Organization/{oracle.user.organization}"' in json.dumps(consent.content)
    return named or any(each.rules or each.flaw for each in found)


def _facts(consent: Version) -> Iterator[Place]:
    """Yield what a Consent rests on. Of which Patient it is, is one of these where somebody else has given it."""
    said = consent.content
    given = said if "performer" in said else {name: value for name, value in said.items() if name != "patient"}
    yield from map(_place, mentions_of(given))


def _place(reference: str) -> Place:
    type, _, id = reference.partition("/")
    return type, id


def with_one_key(servers: Pair) -> None:
    """Have both seal events and emergencies by the same keys, so that what one has written can be laid before the other."""
    for store in (servers.store_a, servers.store_b):
        if store is servers.store_b:
            store.database["keys"].insert_many(servers.store_a.database["keys"].find())
        keys = store.parts.keys
        store.run(keys.for_writing([EVENTS_OWNER, EMERGENCIES_OWNER]))


def kin(world: World, patient: str) -> frozenset[Place]:
    """Return what a patient may know of: all that is not of others alone, and Consents of those with whom they share any."""
    persons = persons_of(world)
    person = Records.of(world).person_of(patient)
    kept = {place for place, theirs in persons.items() if not theirs or person in theirs or place[0] in BELONGING}
    near = {person}.union(*(each for each in persons.values() if person in each))
    return frozenset(kept | {place for place, theirs in persons.items() if place[0] in DECIDING and theirs & near})


def about(world: World, places: frozenset[Place]) -> frozenset[Place]:
    """Return resources and what decides on them: of their persons the Patients, Consents and what these rest on."""
    persons, records = persons_of(world), Records.of(world)
    near = frozenset[object]().union(*(persons.get(place, ()) for place in places))
    deciding = {place for place, theirs in persons.items() if place[0] in DECIDING and theirs & near}
    consents = (each for place in deciding if place[0] == "Consent" for each in records.versions[place])
    rests_on = {fact for each in consents for fact in _facts(each)}
    return frozenset(places | deciding | rests_on | {place for place in persons if place[0] in BELONGING})


def persons_of(world: World) -> dict[Place, frozenset[object]]:
    """Return whose each record was in any of its versions."""
    records = Records.of(world)
    return {
        place: frozenset(person for version in versions for person in records.record(version).persons)
        for place, versions in records.versions.items()
    }
