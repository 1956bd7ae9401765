"""fhir-facade reindex."""

from __future__ import annotations

from collections.abc import Callable

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fhir_server.app import Parts
from fhir_server.commands.installation import Data, opened, say
from fhir_server.reindexing import everything
from fhir_server.settings import Settings


def reindex(data: Data = None) -> None:
    """Index every record anew, once, after an upgrade that says so; stop the servers of the older version before.

    Broken off, it goes on where it stopped when it is started again. What is not as the server stored it is listed, and
    left as it is; then it ends with status 1.
    """
    with opened(Settings.load(data)) as installation:
        refused: list[str] = []
        count = installation.run(lambda parts: index_anew(parts, refused.append), any_layout=True)
    for each in dict.fromkeys(refused):
        typer.echo(f"left as it is, and refused: {each}")
    typer.echo(f"{count} records indexed")
    if refused:
        raise typer.Exit(1)


async def index_anew(parts: Parts, refused: Callable[[str], None]) -> int:
    """Return how many records were indexed anew."""
    columns = (TextColumn("indexing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=say) as bar:
        task = bar.add_task("indexing", total=await everything.total(parts.database, parts.definitions))
        return await everything.reindex(
            parts.database,
            parts.definitions,
            parts.collections,
            parts.services.committer,
            progress=lambda count: bar.advance(task, count),
            refused=refused,
        )
