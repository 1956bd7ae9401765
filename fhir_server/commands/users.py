"""fhir-facade user …: what the operator does with accounts. Passwords come from a prompt or standard input only."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import typer

from fhir_server.app import Parts
from fhir_server.auth.accounts.account import PURPOSES, Account, InvalidAccount, packed
from fhir_server.auth.accounts.passwords import Passwords, acceptable
from fhir_server.auth.accounts.sessions import Sessions
from fhir_server.auth.accounts.users import Kept, Users
from fhir_server.auth.requester import Role
from fhir_server.auth.server.authority import Authority
from fhir_server.commands.installation import CHANGED, Data, Installation, opened, record
from fhir_server.settings import Settings

T = TypeVar("T")

Login = Annotated[str, typer.Argument(help="Login name.")]
Stdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")]

app = typer.Typer(no_args_is_help=True, help="Make and change the accounts of people who sign in.")


class Office(NamedTuple):
    """What the commands work with."""

    users: Users
    sessions: Sessions
    authority: Authority
    parts: Parts

    async def found(self, login: str) -> Kept:
        """Return the account of a login name. Raises InvalidAccount."""
        kept = await self.users.by_login(login)
        if kept is None:
            raise InvalidAccount("there is no account with this login name; see fhir-facade user list")
        return kept

    async def end(self, account: str) -> int:
        """End the sessions of an account, and what apps were granted by it; return how many grants ended."""
        await self.sessions.end_all(account)
        return await self.authority.end_all("revocation", account=account)

    async def told(self, account: str, what: str) -> None:
        """Have the log say what was changed of an account; it is named by its id, for a login name may be a person's."""
        await record(self.parts, CHANGED, f"account {account} {what}")


def at_office(data: Path | None, work: Callable[[Office], Awaitable[T]]) -> T:
    """Return what work with the accounts of an installation returns. data: the installation's folder."""
    with opened(Settings.load(data)) as installation:
        return installation.run(lambda parts: work(_office(installation, parts)))


def _office(installation: Installation, parts: Parts) -> Office:
    authority = installation.authority(parts)
    desk = parts.reception(installation.settings, installation.keyring, authority)
    return Office(desk.users, desk.sessions, authority, parts)


@app.command()
def add(
    login: Login,
    name: Annotated[str, typer.Option(help="Name that the pages show.")],
    role: Annotated[Role, typer.Option(help="practitioner, patient, related-person or auditor.")],
    fhir_user: Annotated[str, typer.Option(help="The resource that stands for them, such as Practitioner/1.")],
    organization: Annotated[str, typer.Option(help="Id of the Organization (institution).")],
    department: Annotated[str | None, typer.Option(help="Id of the department's Organization.")] = None,
    practitioner_role: Annotated[str | None, typer.Option(help="Such as PractitionerRole/1.")] = None,
    purpose: Annotated[
        list[str] | None, typer.Option(help="Purpose of use that they may ask for; repeat, the usual one first.")
    ] = None,
    phone: Annotated[str | None, typer.Option(help="Phone number; it is stored sealed.")] = None,
    issuer: Annotated[str | None, typer.Option(help="Issuer of the provider where they sign in.")] = None,
    subject: Annotated[str | None, typer.Option(help="Their sub at that provider; no password is asked.")] = None,
    password_stdin: Stdin = False,
    data: Data = None,
) -> None:
    """Make an account. Practitioners and auditors set up their second factor when they first sign in."""
    account = Account(
        id="",
        login=login,
        name=name,
        role=role,
        user=fhir_user,
        organization=organization,
        purposes=tuple(purpose) if purpose else PURPOSES.get(role, ()),
        department=department,
        practitioner_role=practitioner_role,
        phone=phone,
    )
    if (issuer is None) != (subject is None):
        raise InvalidAccount("--issuer and --subject go together")
    mapped = (issuer, subject) if issuer and subject else None
    password = None if mapped else _asked(login, from_stdin=password_stdin)

    async def work(office: Office) -> str:
        hashed = await Passwords().hashed(password) if password else None
        made = (await office.users.add(account, password=hashed, subject=mapped)).id
        await office.told(made, "made")
        return made

    typer.echo(f"account {at_office(data, work)} made")


