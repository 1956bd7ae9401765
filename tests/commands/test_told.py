"""What an operator changes of clients, accounts and keys by a command is told by an AuditEvent, which names no person."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fhir_server.app import assemble, keyring_of
from fhir_server.fhir_json import parse
from fhir_server.settings import Settings
from fhir_server.store.resources import Ungated
from tests.commands.console import Console, console

LOGIN, NAME = "zhang.xiulan", "张秀兰"
PASSWORD = "a long enough password"
CHART = ("--kind", "confidential-symmetric", "--name", "Chart", "--scope", "openid", "--redirect", "https://a.example/")
DOCTOR = ("--role", "practitioner", "--fhir-user", "Practitioner/d1", "--organization", "org1", "--name", NAME)


def notes(shell: Console, mongo_uri: str, database: str) -> list[str]:
    """Return what the log says of what the operator did, in its order; none of it names anybody."""

    async def read() -> list[str]:
        settings = Settings.load(shell.data, database=database, zone="UTC")
        parts = assemble(settings, keyring_of(settings), uri=mongo_uri)
        try:
            await parts.ready()
            use = parts.services
            found = await use.resources.find("AuditEvent", {}, Ungated("test"), sort=[("at", 1), ("_id", 1)], limit=0)
            bodies = [body.decode() for body in await use.resources.opened("AuditEvent", found)]
        finally:
            await parts.close()
        assert not any(LOGIN in body or NAME in body for body in bodies)
        events = [parse(body.encode()) for body in bodies]
        said = [each["outcomeDesc"] for each in events if each["subtype"][0]["code"] == "access-change"]
        return [each.removeprefix("HTTP 200 command line; ") for each in said]

    return asyncio.run(read())


def test_each_change_is_told(mongo_uri: str, database_name: str, tmp_path: Path) -> None:
    shell = console(mongo_uri, database_name, tmp_path / "var")
    shell.run("client", "add", "chart", *CHART)
    shell.run("client", "list")
    shell.run("client", "secret", "chart")
    shell.run("client", "remove", "chart")
    made = shell.run("user", "add", LOGIN, *DOCTOR, "--password-stdin", stdin=f"{PASSWORD}\n").split()[1]
    shell.run("user", "password", LOGIN, "--password-stdin", stdin=f"{PASSWORD} too\n")
    shell.run("user", "change", LOGIN, "--department", "org1-icu")
    shell.run("user", "totp", LOGIN)
    shell.run("user", "disable", LOGIN)
    shell.run("user", "disable", LOGIN, "--undo")
    shell.run("keys", "rotate", "--at-once")
    shell.run("keys", "sign-access", "--yes", "--drop", f"auth_accounts/{made}")
    assert notes(shell, mongo_uri, database_name) == [
        "client chart registered",
        "client chart has a new secret",
        "client chart removed",
        f"account {made} made",
        f"account {made} has a new password",
        f"account {made} changed: department",
        f"account {made} has no second factor any more",
        f"account {made} disabled",
        f"account {made} enabled",
        "keys of tokens rotated, at once",
        f"clients and accounts signed as they stand, without auth_accounts/{made}",
    ]
