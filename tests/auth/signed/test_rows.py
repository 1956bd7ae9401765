"""Accounts and clients that were changed behind the server's back are refused: each way, on the raw database (ADR 34).

Whoever changes a row here can even seal what they want to: they have the vault, and lack only the SM2 key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fhir_server.auth.accounts.account import Account, packed
from fhir_server.auth.server.clients import Client
from fhir_server.auth.signed.rows import Fault
from tests.auth.signed.place import DOCTOR, Place, Process, usual

Json = dict[str, Any]
ALL = {"li", "wu", "chart", "second"}


@pytest.fixture(scope="module")
def made(installation: Place) -> dict[str, Any]:
    """Two clients by id, a doctor and an auditor by login name; every test leaves them as they are."""
    return {each.id if isinstance(each, Client) else each.login: each for each in usual(installation)}


@pytest.fixture
def place(installation: Place, made: dict[str, Any]) -> Place:
    return installation


def row(place: Place, table: str, id: str) -> Json:
    found = place.raw[table].find_one({"_id": id})
    assert found is not None
    return found


def seal_again(place: Place, row: Json, part: str, value: Json) -> Json:
    return {**row, part: place.vault.sealed(f"account|{part}|{row['_id']}", value)}


def as_auditor(place: Place, row: Json, other: Json) -> Json:
    said = place.vault.opened(f"account|about|{row['_id']}", row["about"])
    return seal_again(place, row, "about", {**said, "role": "auditor"})


def with_another_password(place: Place, row: Json, other: Json) -> Json:
    return seal_again(place, row, "password", {"text": "hash of the password of somebody else"})


def as_the_other(place: Place, row: Json, other: Json) -> Json:
    return {**other, "_id": row["_id"], "login": row["login"]}


def enabled(place: Place, row: Json, other: Json) -> Json:
    return {**row, "disabled": not row["disabled"]}


def an_earlier_step(place: Place, row: Json, other: Json) -> Json:
    return {**row, "step": row["step"] - 1}


def of_a_provider(place: Place, row: Json, other: Json) -> Json:
    return {**row, "subject": "00" * 32}


def without(field: str) -> Callable[[Place, Json, Json], Json]:
    return lambda place, row, other: {name: value for name, value in row.items() if name != field}


def of_the_other(field: str) -> Callable[[Place, Json, Json], Json]:
    return lambda place, row, other: {**row, field: other[field]}


def signed_by_nobody(place: Place, row: Json, other: Json) -> Json:
    return {**row, "sig": "text"}


CHANGES = {
    "role": as_auditor,
    "password hash": with_another_password,
    "no second factor": without("secret"),
    "row of another login": as_the_other,
    "about of another": of_the_other("about"),
    "password of another": of_the_other("password"),
    "signature of another": of_the_other("sig"),
    "no signature": without("sig"),
    "signature of another kind": signed_by_nobody,
    "enabled": enabled,
    "code counts again": an_earlier_step,
    "provider": of_a_provider,
}


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_an_account_whose_row_was_changed_is_refused(
    place: Place, made: dict[str, Any], changed: Callable[[Place, Json, Json], Json]
) -> None:
    before, other = (row(place, "auth_accounts", made[login].id) for login in ("li", "wu"))
    place.raw.auth_accounts.replace_one({"_id": before["_id"]}, changed(place, before, other))
    assert place.state() == (ALL - {"li"}, {before["_id"]: Fault.CHANGED})
    place.raw.auth_accounts.replace_one({"_id": before["_id"]}, before)
    assert place.state() == (ALL, {})


def test_login_names_that_were_exchanged_open_neither_account(place: Place, made: dict[str, Any]) -> None:
    one, other = (row(place, "auth_accounts", made[login].id) for login in ("li", "wu"))

    def exchange(first: str, second: str) -> None:
        for id, login in ((one["_id"], "free"), (other["_id"], second), (one["_id"], first)):
            place.raw.auth_accounts.update_one({"_id": id}, {"$set": {"login": login}})

    exchange(other["login"], one["login"])
    assert place.state() == (ALL - {"li", "wu"}, {one["_id"]: Fault.CHANGED, other["_id"]: Fault.CHANGED})
    exchange(one["login"], other["login"])
    assert place.state() == (ALL, {})


def test_an_earlier_version_that_is_put_back_is_refused(place: Place, made: dict[str, Any]) -> None:
    account: Account = made["li"]
    before = row(place, "auth_accounts", account.id)

    async def disabled(process: Process) -> None:
        await process.users.set_disabled(account.id, True)

    place.run(disabled)
    after = row(place, "auth_accounts", account.id)
    place.raw.auth_accounts.replace_one({"_id": account.id}, before)
    assert place.state() == (ALL - {"li"}, {account.id: Fault.OLD})
    place.raw.auth_accounts.replace_one({"_id": account.id}, after)
    assert place.state() == (ALL, {})


def test_a_row_that_was_inserted_is_refused(place: Place, made: dict[str, Any]) -> None:
    """A copy under an id and a name of one's own; it carries a signature of the server's."""
    stranger = replace(DOCTOR, id="stranger", login="stranger")
    copied = row(place, "auth_accounts", made["wu"].id)
    login = place.vault.name("account login", "stranger")
    about = place.vault.sealed("account|about|stranger", packed(stranger))
    place.raw.auth_accounts.insert_one({**copied, "_id": "stranger", "login": login, "about": about})

    async def found(process: Process) -> object:
        return await process.users.by_login("stranger"), await process.users.by_id("stranger")

    assert place.run(found) == (None, None)
    assert place.state() == (ALL, {"stranger": Fault.INSERTED})
    place.raw.auth_accounts.delete_one({"_id": "stranger"})


def test_a_client_that_was_changed_removed_or_put_back_is_refused(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    before = row(place, "auth_clients", "second")
    said = place.vault.opened("auth_clients/second", before["body"])
    body = place.vault.sealed("auth_clients/second", {**said, "redirect_uris": ["https://evil.example/"]})
    place.raw.auth_clients.update_one({"_id": "second"}, {"$set": {"body": body}})
    assert place.state() == (ALL - {"second"}, {"second": Fault.CHANGED})
    assert place.clients() == ["chart"]
    place.raw.auth_clients.delete_one({"_id": "second"})
    assert place.state() == (ALL - {"second"}, {"second": Fault.MISSING})
    assert place.clients() == ["chart"]
    assert "auth_clients/second was removed behind the server's back" in caplog.text
    place.raw.auth_clients.insert_one(before)
    assert place.clients() == ["chart", "second"]

    async def removed(process: Process) -> None:
        await process.clients.remove("second")

    place.run(removed)
    assert place.state() == (ALL - {"second"}, {})
    place.raw.auth_clients.insert_one(before)
    assert place.state() == (ALL - {"second"}, {"second": Fault.INSERTED})
    place.raw.auth_clients.delete_one({"_id": "second"})
    place.add(
        replace(place.run(lambda process: process.clients.get("chart")) or Client("", "", said["kind"]), id="second")
    )
    assert place.state() == (ALL, {})


def test_what_does_not_verify_is_not_signed_anew(place: Place, made: dict[str, Any]) -> None:
    """Not even when the operator changes something else of it."""
    account: Account = made["wu"]
    place.raw.auth_accounts.update_one({"_id": account.id}, {"$set": {"disabled": True}})

    async def changed(process: Process) -> None:
        await process.users.set_password(account.id, "hash")

    with pytest.raises(RuntimeError, match=f"auth_accounts/{account.id} was changed .* check-access"):
        place.run(changed)
    assert place.state() == (ALL - {"wu"}, {account.id: Fault.CHANGED})
    place.raw.auth_accounts.update_one({"_id": account.id}, {"$set": {"disabled": False}})
    assert place.state() == (ALL, {})


def test_an_account_is_still_what_it_was_after_everything_that_changes_it(place: Place, made: dict[str, Any]) -> None:
    id = made["wu"].id

    async def changed(process: Process) -> list[object]:
        users = process.users
        await users.drop_secret(id)
        await users.set_password(id, "one")
        done: list[object] = [
            await users.renew_hash(id, "another", "two"),
            await users.renew_hash(id, "one", "two"),
            await users.enrol(id, "secret", step=5),
            await users.enrol(id, "another", step=6),
            await users.take(id, 5),
            await users.take(id, 6),
        ]
        await users.change(replace(made["wu"], name="孙审计"))
        kept = await users.by_id(id)
        assert kept is not None
        return [*done, kept.account.name, kept.password, kept.secret, kept.step]

    assert place.run(changed) == [False, True, True, False, False, True, "孙审计", "two", "secret", 6]
    assert place.state() == (ALL, {})


def test_ids_that_are_none_of_ours_are_not_repeated(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.raw.auth_clients.insert_one({"_id": "张三 13812345678", "body": b""})
    assert place.clients() == ["chart", "second"]
    place.raw.auth_clients.delete_one({"_id": "张三 13812345678"})
    assert "(an id that is not the server's) was put there" in caplog.text
    assert "13812345678" not in caplog.text
