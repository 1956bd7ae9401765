"""fhir-facade load."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fhir_server.commands.installation import Data, Installation, Organization, opened, say
from fhir_server.loading.files import RejectsFile, Source, chunks, read, sources
from fhir_server.loading.load import load as load_chunks
from fhir_server.loading.loader import Tally
from fhir_server.loading.processes import named_for, usual
from fhir_server.settings import Settings

Processes = Annotated[
    int | None,
    typer.Option(help="Processes that prepare what is stored. Default: processors less one, 1 to 4.", min=1),
]


def load(
    paths: Annotated[list[Path], typer.Argument(help="Files or folders: .json, .ndjson, .jsonl, each plain or .gz.")],
    organization: Organization,
    data: Data = None,
    processes: Processes = None,
) -> None:
    """Load FHIR Bundles and NDJSON as the records of an institution.

    What is rejected is listed with file, position and reason in a rejects file; the rest goes on. Loading again changes
    nothing, so a load that was broken off is simply started again. Ends with status 1 if anything was rejected.
    """
    settings = Settings.load(data)
    files = sources(paths)
    with opened(settings) as installation, RejectsFile(settings.data / _rejects_name()) as rejects:
        tally = load_files(installation, files, organization, rejects, processes or usual())
    typer.echo(_told(tally))
    if tally.rejected:
        typer.echo(f"What was rejected, and why: {rejects.path}")
        raise typer.Exit(1)


def load_files(
    into: Installation, files: list[Source], organization: str, rejects: RejectsFile, processes: int
) -> Tally:
    """Return the tally of loading files; broken off, it is said how far it came."""
    found = chunks((raw for file in files for raw in read(file)), named_for(into.keyring, organization))
    reached = Tally()

    def progress(tally: Tally) -> None:
        nonlocal reached
        reached = tally
        seconds = time.monotonic() - started
        bar.update(task, completed=tally.consumed, seen=tally.seen, rate=round(tally.seen / seconds))

    with _progress(sum(each.size for each in files)) as (bar, task):
        started = time.monotonic()
        work = load_chunks(
            into.settings,
            into.keyring,
            into.uri,
            organization,
            found,
            processes=processes,
            reject=rejects.write,
            progress=progress,
        )
        try:
            return _run_until_stopped(work)
        except (KeyboardInterrupt, SystemExit):
            say.print(f"Stopped after {_told(reached)}. Started again, it goes on from there.")
            raise


def _run_until_stopped(work: Coroutine[Any, Any, Tally]) -> Tally:
    """Return what work returns. A polite stop cancels it, as Ctrl-C does, and then ends this command.

    Raised wherever Python happens to be, it could end a part of the work whose end nobody looks at.
    """

    async def stoppable() -> Tally:
        if task := asyncio.current_task():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    before = signal.getsignal(signal.SIGTERM)
    try:
        return asyncio.run(stoppable())
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def _told(tally: Tally) -> str:
    return f"{tally.stored} stored, {tally.unchanged} unchanged, {tally.rejected} rejected"


def _rejects_name() -> str:
    return f"rejects-{datetime.now():%Y%m%d-%H%M%S}.ndjson"


@contextmanager
def _progress(total: int) -> Iterator[tuple[Progress, Any]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[seen]} resources, {task.fields[rate]}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=say) as bar:
        yield bar, bar.add_task("loading", total=total, seen=0, rate=0)
