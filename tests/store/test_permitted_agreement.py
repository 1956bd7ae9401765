"""One predicate, three readings that must agree: on one stored document, as a MongoDB filter, and by an oracle."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pymongo import MongoClient

from consent_engine.predicate import (
    EVERYTHING,
    NOTHING,
    AnyOf,
    Attribute,
    During,
    OnlyOf,
    PerPerson,
    Predicate,
    all_of,
    either,
    negate,
    per_person,
)
from fhir_server.app import keyring_of
from fhir_server.settings import Settings
from fhir_server.store.permitted import Permitted, to_filter
from tests.noninterference.filled import TYPES, Store
from tests.noninterference.oracle import Oracle, User
from tests.noninterference.pair import REPORTING
from tests.noninterference.questions import users
from tests.noninterference.world import BASE, worlds
from tests.noninterference.written import Records

random_examples = settings(
    deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)

# Keyed values fill all 64 bits, so the ends of the range are among them.
KEYS = (1, 2, 3, -(2**63), 2**63 - 1, 2**53 + 1)
INSTANTS = (-(10**15), 0, 1_000_000, 2**53 + 1)
IDS = ("a", "b", "Observation")
some_keys = st.frozensets(st.sampled_from(KEYS), max_size=3)
instants = st.sampled_from(INSTANTS)

single = st.one_of(
    st.sampled_from([EVERYTHING, NOTHING]),
    st.builds(AnyOf, st.just(Attribute.TYPE), st.frozensets(st.sampled_from(["Observation", "Patient"]), max_size=2)),
    st.builds(
        AnyOf,
        st.just(Attribute.ID),
        st.frozensets(st.builds("{}/{}".format, st.sampled_from(["Observation", "Patient"]), st.sampled_from(IDS))),
    ),
    st.builds(AnyOf, st.just(Attribute.CUSTODIAN), st.frozensets(st.sampled_from(["h1", "h2", "h3"]), max_size=2)),
    st.builds(
        AnyOf, st.sampled_from([Attribute.LABEL, Attribute.CODE, Attribute.PROFILE, Attribute.AUTHOR]), some_keys
    ),
    st.builds(OnlyOf, st.just(Attribute.LABEL), some_keys),
    st.builds(During, st.none() | instants, st.none() | instants, st.booleans()),
)


@st.composite
def by_person(draw: st.DrawFn, part: st.SearchStrategy[Predicate]) -> Predicate:
    """Draw what must hold for each person, persons in several groups, some in none."""
    group_of = {person: draw(st.integers(0, 3)) for person in KEYS[:4]}
    groups = [
        (frozenset(person for person, group in group_of.items() if group == number), draw(part)) for number in (1, 2, 3)
    ]
    build = draw(st.sampled_from([PerPerson, per_person]))
    return build(tuple(groups), draw(part), draw(part))


def several(part: st.SearchStrategy[Predicate]) -> st.SearchStrategy[Predicate]:
    parts = st.lists(part, max_size=3)
    return st.one_of(
        parts.map(lambda found: all_of(*found)),
        parts.map(lambda found: either(*found)),
        part.map(negate),
        by_person(part),
    )


predicates = st.recursive(single, several, max_leaves=12)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a stored document as far as a predicate looks at it."""
    persons = sorted(draw(st.frozensets(st.sampled_from(KEYS), max_size=3)))
    low = draw(st.sampled_from([-math.inf, *INSTANTS]))
    high = draw(st.sampled_from([each for each in (*INSTANTS, math.inf) if each >= low]))
    labels = sorted(draw(some_keys))
    return {
        "at": 0,
        "org": draw(st.sampled_from(["h1", "h2"])),
        **({"pat": persons[0]} if persons else {}),
        **({"pats": persons} if len(persons) > 1 else {}),
        **({"lab": labels} if labels else {}),
        "c": sorted(draw(some_keys)),
        "w": {"lo": low, "hi": high},
    }


@pytest.fixture(scope="module")
def collection(mongo_uri: str) -> Iterator[Any]:
    name = f"test_{secrets.token_hex(6)}"
    client: MongoClient[dict[str, Any]]
    with MongoClient(mongo_uri) as client:
        yield client[name]["Observation"]
        client.drop_database(name)


@settings(random_examples, max_examples=60)
@given(st.lists(documents(), min_size=10, max_size=40), st.lists(predicates, min_size=10, max_size=10))
def test_a_document_is_admitted_just_when_the_filter_finds_it(
    collection: Any, stored: list[dict[str, Any]], asked: list[Predicate]
) -> None:
    named = [{"_id": id, **each} for id, each in zip([*IDS, *map(str, range(len(stored)))], stored, strict=False)]
    collection.delete_many({})
    collection.insert_many(named)
    for predicate in asked:
        permitted = Permitted({"Observation": predicate}.__getitem__)
        admitted = {each["_id"] for each in named if permitted.admits("Observation", each)}
        assert permitted.filter("Observation") == to_filter(predicate, "Observation")
        assert {each["_id"] for each in collection.find(permitted.filter("Observation"), {"_id": 1})} == admitted


@pytest.fixture(scope="module", params=["treatment", "deny"])
def store(request: pytest.FixtureRequest, mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store as the server's own parts write and read it, under each implicit policy."""
    chosen = Settings.load(
        tmp_path_factory.mktemp("installation"),
        database=f"test_{secrets.token_hex(6)}",
        base_url=BASE,
        zone="UTC",
        implicit_policy=request.param,
        reporting_clients=frozenset({REPORTING}),
    )
    opened = Store(mongo_uri, chosen, keyring_of(chosen))
    yield opened
    opened.close()


@settings(random_examples, max_examples=25)
@given(data=st.data())
def test_a_search_a_read_and_the_oracle_agree_on_every_resource(store: Store, data: st.DataObject) -> None:
    store.empty()
    world = data.draw(worlds(f"y{secrets.token_hex(4)}"), label="world")
    store.write(world)
    records = Records.of(world)
    treatment = store.parts.services.settings.implicit_policy == "treatment"
    for user in data.draw(st.lists(users(world), min_size=3, max_size=3), label="users"):
        oracle = Oracle(records, user, reporting=REPORTING, treatment=treatment)
        searched, read = store.run(_seen(store, user, records))
        for letter, found in (("s", searched), ("r", read)):
            assert found == {(each.type, each.id) for each in records.current() if oracle.sees(each, letter)}


async def _seen(store: Store, user: User, records: Records) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return what a user finds by searching each type, and what by reading each resource by itself."""
    services = store.parts.services
    found: set[tuple[str, str]] = set()
    for type in TYPES:
        gate = services.gatekeeper.gate(user.requester, "s")
        rows = await services.resources.find(type, {}, gate, sort=[("_id", 1)], limit=1_000)
        assert len(rows) == await services.resources.count(type, {}, gate)
        found |= {(type, row["_id"]) for row in rows}
    # Each in a request of its own, or all in one that has searched.
    searching = services.gatekeeper.gate(user.requester, "s")
    await searching.overall()
    gates = [
        searching.lettered("r") if number % 2 else services.gatekeeper.gate(user.requester, "r")
        for number, _ in enumerate(records.versions)
    ]
    read = await asyncio.gather(
        *(services.resources.read(*place, gate) for place, gate in zip(records.versions, gates, strict=True))
    )
    return found, {place for place, document in zip(records.versions, read, strict=True) if document}
