"""fhir-facade backup, verify, restore and purges."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fhir_server.app import Parts, assemble, keyring_of
from fhir_server.backup.making import back_up
from fhir_server.backup.manifest import BackupError, Manifest
from fhir_server.backup.purged import Purged, listed
from fhir_server.backup.reading import Backup, without_keys
from fhir_server.backup.reading import verify as verified
from fhir_server.backup.restoring import restore as restored
from fhir_server.commands.installation import Data, Installation, opened, record, say
from fhir_server.crypto import shares
from fhir_server.crypto.custody import InFile
from fhir_server.crypto.files import written
from fhir_server.crypto.keyfile import Secrets
from fhir_server.crypto.opening import FILE, PLAIN_NAME, SEALED_NAME
from fhir_server.deliveries.delivery import PURGED
from fhir_server.settings import Settings
from fhir_server.store.received import DELIVERIES

Folder = Annotated[Path, typer.Argument(help="Folder of the backup.")]
Stdin = Annotated[
    bool,
    typer.Option("--passphrase-stdin", help="It is sealed under a passphrase: read it from standard input, one line."),
]


def backup(
    folder: Folder,
    passphrase_stdin: Stdin = False,
    keyring_shares: Annotated[
        Path | None,
        typer.Option(
            help="Put the keyring in too, sealed, and three shares, of which two open it, into this other folder."
        ),
    ] = None,
    forget_purged: Annotated[
        bool, typer.Option("--forget-purged", help="Take out of this finished backup the data keys purged since.")
    ] = False,
    data: Data = None,
) -> None:
    """Back up the database as it is at one instant, sealed, while the server goes on. Broken off, it goes on.

    Without --passphrase-stdin it is sealed under the keyring, which is not in it.
    """
    passphrase = _passphrase(passphrase_stdin)
    with opened(Settings.load(data)) as installation:
        if forget_purged:
            count = installation.run(lambda parts: _forget(parts, installation, folder, passphrase))
            typer.echo(f"{count} purged data keys taken out of {folder}")
            return
        secrets = _secrets(installation, folder, keyring_shares) if keyring_shares else None
        with _counting("documents") as progress:
            made = installation.run(lambda parts: _make(parts, installation, folder, passphrase, progress))
        if secrets and keyring_shares:
            _with_keyring(secrets, folder, keyring_shares)
    typer.echo(
        f"backup {made.id} as of {made.as_of}: {len(made.parts)} files, {sum(p.bytes for p in made.parts)} bytes"
    )


def verify(folder: Folder, passphrase_stdin: Stdin = False, data: Data = None) -> None:
    """Read a whole backup: every file against its digest, every document, every data key with the keyring."""
    keyring = keyring_of(_with_a_keyring(Settings.load(data)))
    found = Backup.open(folder, keyring, _passphrase(passphrase_stdin))
    with _counting("documents") as progress:
        report = verified(found, keyring, progress)
    typer.echo(
        f"backup {found.manifest.id} as of {found.manifest.as_of} is whole: {report.files} files, {report.bytes} bytes, "
        f"{report.documents} documents, {report.keys} data keys"
    )


def restore(
    folder: Folder,
    purged: Annotated[
        list[Path] | None,
        typer.Option(help="List of what was purged since (fhir-facade purges): it does not come back."),
    ] = None,
    passphrase_stdin: Stdin = False,
    data: Data = None,
) -> None:
    """Restore a backup into an empty database. Broken off, it goes on when it is started again."""
    gone = listed(purged or ())
    with opened(_with_a_keyring(Settings.load(data))) as installation:
        found = Backup.open(folder, installation.keyring, _passphrase(passphrase_stdin))
        with _counting("documents") as progress:
            count = asyncio.run(_restore(installation, found, gone, progress))
    documents = sum(each.documents for each in found.manifest.parts)
    typer.echo(f"backup {found.manifest.id} restored: {documents} documents read, {count} purged data keys left out")


def purges(
    file: Annotated[Path, typer.Argument(help="File to write: a line for each delivery that was purged.")],
    data: Data = None,
) -> None:
    """Write the list of what was purged; keep it apart from the backups: a restore needs the newest."""
    with opened(Settings.load(data)) as installation:
        found = installation.run(_deliveries)
    written(file, "".join(json.dumps({"delivery": each}) + "\n" for each in found).encode())
    typer.echo(f"{len(found)} purged deliveries listed")


async def _make(
    parts: Parts, installation: Installation, folder: Path, passphrase: str | None, progress: Callable[[int], None]
) -> Manifest:
    await record(parts, "backup", "begun")  # before the first byte leaves the database
    return await back_up(
        parts.client, parts.database, folder, installation.keyring, passphrase=passphrase, progress=progress
    )


async def _restore(installation: Installation, found: Backup, gone: Purged, progress: Callable[[int], None]) -> int:
    parts = assemble(installation.settings, installation.keyring, uri=installation.uri)
    try:
        count = await restored(parts.database, found, installation.keyring, gone, progress)
        await parts.ready()
        await parts.purging.once()  # what is due by now, before anybody reads
        await record(parts, "restore", f"backup {found.manifest.id} as of {found.manifest.as_of}")
        await parts.chain.close()
        return count
    finally:
        await parts.client.close()


async def _forget(parts: Parts, installation: Installation, folder: Path, passphrase: str | None) -> int:
    """Take out of a backup the data keys of every delivery that was purged."""
    found = Backup.open(folder, installation.keyring, passphrase)
    gone = Purged(frozenset(await _deliveries(parts)))
    return without_keys(found, gone.names)[1]


async def _deliveries(parts: Parts) -> list[str]:
    """Return the ids of the deliveries that were purged."""
    rows = parts.database[DELIVERIES].find({"state": PURGED}, {"_id": 1}).sort("_id", 1)
    return [str(row["_id"]) async for row in rows]


def _secrets(installation: Installation, folder: Path, to: Path) -> Secrets:
    """Return what is put into a backup with the keyring. Raises BackupError if its shares would lie with it."""
    if folder.resolve() in (to.resolve(), *to.resolve().parents):
        raise BackupError("The shares belong elsewhere than the backup: together they are the records in the clear.")
    custody = installation.keyring.custody
    if not isinstance(custody, InFile):
        raise BackupError("The keyring is with a custodian: split it there, by fhir-facade keys split.")
    return custody.file.read()


def _with_keyring(secrets: Secrets, folder: Path, to: Path) -> None:
    """Put the keyring into a backup, sealed under a key whose shares lie elsewhere."""
    sealed, made = shares.sealing(secrets, folder / SEALED_NAME, shares=3, threshold=2)
    for each in made:
        shares.write(each, to / shares.name(each))
    sealed.put(secrets)
    say.print(f"The keyring is in {sealed.path}, its shares in {to}.", style="dim")


def _with_a_keyring(settings: Settings) -> Settings:
    """Return the settings. Raises BackupError if the folder has no keyring yet: a new one would open nothing."""
    if settings.key_custody == FILE and not any((settings.data / each).exists() for each in (PLAIN_NAME, SEALED_NAME)):
        raise BackupError(
            f"There is no keyring in {settings.data}: put the backup's there first (from shares: fhir-facade keys combine)."
        )
    return settings


def _passphrase(stdin: bool) -> str | None:
    return sys.stdin.readline().rstrip("\n") if stdin else None


@contextmanager
def _counting(what: str) -> Iterator[Callable[[int], None]]:
    """Show how many documents were read, and how long it takes."""
    columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} " + what), TimeElapsedColumn())
    with Progress(*columns, console=say) as bar:
        task = bar.add_task(what, total=None)
        yield lambda count: bar.advance(task, count)
