"""fhir-facade outbox."""

from __future__ import annotations

from typing import Annotated

import typer

from fhir_server.app import Parts
from fhir_server.commands.installation import Data, opened, say
from fhir_server.settings import Settings
from fhir_server.store.instants import instant

app = typer.Typer(no_args_is_help=True, help="What others, such as bridges, are told of authorizations.")


@app.command()
def consumers(data: Data = None) -> None:
    """List who is told: from when on, of which kinds (none named: all), how many entries wait, and since when."""
    with opened(Settings.load(data)) as installation:
        lines = installation.run(_listed)
    for line in lines:
        typer.echo(line)


@app.command()
def forget(
    name: Annotated[str, typer.Argument(help="The name of a consumer that will not come back.")], data: Data = None
) -> None:
    """Take out a consumer, with what waits for it and for nobody else."""
    with opened(Settings.load(data)) as installation:
        known = installation.run(lambda parts: parts.services.consenting.outbox.forget(name))
    if not known:
        say.print("There is no consumer of this name. See: fhir-facade outbox consumers")
        raise typer.Exit(1)
    typer.echo(f"{name} is told no more")


async def _listed(parts: Parts) -> list[str]:
    rows = await parts.services.consenting.outbox.consumers()
    return [
        f"{each.consumer.name}\tfrom {instant(each.consumer.since)}\t{','.join(sorted(each.consumer.kinds)) or 'all kinds'}\t"
        f"{each.entries} waiting{f', the oldest of {instant(each.oldest)}' if each.oldest is not None else ''}"
        for each in rows
    ]
