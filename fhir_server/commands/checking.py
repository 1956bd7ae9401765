"""fhir-facade check."""

from __future__ import annotations

import typer

from fhir_server.app import Parts
from fhir_server.commands.installation import Data, opened
from fhir_server.reindexing.checking import check as looked_through
from fhir_server.settings import Settings


def check(data: Data = None) -> None:
    """Look for records that were changed or removed behind the server's back; stop the servers before. Status 1 if any is.

    A record that was changed is refused whatever this finds; one that was removed is missing.
    """
    with opened(Settings.load(data)) as installation:
        count, faults = installation.run(_checked)
    for each in faults:
        typer.echo(each)
    if faults:
        raise typer.Exit(1)
    typer.echo(f"{count} documents, all as they were stored.")


async def _checked(parts: Parts) -> tuple[int, list[str]]:
    faults: list[str] = []
    return await looked_through(parts.database, parts.services, faults.append), faults
