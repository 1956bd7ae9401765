"""The command line: fhir-facade, also python -m fhir_server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fhir_server import logs
from fhir_server.app import Parts, assemble, bearer_of, keyring_of
from fhir_server.auth.accounts import commands as accounts
from fhir_server.auth.accounts.account import InvalidAccount
from fhir_server.auth.accounts.passwords import WeakPassword
from fhir_server.auth.bearer import InvalidClaims
from fhir_server.auth.requester import Role
from fhir_server.auth.server import commands as authorization
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.clients import InvalidClient
from fhir_server.crypto.keyring import Keyring, KeyringError
from fhir_server.demo import run as demo_run
from fhir_server.loading.files import RejectsFile, Source, chunks, read, sources
from fhir_server.loading.load import load as load_chunks
from fhir_server.loading.loader import Tally
from fhir_server.loading.processes import LoadingBroken, named_for, usual
from fhir_server.reindexing import everything
from fhir_server.settings import Settings, SettingsError
from fhir_server.store.embedded import MongoUnavailable, running
from fhir_server.store.installation import WrongInstallation

app = typer.Typer(
    name="fhir-facade",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=(
        "HL7 FHIR R4 facade server with consent-aware access.\n\n"
        "Every command works on one installation, the folder named by --data: its keyring (without which nothing that is "
        "stored can be read), its settings.toml and, unless FHIR_MONGODB_URI names a server, its own MongoDB, which is "
        "started when it does not run and stopped by the last command that uses it."
    ),
)
say = Console(stderr=True)

Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the installation. Default: FHIR_DATA, else ./var.")
]
Host = Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on. Default: 8080.")]
Workers = Annotated[int | None, typer.Option(help="Worker processes. Default: 1.")]
Processes = Annotated[
    int | None,
    typer.Option(help="Processes that prepare what is stored. Default: processors less one, 1 to 4.", min=1),
]
Organization = Annotated[str, typer.Option(help="Id of the Organization (institution).")]


@contextmanager
def opened(settings: Settings) -> Iterator[tuple[Keyring, str]]:
    """Yield the keyring and the MongoDB URI of an installation; its own MongoDB runs as long as this lasts."""
    keyring = keyring_of(settings)
    if settings.mongodb_uri:
        yield keyring, settings.mongodb_uri
        return
    with running(settings.data, announce=lambda text: say.print(text, style="dim")) as uri:
        yield keyring, uri


@contextmanager
def _authority(data: Path | None) -> Iterator[authorization.Running]:
    """Yield what runs work with the authorization server of an installation."""
    settings = Settings.load(data)
    with opened(settings) as (keyring, uri):

        def run(work: Callable[[Authority], Awaitable[Any]]) -> Any:
            async def within() -> Any:
                parts = assemble(settings, keyring, uri=uri)
                try:
                    await parts.ready()
                    return await work(parts.authority(settings, keyring))
                finally:
                    await parts.client.close()

            return asyncio.run(within())

        yield run


@contextmanager
def _office(data: Path | None) -> Iterator[accounts.Running]:
    """Yield what runs work with the accounts of an installation."""
    settings = Settings.load(data)
    with opened(settings) as (keyring, uri):

        def run(work: Callable[[accounts.Office], Awaitable[Any]]) -> Any:
            async def within() -> Any:
                parts = assemble(settings, keyring, uri=uri)
                try:
                    await parts.ready()
                    authority = parts.authority(settings, keyring)
                    desk = parts.reception(settings, keyring, authority)
                    return await work(accounts.Office(desk.users, desk.sessions, authority))
                finally:
                    await parts.client.close()

            return asyncio.run(within())

        yield run


app.add_typer(authorization.clients(_authority), name="client")
app.add_typer(accounts.users(_office), name="user")
app.add_typer(authorization.keys(_authority), name="keys")


@app.command()
def serve(
    data: Data = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
) -> None:
    """Run the server; its FHIR base is /fhir. Ctrl-C stops it, and its MongoDB when nobody else uses that."""
    settings = Settings.load(data, host=host, port=port, workers=workers)
    with opened(settings) as (keyring, uri):
        run_server(settings, keyring, uri)


def run_server(settings: Settings, keyring: Keyring, uri: str) -> None:
    """Run the workers until they are told to stop. They are handed their settings in the environment."""
    handed = {
        "FHIR_DATA": str(settings.data),
        "FHIR_MONGODB_URI": uri,
        "FHIR_HOST": settings.host,
        "FHIR_PORT": str(settings.port),
        "FHIR_ZONE": settings.zone,
    }
    os.environ.update(handed)
    prepare(settings, keyring, uri)
    say.print(f"FHIR base: {settings.public_base}   zone: {settings.zone}   workers: {settings.workers}")
    uvicorn.run(
        "fhir_server.app:worker",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_level="warning",
        access_log=False,  # the lines would hold what was searched for
        server_header=False,
        timeout_graceful_shutdown=10,
    )


def prepare(settings: Settings, keyring: Keyring, uri: str) -> None:
    """Make what the database needs, and see that it is this installation's, before anything is served or loaded."""

    async def ready() -> None:
        parts = assemble(settings, keyring, uri=uri)
        try:
            await parts.ready()
        finally:
            await parts.client.close()

    asyncio.run(ready())


