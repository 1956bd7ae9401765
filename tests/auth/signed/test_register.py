"""The register of signed rows: what holds when it is changed, when many write at once, and after an upgrade."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from fhir_server.auth.server.clients import Client, InvalidClient
from fhir_server.auth.signed.checking import check
from fhir_server.auth.signed.register import AccessRefused, Register
from fhir_server.auth.signed.rows import REGISTER, Fault, digest_of
from fhir_server.crypto.sm2 import new_signer, public_of, verify
from tests.auth.accounts.house import app
from tests.auth.signed.place import DOCTOR, TABLES, Place, Process, usual

Json = dict[str, Any]
BOTH = ["chart", "second"]


@pytest.fixture
def place(installation: Place) -> Place:
    usual(installation)
    return installation


def test_a_register_that_was_changed_is_not_believed(place: Place) -> None:
    before = place.backup()
    bucket = next(each for each in before[REGISTER] if each["_id"] != "head" and "auth_clients" in str(each))
    name = bucket["entries"][0][0]
    spoiled: list[tuple[Any, Json]] = [
        (bucket["_id"], {"entries": []}),
        (bucket["_id"], {"entries": "text"}),
        (bucket["_id"], {"entries": [[name, bytes(32)]]}),
        ("head", {"n": 1}),
        ("head", {"n": "1"}),
        ("head", {"digests": bytes(8192)}),
        ("head", {"digests": b""}),
        ("head", {"sig": bytes(64)}),
        ("head", {"sig": None}),
    ]
    for id, changed in spoiled:
        whole = next(each for each in before[REGISTER] if each["_id"] == id)
        place.raw[REGISTER].update_one({"_id": id}, {"$set": changed})
        assert place.clients() == []
        place.raw[REGISTER].replace_one({"_id": id}, whole)
        assert place.clients() == BOTH


def test_a_whole_state_that_is_put_back_is_found_by_whoever_saw_a_newer_one(place: Place) -> None:
    """A process that begins afterwards cannot tell it from a restored backup: that is the limit, and it is documented."""
    backup, process = place.backup(), place.process()
    place.add(app("third"))
    assert place.clients(process) == [*BOTH, "third"]
    place.restore(backup)
    assert place.clients(process) == []
    assert place.clients() == BOTH


def test_many_change_at_once_and_nothing_is_lost(place: Place) -> None:
    async def at_once(process: Process) -> tuple[int, int, set[str], list[Any]]:
        kept = await process.users.by_login(DOCTOR.login)
        assert kept is not None
        added = [process.clients.add(app(f"app-{number}")) for number in range(8)]
        taken = [process.users.take(kept.account.id, 7) for _ in range(5)]
        looked = [process.clients.get("chart") for _ in range(8)]
        found = await asyncio.gather(*added, *taken, *looked)
        names = {each.id for each in await process.clients.every()}
        seen = sum(isinstance(each, Client) for each in found[13:])
        return sum(each is True for each in found), seen, names, (await check(process.register)).faults

    taken, seen, names, faults = place.run(at_once)
    assert (taken, seen, faults) == (1, 8, [])
    assert names == {*BOTH, *(f"app-{number}" for number in range(8))}


def test_another_installations_signatures_count_for_nothing(place: Place) -> None:
    async def look() -> list[Fault]:
        async with AsyncMongoClient[Json](place.uri) as mongo:
            register = Register(mongo[place.settings.database], new_signer())
            return [fault for _, _, fault in (await check(register)).faults]

    assert asyncio.run(look()) == [Fault.REGISTER] * 4


def test_a_row_that_is_read_while_it_changes_is_not_refused(place: Place) -> None:
    """Its reader holds the register as it was before: it reads both again, as of one time."""
    process = place.process()
    assert place.clients(process) == BOTH
    place.run(lambda another: another.clients.change(app("second", scopes=("openid",))))

    async def look(process: Process) -> object:
        found = await process.clients.get("second")
        return found and found.scopes

    assert place.run(look, process) == ("openid",)


def test_rows_of_an_earlier_version_are_refused_until_they_are_signed(place: Place) -> None:
    account = place.run(lambda process: process.users.by_login(DOCTOR.login))
    assert account is not None
    place.raw.drop_collection(REGISTER)
    for name in TABLES[:2]:
        place.raw[name].update_many({}, {"$unset": {"sig": ""}})
    found, faults = place.state()
    assert (found, set(faults.values())) == (set(), {Fault.UNSIGNED})
    with pytest.raises(AccessRefused, match="sign-access"):
        place.add(app("new"))
    listed = place.command("sign-access")  # nobody answers the question
    assert listed.exit_code == 1
    assert f"auth_accounts/{account.account.id}" in listed.output
    assert "practitioner\tPractitioner/li\torg1\tenabled" in listed.output
    assert place.clients() == []
    signed = place.command("sign-access", "--yes")
    assert "4 clients and accounts signed" in signed.output
    assert place.state() == ({"li", "wu", *BOTH}, {})
    assert "nothing to do" in place.command("sign-access").output


def test_what_does_not_open_stays_refused_and_what_is_named_is_deleted(place: Place) -> None:
    place.raw.auth_clients.insert_one({"_id": "forged", "body": bytes(60)})
    place.raw.auth_clients.update_one({"_id": "second"}, {"$set": {"sig": bytes(64)}})
    with pytest.raises(InvalidClient, match="check-access"):
        place.add(app("forged"))
    checked = place.command("check-access")
    assert checked.exit_code == 1
    assert "auth_clients/forged was put there" in checked.output
    assert "auth_clients/second was changed" in checked.output
    signed = place.command("sign-access", "--yes").output
    assert "auth_clients/forged\tdoes not open" in signed
    assert "left out: auth_clients/forged was put there" in signed
    assert place.clients() == BOTH
    dropped = place.command("sign-access", "--yes", "--drop", "auth_clients/forged").output
    assert "auth_clients/forged\tis deleted" in dropped
    assert "4 clients and accounts, all as they were stored" in place.command("check-access").output


def test_the_public_key_is_printed_for_whoever_verifies(place: Place) -> None:
    async def signed(process: Process) -> Json:
        return await process.register.signed("auth_clients", {"_id": "x"})

    row = place.run(signed)
    said = place.command("public-key", "access").output
    key = public_of(said.encode())
    assert verify(key, digest_of("auth_clients", row), row["sig"])
    assert place.command("public-key", "access", "--hex").output == f"{key.hex()}\n"
    assert public_of(place.command("public-key", "audit").output.encode()) != key
