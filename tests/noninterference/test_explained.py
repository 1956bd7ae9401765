"""$explain-access and $enforcement tell those who may not ask what they tell of an id that there never was.

Who may ask: of $explain-access the patient and the auditors of the institution that keeps the record; of $enforcement the
patient and whoever is of the institution that keeps the Consent.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.noninterference.conftest import share
from tests.noninterference.oracle import Oracle, User
from tests.noninterference.pair import Answer, Asked, Pair, visible
from tests.noninterference.questions import Questions, users
from tests.noninterference.world import World, worlds
from tests.noninterference.written import Version

AUDITOR_SCOPES = "user/*.rs"


def auditors(world: World) -> st.SearchStrategy[User]:
    """Return auditors of the institutions, whose own records are the only ones of which they are told."""
    return st.integers(1, 3).map(lambda n: User("auditor", "Practitioner/auditor", f"h{n}", "HOPERAT", AUDITOR_SCOPES))


def may_ask_why(oracle: Oracle, last: Version) -> bool:
    """Return whether a user is told who may see a record."""
    user = oracle.user
    if user.role == "auditor":
        return last.organization == user.organization
    return user.role == "patient" and oracle.records.person_of(user.user.removeprefix("Patient/")) in (
        oracle.records.record(last).persons
    )


def may_ask_whether(oracle: Oracle, last: Version) -> bool:
    """Return whether a user is told how a Consent is enforced."""
    user = oracle.user
    if user.role in ("system", "auditor"):
        return last.organization == user.organization
    own = oracle.records.person_of(user.user.removeprefix("Patient/"))
    return user.role == "patient" and oracle.records.record(last).persons == {own}


@share(5)
@given(st.data())
def test_who_may_not_ask_is_answered_as_about_nothing(servers: Pair, data: st.DataObject) -> None:
    world = data.draw(worlds(servers.fresh()), label="world")
    servers.store_a.write(world)
    user = data.draw(st.one_of(users(world), users(world), auditors(world)), label="user")
    oracle = servers.oracle(world, user)
    token = servers.token(user)
    if user.role != "auditor":
        servers.store_b.hold(visible(oracle))
    for (type, id), versions in oracle.records.versions.items():
        for name, told in (("explain-access", may_ask_why), ("enforcement", may_ask_whether)):
            if told(oracle, versions[-1]) or (type != "Consent" and name == "enforcement"):
                continue
            asked = Asked("GET", f"{type}/{id}/${name}")
            gated, reference = servers.ask(token, asked)
            if not oracle_sees(oracle, versions):
                absent, _ = servers.ask(token, Asked("GET", f"{type}/{Questions(world).unknown}/${name}"))
                same(asked, gated, absent)
            if user.role != "auditor":
                same(asked, gated, reference)
    if user.role in ("practitioner", "related-person"):
        same(Asked("GET", "Consent/$enforcement"), *servers.ask(token, Asked("GET", "Consent/$enforcement")))


def oracle_sees(oracle: Oracle, versions: list[Version]) -> bool:
    """Return whether a user may see any version of a resource: that there was one is told then."""
    return oracle.user.role != "auditor" and any(oracle.sees(each, letter) for each in versions for letter in "rs")


def same(asked: Asked, one: Answer, other: Answer) -> None:
    assert one.status in (401, 403, 404, 410), asked
    if difference := one.differs_from(other):
        pytest.fail(f"{asked.path} {difference}")
