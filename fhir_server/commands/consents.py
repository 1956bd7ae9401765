"""fhir-facade consents."""

from __future__ import annotations

import typer

from fhir_server.app import Parts
from fhir_server.commands.installation import Data, opened, say
from fhir_server.consenting.reminders import Done
from fhir_server.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Authorizations that patients give to institutions.")


@app.command()
def remind(data: Data = None) -> None:
    """Remind patients of authorizations that end soon (FHIR_REMIND_DAYS), and end requests that nobody answered in time.

    Servers do it by themselves. Each patient is reminded once of each version of an authorization.
    """
    with opened(Settings.load(data)) as installation:
        done = installation.run(_reminded)
    if done is None:
        say.print("A server of this database is at it at this moment: try again in a few minutes.")
        raise typer.Exit(1)
    typer.echo(f"{done.reminded} patients reminded, {done.expired} requests expired")


async def _reminded(parts: Parts) -> Done | None:
    return await parts.reminders.once()
