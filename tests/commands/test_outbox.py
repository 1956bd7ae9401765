"""fhir-facade outbox: who is told, and taking out who will not come back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from typer.testing import CliRunner

from fhir_server.app import assemble, keyring_of
from fhir_server.cli import app
from fhir_server.settings import Settings


def test_consumers_are_listed_and_forgotten(mongo_uri: str, database_name: str, tmp_path: Path) -> None:
    said = {
        "FHIR_MONGODB_URI": mongo_uri,
        "FHIR_DATABASE": database_name,
        "FHIR_DATA": str(tmp_path),
        "FHIR_ZONE": "UTC",
    }

    def run(*words: str) -> tuple[int, str]:
        ran = CliRunner().invoke(app, ["outbox", *words], env=said)
        return ran.exit_code, ran.stdout

    async def register() -> None:
        settings = Settings.load(tmp_path, database=database_name, zone="UTC")
        parts = assemble(settings, keyring_of(settings), uri=mongo_uri)
        await parts.ready()
        await parts.services.consenting.outbox.register("province", since=0, kinds={"consent-active"})
        await parts.close()

    asyncio.run(register())
    assert run("consumers") == (0, "province\tfrom 1970-01-01T00:00:00.000Z\tconsent-active\t0 waiting\n")
    assert run("forget", "province") == (0, "province is told no more\n")
    assert run("consumers") == (0, "")
    assert run("forget", "province")[0] == 1
