"""fhir-facade integrity …: sign the program's files, and see later that they are as they were signed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from fhir_server.commands.installation import Data
from fhir_server.crypto.integrity import (
    Differences,
    IntegrityError,
    Manifest,
    Program,
    differences,
    elsewhere,
    installed,
    measured,
    opened,
    signature_of,
)
from fhir_server.crypto.sm2 import fingerprint, new_signer, private_of, public_of, public_pem
from fhir_server.crypto.sm2_curve import Unusable
from fhir_server.settings import Settings

MANIFEST = "integrity.json"
T = TypeVar("T")

Where = Annotated[
    Path | None, typer.Option("--manifest", help=f"The manifest's file. Default: {MANIFEST} in the data folder.")
]

app = typer.Typer(
    no_args_is_help=True,
    help=(
        "Sign the program's files with SM2, and verify them.\n\n"
        "Make a key once, and keep its private part off the server. Sign after each installation or upgrade. Name the "
        "public part in the setting integrity_key: then the server verifies itself whenever it starts."
    ),
)


@app.command()
def key(file: Annotated[Path, typer.Argument(help="Where to put the private key; the public one gets .pub.")]) -> None:
    """Make a key pair: a private key (PKCS #8 in PEM, for its owner only) and FILE.pub. Neither replaces a file."""
    signer = new_signer()
    _create(file, signer.private_pem(), 0o600)
    public = file.with_name(f"{file.name}.pub")
    _create(public, public_pem(signer.public_key), 0o644)
    typer.echo(f"{file} and {public}: key {fingerprint(signer.public_key)}")


@app.command(name="sign")
def sign_(
    key: Annotated[Path, typer.Option(help="The private key, as `integrity key` made it.")],
    manifest: Where = None,
    data: Data = None,
) -> None:
    """Sign the installed program as it is now: all files of our packages, and the environment's distributions."""
    signer = _read(key, private_of)
    target, made = _manifest(manifest, data), measured(installed())
    content = made.encoded()
    target.parent.mkdir(parents=True, exist_ok=True)
    _replace(target, content)
    _replace(_signature(target), signature_of(content, signer))
    said = f"{len(made.files)} files and {len(made.environment)} distributions"
    typer.echo(f"{said} of version {made.program} signed with key {fingerprint(signer.public_key)}: {target}")


@app.command(name="verify")
def verify_(
    key: Annotated[Path, typer.Option(help="The public key.")],
    manifest: Where = None,
    site: Annotated[
        Path | None,
        typer.Option(help="Folder site-packages of another installation, which is verified instead of this one."),
    ] = None,
    data: Data = None,
) -> None:
    """Verify the installed program; status 1 if a file or distribution was changed, added or is missing."""
    program = installed() if site is None else elsewhere(site)
    said, found = _verified(key, _manifest(manifest, data), program)
    for line in found.lines():
        typer.echo(line)
    if found:
        raise typer.Exit(1)
    typer.echo(f"{len(said.files)} files and {len(said.environment)} distributions are as they were signed.")


def checked_at_start(settings: Settings) -> None:
    """Raise IntegrityError if the settings name a key, and the program is not what was signed with it."""
    if settings.integrity_key is None:
        return
    _, found = _verified(settings.integrity_key, settings.data / MANIFEST, installed())
    if found:
        told = "\n".join(found.lines())
        raise IntegrityError(f"The program is not as it was signed, and does not start.\n{told}")


def _verified(key: Path, manifest: Path, program: Program) -> tuple[Manifest, Differences]:
    public_key = _read(key, public_of)
    try:
        content, signature = manifest.read_bytes(), _signature(manifest).read_bytes()
    except OSError as error:
        raise IntegrityError(
            f"{error.filename} cannot be read: {error.strerror}. Make it with: fhir-facade integrity sign"
        ) from None
    said = opened(content, signature, public_key)
    return said, differences(said, program)


def _read(file: Path, read: Callable[[bytes], T]) -> T:
    """Return the key in a file. Raises IntegrityError."""
    try:
        return read(file.read_bytes())
    except OSError as error:
        raise IntegrityError(f"{file} cannot be read: {error.strerror}.") from None
    except Unusable as error:
        raise IntegrityError(f"{file}: {error}") from None


def _manifest(manifest: Path | None, data: Path | None) -> Path:
    return manifest or Settings.load(data).data / MANIFEST


def _signature(manifest: Path) -> Path:
    return manifest.with_name(f"{manifest.name}.sig")


def _create(file: Path, content: bytes, mode: int) -> None:
    """Write a file that must not be there. Raises IntegrityError."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise IntegrityError(f"{file} cannot be made: {error.strerror}.") from None
    with os.fdopen(handle, "wb") as opened_file:
        opened_file.write(content)
        opened_file.flush()
        os.fsync(handle)


def _replace(file: Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    beside = file.with_name(f".{file.name}.new")
    beside.write_bytes(content)
    os.replace(beside, file)
