"""fhir-facade purge."""

from __future__ import annotations

from typing import Annotated

import typer

from fhir_server.app import Parts
from fhir_server.commands.installation import Data, opened, say
from fhir_server.settings import Settings


def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what is due; purge nothing.")] = False,
    data: Data = None,
) -> None:
    """Purge what was received from elsewhere for visits that ended so many days ago (FHIR_RECEIVED_DAYS).

    Servers do it by themselves. Broken off, it goes on where it stopped when it is started again.
    """
    with opened(Settings.load(data)) as installation:
        found = installation.run(listed if dry_run else purged)
    if found is None:
        say.print("A server of this database is purging at this moment: try again in a minute.")
        raise typer.Exit(1)
    for line in found:
        typer.echo(line)
    typer.echo(f"{len(found)} deliveries {'due' if dry_run else 'purged'}")


async def purged(parts: Parts) -> list[str] | None:
    """Purge what is due; return a line for each delivery, None if another process is at it."""
    done = await parts.purging.once()
    if done is None:
        return None
    return [f"{each.id}\t{each.source}\t{await _counted(parts, each.id)}" for each in done]


async def listed(parts: Parts) -> list[str]:
    """Return a line for each delivery that is due."""
    lines = []
    async for each in parts.purging.due(looking=True):
        number = len(await parts.services.deliveries.brought(each.id))
        lines.append(f"{each.id}\t{each.source}\tdue {each.due:%Y-%m-%d}\t{number} records")
    return lines


async def _counted(parts: Parts, id: str) -> str:
    counts, _ = await parts.services.deliveries.noted(id)
    return f"{sum(counts.values())} records"
