"""Where accounts are kept: names sealed, login names as keyed tokens, of passwords only their sealed hashes; rows signed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pymongo.errors import DuplicateKeyError

from fhir_server.auth.accounts.account import Account, InvalidAccount, checked, folded, packed, unpacked
from fhir_server.auth.server.vault import ACCOUNTS, Vault
from fhir_server.auth.signed.register import Register
from fhir_server.store.ids import new_id

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """An account with what it is proved by.

    password: hash, None if the account has none. secret: of the second factor, None before it is enrolled. step: the last
    time step whose code was taken. federated: whether it signs in at an institution's provider.
    """

    account: Account = field(repr=False)
    password: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    step: int = 0
    disabled: bool = False
    federated: bool = False


class Users:
    """The accounts of this installation. One whose row was changed behind the server's back counts as none."""

    def __init__(self, register: Register, vault: Vault) -> None:
        self._register = register
        self._vault = vault

    async def add(
        self, account: Account, *, password: str | None = None, subject: tuple[str, str] | None = None
    ) -> Account:
        """Store a new account; return it with its id. password: hash. subject: (issuer, sub) of a provider.

        Raises InvalidAccount if it cannot be, or its login name is taken.
        """
        made = replace(checked(account), id=new_id())
        row: Document = {
            "_id": made.id,
            "login": self._login(made.login),
            "about": self._vault.sealed(_place("about", made.id), packed(made)),
            "disabled": False,
            "step": 0,
        }
        if subject:
            row["subject"] = self._subject(subject)
        if password:
            row["password"] = self._sealed("password", made.id, password)
        try:
            await self._register.insert(ACCOUNTS, row)
        except DuplicateKeyError:
            raise InvalidAccount("an account with this login name exists already") from None
        return made

    async def by_login(self, login: str) -> Kept | None:
        return await self._found({"login": self._login(login)})

    async def by_subject(self, issuer: str, subject: str) -> Kept | None:
        return await self._found({"subject": self._subject((issuer, subject))})

    async def by_id(self, id: str) -> Kept | None:
        return await self._found({"_id": id})

    async def all(self) -> list[Kept]:
        """Return every account, in the order of login names."""
        found = [self.read(row) for row in await self._register.rows(ACCOUNTS)]
        return sorted(found, key=lambda each: folded(each.account.login))

    async def change(self, account: Account) -> None:
        """Store what is told of an account that exists. Raises InvalidAccount."""
        sealed = self._vault.sealed(_place("about", account.id), packed(checked(account)))
        await self._set(account.id, about=sealed)

    async def set_password(self, id: str, hashed: str) -> None:
        await self._set(id, password=self._sealed("password", id, hashed))

    async def renew_hash(self, id: str, before: str, hashed: str) -> bool:
        """Keep another hash of the same password; return whether no other password was set meanwhile."""
        sealed = self._sealed("password", id, hashed)
        return await self._change(id, {"password": sealed}, when=lambda row: self._text("password", row) == before)

    async def enrol(self, id: str, secret: str, *, step: int) -> bool:
        """Keep a second factor; return whether the account had none, so that nobody takes the place of another's.

        step: of the code that proved it; it is not taken again.
        """
        kept = {"secret": self._sealed("secret", id, secret), "step": step}
        return await self._change(id, kept, when=lambda row: "secret" not in row)

    async def drop_secret(self, id: str) -> None:
        """Take the second factor away: whoever needs one enrols a new one when they sign in next."""
        await self._register.change(
            ACCOUNTS, id, lambda row: {name: value for name, value in row.items() if name != "secret"}
        )

    async def set_disabled(self, id: str, disabled: bool) -> None:
        await self._set(id, disabled=disabled)

    async def take(self, id: str, step: int) -> bool:
        """Note that the code of a time step was used; return whether it was unused, and no later one was used."""
        return await self._change(id, {"step": step}, when=lambda row: row["step"] < step)

    async def _set(self, id: str, **fields: Any) -> None:
        await self._change(id, fields)

    async def _change(self, id: str, fields: Document, *, when: Callable[[Document], bool] = lambda row: True) -> bool:
        """Store other values of some fields; return whether the account was there, and as it had to be."""
        return await self._register.change(ACCOUNTS, id, lambda row: {**row, **fields} if when(row) else None)

    async def _found(self, found_by: Document) -> Kept | None:
        row = await self._register.row(ACCOUNTS, found_by)
        return self.read(row) if row else None

    def read(self, row: Mapping[str, Any]) -> Kept:
        """Return the account of a row. Raises Unsealable."""
        id = row["_id"]
        return Kept(
            account=unpacked(id, self._vault.opened(_place("about", id), row["about"])),
            password=self._text("password", row),
            secret=self._text("secret", row),
            step=row["step"],
            disabled=row["disabled"],
            federated="subject" in row,
        )

    def _sealed(self, part: str, id: str, text: str) -> bytes:
        return self._vault.sealed(_place(part, id), {"text": text})

    def _text(self, part: str, row: Mapping[str, Any]) -> str | None:
        return self._vault.opened(_place(part, row["_id"]), row[part])["text"] if part in row else None

    def _login(self, login: str) -> str:
        return self._vault.name("account login", folded(login))

    def _subject(self, subject: tuple[str, str]) -> str:
        return self._vault.name("account subject", "\0".join(subject))


def _place(part: str, id: str) -> str:
    return f"account|{part}|{id}"
