"""An installation without HTTP, whose database somebody else writes to as well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from click.testing import Result
from pymongo import MongoClient
from pymongo.database import Database
from typer.testing import CliRunner

from fhir_server.app import Parts, assemble, keyring_of
from fhir_server.auth.accounts.account import PURPOSES, Account
from fhir_server.auth.accounts.users import Users
from fhir_server.auth.requester import Role
from fhir_server.auth.server.clients import Client
from fhir_server.auth.server.registered import Clients
from fhir_server.auth.server.vault import Vault
from fhir_server.auth.signed.checking import check
from fhir_server.auth.signed.register import PURPOSE, Register
from fhir_server.auth.signed.rows import REGISTER, Fault
from fhir_server.cli import app as command_line
from fhir_server.settings import Settings
from tests.auth.accounts.house import app

T = TypeVar("T")
Json = dict[str, Any]
TABLES = ("auth_clients", "auth_accounts", REGISTER)
DOCTOR = Account("", "li", "李医生", Role.PRACTITIONER, "Practitioner/li", "org1", PURPOSES[Role.PRACTITIONER])
AUDITOR = replace(DOCTOR, login="wu", role=Role.AUDITOR, user="Practitioner/wu", purposes=PURPOSES[Role.AUDITOR])


class Process(NamedTuple):
    """What one process of the installation has in its memory."""

    register: Register
    clients: Clients
    users: Users


@dataclass
class Place:
    """An installation: its parts, a loop to run them in, and its database as somebody reaches it who is not the server."""

    settings: Settings
    uri: str
    parts: Parts
    runner: asyncio.Runner
    raw: Database[Json]

    @property
    def vault(self) -> Vault:
        return Vault(keyring_of(self.settings))

    def process(self) -> Process:
        """Return a process that has just begun, and remembers nothing."""
        keyring = keyring_of(self.settings)
        register, vault = Register(self.parts.database, keyring.signer(PURPOSE)), Vault(keyring)
        return Process(register, Clients(register, vault), Users(register, vault))

    def run(self, work: Callable[[Process], Awaitable[T]], process: Process | None = None) -> T:
        """Return what work returns in a process; in a new one unless one is given."""

        async def within() -> T:
            return await work(process or self.process())

        return self.runner.run(within())

    def add(self, *made: Client | Account) -> list[Any]:
        """Register clients, and make accounts with a password and a second factor."""

        async def work(process: Process) -> list[Any]:
            return [await _made(process, each) for each in made]

        return self.run(work)

    def clients(self, process: Process | None = None) -> list[str]:
        async def work(process: Process) -> list[str]:
            return [each.id for each in await process.clients.every()]

        return self.run(work, process)

    def state(self) -> tuple[set[str], dict[str, Fault]]:
        """Return who is found by login name or client id, one by one, and what a look through everything finds wrong."""

        async def work(process: Process) -> tuple[set[str], dict[str, Fault]]:
            kept = [await process.users.by_login(each.login) for each in (DOCTOR, AUDITOR)]
            found = {each.account.login for each in kept if each}
            found |= {id for id in ("chart", "second") if await process.clients.get(id)}
            return found, {id: fault for _, id, fault in (await check(process.register)).faults}

        return self.run(work)

    def emptied(self) -> None:
        for name in TABLES:
            self.raw[name].delete_many({})

    def backup(self) -> dict[str, list[Json]]:
        return {name: list(self.raw[name].find()) for name in TABLES}

    def restore(self, backup: dict[str, list[Json]]) -> None:
        self.emptied()
        for name, rows in backup.items():
            if rows:
                self.raw[name].insert_many(rows)

    def command(self, *words: str) -> Result:
        """Return what a command of fhir-facade keys does."""
        said = {"MONGODB_URI": self.uri, "DATABASE": self.settings.database, "ZONE": self.settings.zone}
        environment = {f"FHIR_{name}": value for name, value in said.items()}
        return CliRunner().invoke(command_line, ["keys", *words, "--data", str(self.settings.data)], env=environment)


async def _made(process: Process, each: Client | Account) -> Client | Account:
    if isinstance(each, Client):
        return await process.clients.add(each)
    account = await process.users.add(each, password="hash of the password")
    await process.users.enrol(account.id, "secret", step=3)
    return account


@contextmanager
def opened(uri: str, database: str, folder: Path) -> Iterator[Place]:
    settings = Settings.load(folder, database=database, zone="UTC")
    with asyncio.Runner() as runner, MongoClient[Json](uri) as client:

        async def begin() -> Parts:
            parts = assemble(settings, keyring_of(settings), uri=uri)
            await parts.ready()
            return parts

        parts = runner.run(begin())
        try:
            yield Place(settings, uri, parts, runner, client[database])
        finally:
            runner.run(parts.close())


def usual(place: Place) -> list[Any]:
    """Begin with two clients, a doctor and an auditor; return them."""
    place.emptied()
    return place.add(app("chart"), app("second"), DOCTOR, AUDITOR)