@app.command("list")
def list_all(data: Data = None) -> None:
    """List the accounts, a line each: login name, role, fhirUser, institution, state."""
    for kept in at_office(data, lambda office: office.users.all()):
        account = kept.account
        typer.echo(f"{account.login}\t{account.role}\t{account.user}\t{account.organization}\t{_state(kept)}")


@app.command()
def show(login: Login, data: Data = None) -> None:
    """Show an account as JSON, without what proves it."""
    kept = at_office(data, lambda office: office.found(login))
    said = {"id": kept.account.id, **packed(kept.account), "state": _state(kept)}
    typer.echo(json.dumps(said, ensure_ascii=False, indent=2))


@app.command()
def disable(
    login: Login,
    undo: Annotated[bool, typer.Option("--undo", help="Let them sign in again.")] = False,
    data: Data = None,
) -> None:
    """Keep an account from signing in; its sessions and all that apps were granted by it end at once."""

    async def work(office: Office) -> int:
        id = (await office.found(login)).account.id
        await office.users.set_disabled(id, not undo)
        await office.told(id, "enabled" if undo else "disabled")
        return 0 if undo else await office.end(id)

    ended = at_office(data, work)
    typer.echo("enabled" if undo else f"disabled; {ended} grants ended")


@app.command()
def password(login: Login, password_stdin: Stdin = False, data: Data = None) -> None:
    """Set a new password; the sessions of the account end, and what apps were granted by it."""
    chosen = _asked(login, from_stdin=password_stdin)

    async def work(office: Office) -> int:
        id = (await office.found(login)).account.id
        await office.users.set_password(id, await Passwords().hashed(chosen))
        await office.told(id, "has a new password")
        return await office.end(id)

    typer.echo(f"password set; {at_office(data, work)} grants ended")


@app.command()
def totp(login: Login, data: Data = None) -> None:
    """Take the second factor away, after a phone was lost; a new one is set up at the next sign-in."""

    async def work(office: Office) -> int:
        id = (await office.found(login)).account.id
        await office.users.drop_secret(id)
        await office.told(id, "has no second factor any more")
        return await office.end(id)

    typer.echo(f"second factor removed; {at_office(data, work)} grants ended")


@app.command()
def change(
    login: Login,
    name: Annotated[str | None, typer.Option(help="Name that the pages show.")] = None,
    department: Annotated[str | None, typer.Option(help="Id of the department's Organization.")] = None,
    practitioner_role: Annotated[str | None, typer.Option(help="Such as PractitionerRole/1.")] = None,
    purpose: Annotated[list[str] | None, typer.Option(help="Purposes that they may ask for, all of them.")] = None,
    data: Data = None,
) -> None:
    """Change what is told of an account; what apps were granted by it ends, since tokens say it too."""
    given = {"name": name, "department": department, "practitioner_role": practitioner_role}
    told: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if purpose:
        told["purposes"] = tuple(purpose)

    async def work(office: Office) -> int:
        account = (await office.found(login)).account
        await office.users.change(replace(account, **told))
        await office.told(account.id, f"changed: {', '.join(told)}")
        return await office.end(account.id)

    typer.echo(f"changed; {at_office(data, work)} grants ended")


def _asked(login: str, *, from_stdin: bool) -> str:
    """Return the password that the operator gives. Raises WeakPassword."""
    if from_stdin:
        return acceptable(sys.stdin.readline().rstrip("\r\n"), login)
    return acceptable(str(typer.prompt("Password", hide_input=True, confirmation_prompt=True)), login)


def _state(kept: Kept) -> str:
    proof = "provider" if kept.federated else "password"
    told = [proof, *(["second factor"] if kept.secret else []), *(["disabled"] if kept.disabled else [])]
    return ", ".join(told)
