"""fhir-facade keys check-access and sign-access: grants, codes and sessions; and what cannot be dropped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_server.auth.accounts.sessions import SESSIONS, marked
from fhir_server.auth.server.grants import Code, Grant, Granted, Grants
from fhir_server.auth.server.revocation import revoke_grants
from fhir_server.auth.server.vault import CODES, GRANTS, REVOKED
from fhir_server.auth.signed.rows import REGISTER
from fhir_server.commands.access import NoSuchRow
from fhir_server.store.commit import Unit
from tests.auth.signed.place import Place, opened, usual
from tests.databases import fresh

Json = dict[str, Any]
ENDS = datetime(2096, 1, 1, tzinfo=UTC)
SAID = {"role": "practitioner", "fhirUser": "Practitioner/li", "org": "org1", "purpose": "TREAT", "scope": "user/*.rs"}
AS_STORED = "5 grants, codes and sessions, all as they were stored."


@pytest.fixture(scope="module")
def furnished(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with fresh(mongo_uri) as name, opened(mongo_uri, name, tmp_path_factory.mktemp("access")) as found:
        usual(found)
        found.runner.run(_stored(found))
        yield found


async def _stored(place: Place) -> None:
    """Store three grants, of which one is revoked, a code and a session, as the authorization server stores them."""
    unit, ended = Unit(), Unit()
    grants = Grants(place.parts.database, place.vault)
    for id in ("g1", "g2", "over"):
        grants.add(Grant(id, "chart", Granted("a1", 0, SAID, session="s"), ENDS.timestamp()), unit)
    grants.add_code("text", Code("", "g1", "chart", "https://app.example.org", "c", None, ENDS.timestamp()), unit)
    row = {"_id": "s1", "account": "a1", "at": 0, "factors": ["pwd"], "until": ENDS}
    unit.insert(SESSIONS, marked(place.vault, row))
    await place.parts.services.committer.commit(unit)
    revoke_grants(["over"], ended)
    await place.parts.services.committer.commit(ended)


@pytest.fixture
def place(furnished: Place) -> Iterator[Place]:
    """The installation, as it was made."""
    tables = (GRANTS, CODES, SESSIONS, REVOKED)
    before = {name: list(furnished.raw[name].find()) for name in tables}
    yield furnished
    for name, rows in before.items():
        furnished.raw[name].delete_many({})
        furnished.raw[name].insert_many(rows)


def test_what_passes_is_looked_at_as_well(place: Place) -> None:
    said = place.command("check-access")
    assert (said.exit_code, "4 clients and accounts" in said.output, AS_STORED in said.output) == (0, True, True)


CHANGES: list[tuple[str, str, Json]] = [
    (GRANTS, "g1", {"$set": {"account": "another"}}),
    (GRANTS, "g1", {"$set": {"client": "second"}}),
    (GRANTS, "g1", {"$inc": {"turn": -1}}),
    (GRANTS, "g1", {"$set": {"body": bytes(60)}}),
    (GRANTS, "g1", {"$unset": {"m": ""}}),
    (GRANTS, "over", {"$set": {"revoked": False}}),
    (SESSIONS, "s1", {"$set": {"account": "another"}}),
    (SESSIONS, "s1", {"$set": {"factors": ["otp", "pwd"]}}),
    (SESSIONS, "s1", {"$set": {"until": ENDS + timedelta(days=1)}}),
]


@pytest.mark.parametrize(("table", "id", "change"), CHANGES)
def test_one_that_was_changed_is_named(place: Place, table: str, id: str, change: Json) -> None:
    assert place.raw[table].update_one({"_id": id}, change).modified_count == 1
    said = place.command("check-access")
    assert (said.exit_code, said.output) == (1, f"{table}/{id} was changed behind the server's back\n")


def test_one_that_was_put_there_is_named_and_can_be_ended(place: Place) -> None:
    (code,) = place.raw[CODES].find()
    forged = {**place.raw[GRANTS].find_one({"_id": "g1"}), "_id": "forged"}
    place.raw[GRANTS].insert_one(forged)
    place.raw[CODES].update_one({"_id": code["_id"]}, {"$set": {"used": True}})
    said = place.command("check-access").output.splitlines()
    names = [f"{GRANTS}/forged", f"{CODES}/{code['_id']}"]
    assert sorted(said) == sorted(f"{each} was changed behind the server's back" for each in names)
    dropped = place.command("sign-access", "--yes", *(word for each in names for word in ("--drop", each)))
    assert dropped.exit_code == 0, dropped.output
    assert all(f"{each}\tis ended" in dropped.output for each in names)
    assert place.raw[REVOKED].find_one({"_id": "grant:forged"}) is not None
    assert place.raw[CODES].count_documents({}) == 0
    assert place.command("check-access").exit_code == 0


@pytest.mark.parametrize("name", ["auth_clients/charts", "auth_grants/never", "chart", "auth_keys/k", ""])
def test_a_row_that_there_is_not_cannot_be_dropped_and_nothing_is_changed(place: Place, name: str) -> None:
    place.raw["auth_clients"].update_one({"_id": "second"}, {"$set": {"sig": bytes(64)}})
    before = {each: list(place.raw[each].find().sort("_id", 1)) for each in ("auth_clients", REGISTER, GRANTS)}
    said = place.command("sign-access", "--yes", "--drop", "auth_grants/g1", "--drop", name)
    assert isinstance(said.exception, NoSuchRow)
    assert f"There is no row {name!r} to drop: nothing was changed." in str(said.exception)
    assert said.output == ""  # nothing was listed, nothing asked
    assert {each: list(place.raw[each].find().sort("_id", 1)) for each in before} == before
    place.command("sign-access", "--yes")
