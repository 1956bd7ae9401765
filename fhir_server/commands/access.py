"""fhir-facade keys check-access, sign-access and public-key: signed clients and accounts (ADR 34), marked grants (ADR 39)."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, NamedTuple

import typer
from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.app import Parts, keyring_of
from fhir_server.audit.anchors import PURPOSE as AUDIT
from fhir_server.auth.accounts.users import Users
from fhir_server.auth.server.registered import Clients
from fhir_server.auth.server.vault import CLIENTS, Vault
from fhir_server.auth.signed import passing
from fhir_server.auth.signed.checking import Checked, check, lines, sign
from fhir_server.auth.signed.register import PURPOSE as ACCESS
from fhir_server.auth.signed.register import Register
from fhir_server.auth.signed.rows import TABLES, Document, Fault, Found, named
from fhir_server.commands.installation import CHANGED, Data, Installation, opened, record
from fhir_server.crypto.sealing import Unsealable
from fhir_server.crypto.sm2 import public_pem
from fhir_server.settings import Settings
from fhir_server.store.commit import Committer

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Drop = Annotated[
    list[str],
    typer.Option(help="Delete this row (end this grant), as check-access names it, such as auth_clients/app; repeat."),
]


class NoSuchRow(RuntimeError):
    """A row that is to be dropped, and is not there."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no row {name!r} to drop: nothing was changed. See: fhir-facade keys check-access")


class Signs(StrEnum):
    """What an installation signs with a key of its own."""

    ACCESS = ACCESS
    AUDIT = AUDIT


class Access(NamedTuple):
    """What the commands work with."""

    register: Register
    clients: Clients
    users: Users
    vault: Vault
    database: AsyncDatabase[Document]
    committer: Committer

    async def passes(self) -> passing.Passing:
        """Return what a look through grants, codes and sessions finds."""
        return await passing.check(self.database, self.vault)

    def readable(self, table: str, row: Document) -> bool:
        """Return whether what a row seals opens under this installation's keyring."""
        try:
            self.told(table, row)
        except (Unsealable, KeyError, TypeError, ValueError):
            return False
        return True

    def told(self, table: str, row: Document) -> str:
        """Return what a row lets somebody do, in a line. Raises Unsealable."""
        if table == CLIENTS:
            client = self.clients.read(row)
            words = [str(client.kind), client.organization or "-", " ".join(client.scopes), *client.redirect_uris]
        else:
            kept = self.users.read(row)
            state = "disabled" if kept.disabled else "enabled"
            words = [kept.account.login, str(kept.account.role), kept.account.user, kept.account.organization, state]
        return "\t".join(words)


def check_access(data: Data = None) -> None:
    """Look whether every client, account, grant, code and session is as the server stored it; status 1 if one is not.

    Of grants, codes and sessions one that was removed, or an earlier one that was put back, is not found by this.
    """
    with opened(Settings.load(data)) as installation:
        found = installation.run(lambda parts: check(_access(installation, parts).register))
        passes = installation.run(lambda parts: _access(installation, parts).passes())
    for line in lines([*found.faults, *passes.faults]):
        typer.echo(line)
    if found.faults or passes.faults:
        raise typer.Exit(1)
    typer.echo(f"{found.count} clients and accounts, all as they were stored.")
    typer.echo(f"{passes.count} grants, codes and sessions, all as they were stored.")


def sign_access(drop: Drop = [], yes: Yes = False, data: Data = None) -> None:  # noqa: B006
    """Sign clients and accounts as they stand: once after an upgrade, or when check-access was looked into.

    What is listed is what will hold. Stop the servers of an earlier version first: what they store is not signed.
    """
    with opened(Settings.load(data)) as installation:
        found = installation.run(lambda parts: check(_access(installation, parts).register))
        ended = installation.run(lambda parts: _ended(_access(installation, parts), found, drop))
        if not found.faults and not drop:
            typer.echo(f"{found.count} clients and accounts, all signed: there is nothing to do.")
            return
        for line in installation.run(lambda parts: _listed(_access(installation, parts), found, drop)):
            typer.echo(line)
        for table, id in ended:
            typer.echo(f"{named(table, id)}\tis ended")
        if not yes:
            typer.confirm("Is this what clients and accounts may do?", abort=True)
        left = installation.run(lambda parts: _sign(installation, parts, drop, ended))
    for line in lines(left.faults):
        typer.echo(f"left out: {line}")
    typer.echo(f"{left.count - len(left.faults)} clients and accounts signed.")


def public_key(
    of: Annotated[Signs, typer.Argument(help="access: clients and accounts; audit: the audit log's anchors.")],
    hexadecimal: Annotated[bool, typer.Option("--hex", help="04 | x | y in hexadecimal instead of PEM.")] = False,
    data: Data = None,
) -> None:
    """Print the public SM2 key by which others verify what this installation signs."""
    found = keyring_of(Settings.load(data)).signer(of).public_key
    typer.echo(found.hex() if hexadecimal else public_pem(found).decode().rstrip())


async def _ended(access: Access, found: Checked, drop: list[str]) -> list[tuple[str, str]]:
    """Return which of the rows to be dropped pass (table, id). Raises NoSuchRow."""
    known = {named(table, str(row["_id"])) for table, rows in found.rows.items() for row in rows}
    known |= {named(table, id) for table, id, _ in found.faults}  # one that is missing is listed no more
    others = list[tuple[str, str]]()
    for name in drop:
        table, _, id = name.partition("/")
        if name not in known:
            if not await passing.there(access.database, table, id):
                raise NoSuchRow(name)
            others.append((table, id))
    return others


async def _sign(installation: Installation, parts: Parts, drop: list[str], ended: list[tuple[str, str]]) -> Checked:
    access = _access(installation, parts)
    for table, id in ended:
        await passing.end(access.database, access.committer, table, id)
    signed = await sign(access.register, access.readable, without=drop)
    dropped = f", without {', '.join(drop)}" if drop else ""
    await record(parts, CHANGED, f"clients and accounts signed as they stand{dropped}")
    return signed


async def _listed(access: Access, found: Checked, drop: list[str]) -> list[str]:
    return list(_lines(access, found, drop))


def _lines(access: Access, found: Checked, drop: list[str]) -> Iterator[str]:
    """Yield a line for each row: its name, what is wrong with it, what it lets somebody do."""
    faults: dict[tuple[str, str], Found] = {(table, id): (table, id, fault) for table, id, fault in found.faults}
    for table in TABLES:
        for row in found.rows[table]:
            id = str(row["_id"])
            if named(table, id) in drop:
                yield f"{named(table, id)}\tis deleted"
            elif not access.readable(table, row):
                yield f"{named(table, id)}\tdoes not open under this keyring: it stays refused"
            else:
                wrong = faults.get((table, id))
                yield f"{named(table, id)}\t{wrong[2] if wrong else 'is as it was stored'}\t{access.told(table, row)}"
    for table, id, fault in found.faults:
        if fault is Fault.MISSING:
            yield f"{named(table, id)}\t{fault}"


def _access(installation: Installation, parts: Parts) -> Access:
    authority, vault = installation.authority(parts), Vault(installation.keyring)
    users = Users(authority.register, vault)
    return Access(authority.register, authority.clients, users, vault, authority.database, authority.committer)
