"""fhir-facade keys …: what the operator does with the keys that tokens are signed with, and with the keyring."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from pwd import getpwnam
from typing import Annotated

import typer

from fhir_server.commands.installation import Data, at_authority, say
from fhir_server.commands.rotation import rotate_master
from fhir_server.commands.shares import Given, Stdin, asker, key_file
from fhir_server.crypto import shares
from fhir_server.crypto.custodian import listening
from fhir_server.crypto.custody import InFile
from fhir_server.crypto.keyfile import KeyFile, KeyringError
from fhir_server.crypto.opening import PLAIN_NAME, SEALED_NAME, SOCKET_NAME
from fhir_server.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The keys that tokens are signed with, and the keyring.")
app.command("rotate-master")(rotate_master)


@app.command()
def rotate(
    at_once: Annotated[bool, typer.Option(help="Void the tokens of the old keys: somebody else has one.")] = False,
    data: Data = None,
) -> None:
    """Have the authorization server sign with new keys. The old ones are published until their last token has expired.

    Tokens of `fhir-facade token` are signed by the keyring, and end by expiry alone.
    """
    how = "at once" if at_once else "the old ones stay published until their last token has expired"
    at_authority(data, lambda authority: authority.rotate(at_once=at_once), told=f"keys of tokens rotated, {how}")
    typer.echo("New tokens are signed with new keys.")


@app.command(name="list")
def list_(data: Data = None) -> None:
    """List the published keys: kid, what it signs, since when, until when."""
    for each in at_authority(data, lambda authority: authority.keys.every()):
        until = f"{each.until:%Y-%m-%d %H:%M}Z" if each.until else "signs now"
        typer.echo(f"{each.kid}\t{each.use}\t{each.made:%Y-%m-%d %H:%M}Z\t{until}")


@app.command()
def masters(share: Given = None, passphrase_stdin: Stdin = False, data: Data = None) -> None:
    """List the master keys in the keyring by id: older ones, the current one, prepared ones."""
    found = key_file(Settings.load(data), share, passphrase_stdin).read()
    for name in found.masters:
        state = "current" if name == found.current else "older" if name in found.older else "prepared"
        typer.echo(f"{name}\t{state}")


@app.command()
def split(
    to: Annotated[Path, typer.Option("--to", help="Folder for the share files; hand each to one person.")],
    shares_: Annotated[int, typer.Option("--shares", help="How many shares.")] = 3,
    threshold: Annotated[int, typer.Option(help="How many of them open the keyring.")] = 2,
    protect: Annotated[bool, typer.Option(help="Seal each share under a passphrase of its holder.")] = False,
    seal: Annotated[
        bool,
        typer.Option("--seal", help="Keep the keyring sealed: from then on `serve` starts with enough shares only."),
    ] = False,
    share: Given = None,
    passphrase_stdin: Stdin = False,
    data: Data = None,
) -> None:
    """Split the keyring among several people: any `threshold` of the shares open it, fewer tell nothing about it."""
    settings = Settings.load(data)
    file = key_file(settings, share, passphrase_stdin)
    secrets, sealed_at = file.read(), settings.data / SEALED_NAME
    sealed = None
    if seal:
        sealed, made = shares.sealing(secrets, sealed_at, shares=shares_, threshold=threshold)
    else:
        made = shares.whole(secrets, shares=shares_, threshold=threshold)
    ask = asker(passphrase_stdin, new=True)
    for each in made:
        path = to / shares.name(each)
        shares.write(each.protect(ask(each)) if protect else each, path)
        typer.echo(str(path))
    if sealed is not None:  # the shares are on the disk by now
        sealed.put(secrets)
        shares.opening(made[:threshold], sealed_at)
        (settings.data / PLAIN_NAME).unlink(missing_ok=True)
        say.print(f"The keyring is sealed. Copies of {PLAIN_NAME} elsewhere are not.", style="dim")


@app.command()
def combine(
    files: Annotated[list[Path], typer.Argument(help="The share files.")],
    sealed: Annotated[Path | None, typer.Option(help="The sealed keyring, if it is not in the folder.")] = None,
    passphrase_stdin: Stdin = False,
    data: Data = None,
) -> None:
    """Restore keyring.json from shares."""
    settings = Settings.load(data)
    target, own = settings.data / PLAIN_NAME, settings.data / SEALED_NAME
    if target.exists():
        raise KeyringError(f"{target} exists already, and is not written over.")
    found = shares.restored(shares.gathered(files, asker(passphrase_stdin)), sealed or own)
    KeyFile(target).create(found)
    if sealed is None:
        own.unlink(missing_ok=True)
    typer.echo(f"The keyring {found.fingerprint} is restored.")


@app.command()
def custodian(
    socket: Annotated[Path | None, typer.Option(help="Unix socket to answer at. Default: the folder's own.")] = None,
    user: Annotated[list[str] | None, typer.Option(help="Login name of a user who may ask, beside this one.")] = None,
    share: Given = None,
    passphrase_stdin: Stdin = False,
    data: Data = None,
) -> None:
    """Hold the folder's keyring for servers with `key_custody = "socket:/path"`: its keys never leave this process."""
    settings = Settings.load(data)
    users = frozenset(_user_id(name) for name in user or ())
    path = (socket or settings.data / SOCKET_NAME).absolute()
    with listening(path, InFile(key_file(settings, share, passphrase_stdin)), users=users):
        say.print(f"The keyring is held at {path}. Ctrl-C ends that.")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def _user_id(name: str) -> int:
    try:
        return getpwnam(name).pw_uid
    except KeyError:
        raise KeyringError(f"There is no user {name} on this machine.") from None
