"""Files that hold secrets: written as a whole and through to the disk, readable by their owner only, checked by SM3."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes

FORMAT = 1


class OpenToOthers(Exception):
    """The file's mode lets other users at it."""


def stated(content: Mapping[str, Any]) -> bytes:
    """Return content as a JSON file with its SM3 checksum: it finds damage; the file's mode keeps others from changing it."""
    return json.dumps({**content, "checksum": _checksum(content)}, indent=1).encode() + b"\n"


def read_stated(content: bytes) -> dict[str, Any] | None:
    """Return the content of such a file, or None if it is not one, is damaged, or of another format."""
    try:
        fields: dict[str, Any] = json.loads(content)
        if fields.pop("checksum") != _checksum(fields) or fields["format"] != FORMAT:
            return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return fields


def written(path: Path, content: bytes) -> None:
    """Replace a file as a whole, durably; only the owner can read it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path, content) as name:
        os.replace(name, path)
    sync_folder(path.parent)


def created(path: Path, content: bytes) -> None:
    """Put a file at the path unless another process was first.

    A link, unlike a rename, never replaces: the first one wins, and no reader ever sees half a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _beside(path, content) as name, contextlib.suppress(FileExistsError):
        os.link(name, path)
    sync_folder(path.parent)


@contextlib.contextmanager
def _beside(path: Path, content: bytes) -> Iterator[str]:
    """Yield the name of a file with this content in the same folder, written through to the disk; it is gone after."""
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", dir=path.parent)  # mode 0600 from the start
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def sync_folder(folder: Path) -> None:
    """Make a new name durable: records must not outlive the keyring in a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let nobody else change a keyring in this folder meanwhile; the system gives the lock back if this process dies."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read_private(path: Path) -> bytes:
    """Return the content of a file. Raises OSError, and OpenToOthers if its mode lets other users at it."""
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())  # of the open file, so that it cannot be exchanged between check and use
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise OpenToOthers
        return file.read()


def _checksum(content: Mapping[str, Any]) -> str:
    digest = hashes.Hash(hashes.SM3())
    digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.finalize().hex()


def text(key: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(key).decode()


def octets(text: str, size: int | None = None) -> bytes:
    """Return the bytes that a text of base64 stands for. Raises ValueError if it is none, or not of this size."""
    key = base64.b64decode(text, validate=True)
    if size is not None and len(key) != size:
        raise ValueError
    return key
