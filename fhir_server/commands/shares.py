"""The shares of a keyring on the command line: how they are named, and a sealed keyring held open."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from fhir_server.crypto import shares
from fhir_server.crypto.custodian import answers, listening
from fhir_server.crypto.custody import InFile
from fhir_server.crypto.keyfile import KeyFile, KeyringError, generated
from fhir_server.crypto.opening import FILE, PLAIN_NAME, SEALED_NAME, SOCKET_NAME, is_sealed
from fhir_server.crypto.shares import Share
from fhir_server.settings import Settings

Given = Annotated[
    list[Path] | None, typer.Option("--share", help="File with a share of the keyring; as often as there are shares.")
]
Stdin = Annotated[
    bool,
    typer.Option("--passphrase-stdin", help="Read passphrases from standard input, one line each, in their order."),
]


def asker(stdin: bool, *, new: bool = False) -> Callable[[Share], str]:
    """Return what asks for the passphrase of a share: of standard input, or of whoever sits there.

    new: it is being chosen, and so typed twice: after a slip nobody could open the share again.
    """

    def ask(share: Share) -> str:
        if stdin:
            return sys.stdin.readline().rstrip("\n")
        text = f"Passphrase of share {share.index}"
        return str(typer.prompt(text, hide_input=True, confirmation_prompt=new, err=True))

    return ask


def key_file(settings: Settings, given: Sequence[Path] | None, stdin: bool) -> KeyFile:
    """Return the keyring file of an installation; a sealed one is opened with shares. Raises KeyringError."""
    if settings.key_custody != FILE:
        raise KeyringError("The keyring is with a custodian: run this on the custodian's own folder (--data).")
    if is_sealed(settings.data):
        return shares.opening(
            shares.gathered(given or _asked_for(settings.data), asker(stdin)), settings.data / SEALED_NAME
        )
    file = KeyFile(settings.data / PLAIN_NAME)
    if not file.path.exists():
        settings.data.mkdir(parents=True, exist_ok=True)
        file.create(generated())
    return file


@contextmanager
def unsealed(settings: Settings, given: Sequence[Path] | None, stdin: bool) -> Iterator[None]:
    """Hold a sealed keyring open, in this process's memory alone, for all processes of the folder; ask for shares if need be.

    Where nothing is sealed, or somebody holds it open already, nothing is done. Raises KeyringError.
    """
    if settings.key_custody != FILE or not is_sealed(settings.data) or answers(settings.data / SOCKET_NAME):
        yield
        return
    with held(settings, key_file(settings, given, stdin)):
        yield


@contextmanager
def held(settings: Settings, file: KeyFile | None) -> Iterator[None]:
    """Hold an opened keyring file for all processes of the folder, if it is a sealed one that nobody holds yet."""
    own = settings.data / SOCKET_NAME
    if file is None or file.sealing is None or answers(own):
        yield
        return
    with listening(own, InFile(file)):
        yield


def _asked_for(data: Path) -> list[Path]:
    """Return the paths of shares that whoever sits there names, until one is empty. Raises KeyringError if nobody does."""
    if not sys.stdin.isatty():
        raise KeyringError(f"The keyring {data / SEALED_NAME} is sealed: name the files of enough shares with --share.")
    found: list[Path] = []
    while name := str(typer.prompt("File of a share (empty: no more)", default="", show_default=False, err=True)):
        found.append(Path(name))
    return found
