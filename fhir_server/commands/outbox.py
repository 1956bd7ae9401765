"""fhir-facade outbox."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from pymongo.errors import PyMongoError

from fhir_server.app import Parts
from fhir_server.commands.installation import Data, opened, say
from fhir_server.consenting.following import Kind
from fhir_server.fhir_json import dump
from fhir_server.interactions.outbox import LOOKED_AFTER, Entry, Told, follow
from fhir_server.settings import Settings
from fhir_server.store.instants import instant, microseconds
from fhir_server.store.outbox import LEASE, NAME

app = typer.Typer(no_args_is_help=True, help="What others, such as bridges, are told of authorizations.")

# What a line says of an entry: nothing by which a person is known.
IMPERSONAL = ("consent", "version", "state", "effect", "custodian", "institutions")
NO_NAME = "A consumer's name is of small letters, digits and hyphens, 40 at most, a letter first."


@app.command("follow")
def follow_entries(
    name: Annotated[str, typer.Argument(help="The consumer's name; a new one is told from --since on.")],
    since: Annotated[
        datetime | None,
        typer.Option(help="Begin of a new consumer, in UTC; default: now.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]),
    ] = None,
    kind: Annotated[list[Kind] | None, typer.Option(help="Of a new consumer: which kinds; default: all.")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="End when nothing is left, instead of waiting for more.")
    ] = False,
    lease: Annotated[
        int, typer.Option(help="Seconds after which what a killed process had taken comes again.", min=1)
    ] = int(LEASE.total_seconds()),
    data: Data = None,
) -> None:
    """Write what a consumer is told to standard output, a JSON line for each entry, without personal data.

    An entry is acknowledged after its line was written; killed and started again, it goes on with what was not. So each
    entry is written at least once and, of each patient, in order. It waits for more until it is stopped.
    """
    if not NAME.fullmatch(name):
        raise typer.BadParameter(NO_NAME)
    begin = None if since is None else microseconds(since.replace(tzinfo=UTC))

    async def followed(parts: Parts) -> None:
        kinds = {each.value for each in kind or ()}
        waits = None if once else LOOKED_AFTER
        held = timedelta(seconds=lease)
        await written(parts, follow(parts.definitions, name, since=begin, kinds=kinds, lease=held, looked_after=waits))

    with opened(Settings.load(data)) as installation:
        try:
            installation.run(followed)
        except BrokenPipeError:  # whoever read the lines is gone: what was not written comes again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except asyncio.CancelledError:
            raise typer.Exit(128 + signal.SIGTERM) from None


async def written(parts: Parts, told: AsyncGenerator[Told, None]) -> None:
    """Write what is told, and acknowledge it; the events that say that it was told are anchored meanwhile."""
    stop_politely()
    anchoring = asyncio.create_task(parts.chain.forever())
    try:
        async with aclosing(told) as entries:
            async for each in entries:
                write(line(each.entry))
                with suppress(PyMongoError):  # it comes again, as after a kill
                    await each.done()
    finally:
        anchoring.cancel()


def stop_politely() -> None:
    """Let a polite stop (SIGTERM) cancel the task that runs, instead of being raised wherever Python happens to be."""
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def line(entry: Entry) -> bytes:
    """Return the JSON of an entry, ended by a newline; body parts only as far as they name no person."""
    said = {name: entry.body[name] for name in IMPERSONAL if name in entry.body} if entry.body else {}
    return dump({"id": entry.id, "at": instant(entry.at), "kind": entry.kind, **said}) + b"\n"


def write(text: bytes) -> None:
    """Write to standard output, as durably as that is."""
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()
    with suppress(OSError):  # a pipe or a terminal keeps nothing
        os.fsync(sys.stdout.fileno())


@app.command()
def consumers(data: Data = None) -> None:
    """List who is told: from when on, of which kinds (none named: all), how many entries wait, and since when."""
    with opened(Settings.load(data)) as installation:
        lines = installation.run(_listed)
    for each in lines:
        typer.echo(each)


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