@app.command()
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
    with opened(settings) as (keyring, uri), RejectsFile(settings.data / _rejects_name()) as rejects:
        tally = load_files(settings, keyring, uri, files, organization, rejects, processes or usual())
    typer.echo(_told(tally))
    if tally.rejected:
        typer.echo(f"What was rejected, and why: {rejects.path}")
        raise typer.Exit(1)


def load_files(
    settings: Settings,
    keyring: Keyring,
    uri: str,
    files: list[Source],
    organization: str,
    rejects: RejectsFile,
    processes: int,
) -> Tally:
    """Return the tally of loading files; broken off, it is said how far it came."""
    found = chunks((raw for file in files for raw in read(file)), named_for(keyring, organization))
    reached = Tally()

    def progress(tally: Tally) -> None:
        nonlocal reached
        reached = tally
        seconds = time.monotonic() - started
        bar.update(task, completed=tally.consumed, seen=tally.seen, rate=round(tally.seen / seconds))

    with _progress(sum(each.size for each in files)) as (bar, task):
        started = time.monotonic()
        work = load_chunks(
            settings, keyring, uri, organization, found, processes=processes, reject=rejects.write, progress=progress
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


@app.command()
def reindex(data: Data = None) -> None:
    """Index every record anew, once, after an upgrade that says so; stop the servers of the older version before.

    Broken off, it goes on where it stopped when it is started again.
    """
    settings = Settings.load(data)
    with opened(settings) as (keyring, uri):
        count = asyncio.run(index_anew(settings, keyring, uri))
    typer.echo(f"{count} records indexed")


async def index_anew(settings: Settings, keyring: Keyring, uri: str) -> int:
    """Return how many records were indexed anew."""
    parts = assemble(settings, keyring, uri=uri)
    try:
        await parts.ready(any_layout=True)
        columns = (
            TextColumn("indexing"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=say) as bar:
            task = bar.add_task("indexing", total=await everything.total(parts.database, parts.definitions))
            return await everything.reindex(
                parts.database,
                parts.definitions,
                parts.collections,
                parts.services.committer,
                progress=lambda count: bar.advance(task, count),
            )
    finally:
        await parts.client.close()


@app.command()
def token(
    role: Annotated[Role, typer.Option(help="What the user is.")],
    user: Annotated[str, typer.Option(help="Reference to the user, such as Practitioner/dr-zhang, Patient/pat-a-001.")],
    organization: Organization,
    purpose: Annotated[str, typer.Option(help="Purpose of use: one code of v3 PurposeOfUse.")] = "TREAT",
    scope: Annotated[str, typer.Option(help='SMART scopes, v1 or v2, such as "user/*.rs".')] = "user/*.cruds",
    patient: Annotated[
        str | None, typer.Option(help="Reference to the Patient in context, for patient/ scopes.")
    ] = None,
    department: Annotated[str | None, typer.Option(help="Id of the department's Organization.")] = None,
    practitioner_role: Annotated[str | None, typer.Option(help="Reference to the PractitionerRole.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for an emergency access (purpose ETREAT or BTG).")] = None,
    lifetime: Annotated[int, typer.Option(help="Seconds until it expires.", min=1)] = 8 * 3600,
    data: Data = None,
) -> None:
    """Print a signed bearer token and nothing else, for local work and tests."""
    claims = {
        "role": str(role),
        "fhirUser": user,
        "org": organization,
        "purpose": purpose,
        "scope": scope,
        "patient": patient,
        "department": department,
        "practitionerRole": practitioner_role,
        "reason": reason,
    }
    given = {name: value for name, value in claims.items() if value is not None}
    typer.echo(bearer_of(keyring_of(Settings.load(data))).issue(given, lifetime=lifetime))


@app.command()
def demo(
    data: Data = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
) -> None:
    """Load two demo hospitals, print tokens and curl lines that show consent at work, and run the server."""
    settings = Settings.load(data, host=host, port=port, workers=workers)
    with opened(settings) as (keyring, uri):

        async def filled() -> None:
            parts: Parts = assemble(settings, keyring, uri=uri)
            try:
                await parts.ready()
                await demo_run.fill(parts.services, say)
            finally:
                await parts.client.close()

        asyncio.run(filled())
        demo_run.show(settings, bearer_of(keyring))
        run_server(settings, keyring, uri)


def main() -> None:
    """Run the command line; what an operator can mend is said in a line, without a traceback."""
    # A polite stop ends like Ctrl-C: whatever was started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    logs.to_standard_error()
    try:
        app()
    except (
        SettingsError,
        KeyringError,
        MongoUnavailable,
        WrongInstallation,
        InvalidClaims,
        InvalidClient,
        InvalidAccount,
        WeakPassword,
        LoadingBroken,
        FileNotFoundError,
    ) as error:
        say.print(f"fhir-facade: {error}", style="red", highlight=False)
        sys.exit(2)
    except PyMongoError as error:
        say.print(f"fhir-facade: MongoDB cannot be used: {type(error).__name__}. See FHIR_MONGODB_URI.", style="red")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
