"""fhir-facade keys rotate-master: a new master key, and every data key wrapped by it, while the server goes on serving."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fhir_server.app import Parts
from fhir_server.backup.changes import BACKUPS
from fhir_server.commands.installation import Data, opened, record, say
from fhir_server.commands.shares import Given, Stdin, held, key_file
from fhir_server.crypto.keyfile import KeyFile, KeyringError, Secrets
from fhir_server.crypto.opening import FILE
from fhir_server.crypto.sealing import Wrapping
from fhir_server.settings import Settings
from fhir_server.store.commit import DURABLE
from fhir_server.store.rewrapping import left, masters_in_use, rewrap
from fhir_server.wrapped import WRAPPED

# Rounds that wrap nothing, while something is left, until the master key of that is taken for lost.
MOST_IDLE, PAUSE_SECONDS = 20, 0.1

Prepare = Annotated[
    bool, typer.Option(help="Only make the next master key; copy the keyring to every machine, then rotate.")
]
Retire = Annotated[
    bool, typer.Option(help="Take out the older master keys, which no data key and no backup needs any more.")
]
Apart = Annotated[
    bool,
    typer.Option(
        "--apart", help="Change the keyring file only: its database is served from elsewhere (a custodian's)."
    ),
]
GiveUp = Annotated[
    list[str] | None, typer.Option("--give-up", help="With --retire: id of a backup that is no longer wanted.")
]


def rotate_master(
    prepare: Prepare = False,
    retire: Retire = False,
    apart: Apart = False,
    give_up: GiveUp = None,
    share: Given = None,
    passphrase_stdin: Stdin = False,
    data: Data = None,
) -> None:
    """Make a new master key and wrap every data key by it; no record is written anew, and servers go on meanwhile.

    Broken off, it goes on when it is started again. Shares made before (keys split without --seal) do not hold the new key.
    """
    settings = Settings.load(data)
    file = key_file(settings, share, passphrase_stdin) if settings.key_custody == FILE else None
    if apart or prepare:
        typer.echo(_in_file(_needed(file), prepare=prepare, retire=retire))
        return
    with held(settings, file), opened(settings) as installation:
        wrapping = Wrapping(installation.keyring)
        if retire:
            typer.echo(installation.run(lambda parts: _retire(parts, wrapping, file, give_up or [])))
        else:
            typer.echo(installation.run(lambda parts: _rotate(parts, wrapping, file)))


def _needed(file: KeyFile | None) -> KeyFile:
    if file is None:
        raise KeyringError("The keyring is with a custodian: run this on the custodian's own folder (--data).")
    return file


def _in_file(file: KeyFile, *, prepare: bool, retire: bool) -> str:
    if retire:
        before = file.read()
        file.change(lambda found: found.without(frozenset(found.older)))
        return f"Taken out: {', '.join(before.older) or 'nothing'}."
    made = file.change(Secrets.preparing if prepare else Secrets.rotated)
    return f"The master key {made.prepared[-1]} is prepared." if prepare else f"The master key is {made.current} now."


async def _rotate(parts: Parts, wrapping: Wrapping, file: KeyFile | None) -> str:
    if await left(parts.database, WRAPPED, wrapping.current):
        say.print("Not all keys are under the current master key: the rotation goes on.", style="dim")
    elif file is None:
        return "The custodian's current master key wraps every key. For a new one: keys rotate-master --apart, there."
    else:
        file.change(Secrets.rotated)
    current = wrapping.current
    await record(parts, "master-key", f"master key {current} is current")
    count = await _rewrap(parts, wrapping)
    return f"{count} keys wrapped under the master key {current}."


async def _rewrap(parts: Parts, wrapping: Wrapping) -> int:
    """Wrap what is left under older master keys, until nothing is; return how many keys that were."""
    done, idle = 0, 0
    columns = (TextColumn("wrapping"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=say) as bar:
        task = bar.add_task("wrapping", total=None)
        while still := await left(parts.database, WRAPPED, wrapping.current):
            bar.update(task, total=done + still)
            before = done
            for place in WRAPPED:
                async for count in rewrap(parts.database, place, wrapping):
                    done += count
                    bar.advance(task, count)
            idle = 0 if done > before else idle + 1
            if idle > MOST_IDLE:
                raise KeyringError(f"{still} keys are wrapped under master keys that this keyring does not hold.")
            await asyncio.sleep(PAUSE_SECONDS if idle else 0)
    return done


async def _retire(parts: Parts, wrapping: Wrapping, file: KeyFile | None, given_up: list[str]) -> str:
    backups = parts.database.get_collection(BACKUPS, write_concern=DURABLE)
    for id in given_up:
        if not (await backups.delete_one({"_id": id})).deleted_count:
            raise KeyringError(f"No backup {id} is known.")
    used = await masters_in_use(parts.database, WRAPPED)
    if file is None:
        return f"Master keys that data keys are wrapped under: {', '.join(sorted(used))}."
    older = file.read().older
    if under := [name for name in older if name in used]:
        raise KeyringError(f"Data keys are still wrapped under {', '.join(under)}: fhir-facade keys rotate-master")
    if needing := [str(each["_id"]) async for each in backups.find({"masters": {"$in": list(older)}})]:
        raise KeyringError(
            f"Backups need older master keys: {', '.join(needing)}. Without them nobody can restore these; a backup that is "
            "no longer wanted is named with --give-up."
        )
    if older:
        await record(parts, "master-key", f"master keys taken out: {', '.join(older)}")
        await _taken_out(parts, file, older)
    return f"Taken out: {', '.join(older) or 'nothing'}."


async def _taken_out(parts: Parts, file: KeyFile, older: tuple[str, ...]) -> None:
    """Take master keys out of the file; put them back if a process has wrapped a key by one at the last moment."""
    before = file.read()
    file.change(lambda found: found.without(frozenset(older)))
    used = await masters_in_use(parts.database, WRAPPED)
    if any(name in used for name in older):
        file.change(lambda found: replace(found, masters={**before.masters, **found.masters}))
        raise KeyringError("A key was wrapped under an older master key just now: rotate again, then --retire.")
