"""Integrity of the program: what its files were when somebody signed them, and what they are now.

A manifest lists every file of our packages (path, size, SM3) and every distribution of the environment by the SM3 of its
RECORD, in which the installer wrote the SHA-256 of each of its files. An SM2 signature over the manifest lies beside it.
Bytecode is not listed, since Python writes it anew: it is compared with what its source compiles to.
Source: GB/T 39786-2021, 8.3 f (integrity of important executables); PEP 376 and the "Recording installed projects"
specification (RECORD).
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import marshal
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import hashes

from fhir_server.crypto.sm2 import Signer, from_der, sm3, to_der, verify
from fhir_server.crypto.sm2_curve import Unusable

FORMAT = 1
PACKAGES = ("fhir_server", "consent_engine", "terminology")
BYTECODE = "__pycache__"
CHUNK = 1 << 20
MOST_NAMED = 20
PREFIX = b"fhir-facade program\0"


class IntegrityError(RuntimeError):
    """The program is not what was signed, or nobody can tell; the message says which, and what to do."""


class Measured(NamedTuple):
    """A file. path: relative to its package's parent, with slashes. size: bytes. sm3: hexadecimal."""

    path: str
    size: int
    sm3: str


@dataclass(frozen=True, slots=True)
class Program:
    """Where a program is. packages: folder by name. site: folders with its distributions; None for those of this process."""

    packages: Mapping[str, Path]
    site: tuple[str, ...] | None = None

    def distributions(self) -> dict[str, Distribution]:
        """Return the distributions by name and version; of two with one name the first, which is the one imported."""
        found = distributions(path=list(self.site)) if self.site is not None else distributions()
        named: dict[str, Distribution] = {}
        for each in found:
            named.setdefault(each.metadata["Name"].lower(), each)
        return {f"{name}=={each.version}": each for name, each in sorted(named.items())}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was signed. program: its version. python: of the interpreter. environment: SM3 of RECORD, by distribution."""

    program: str
    python: str
    files: tuple[Measured, ...]
    environment: Mapping[str, str]

    def encoded(self) -> bytes:
        """Return the manifest as its file has it, and as it is signed."""
        content = {
            "format": FORMAT,
            "program": self.program,
            "python": self.python,
            "files": [list(each) for each in self.files],
            "environment": dict(self.environment),
        }
        return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Differences:
    """The names of what is not as it was signed."""

    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.changed or self.added or self.missing)

    def lines(self) -> Iterator[str]:
        """Yield what differs, a line each."""
        for what, names in (("changed", self.changed), ("added", self.added), ("missing", self.missing)):
            for name in names[:MOST_NAMED]:
                yield f"{what}: {name}"
            if len(names) > MOST_NAMED:
                yield f"{what}: {len(names) - MOST_NAMED} more"


def installed() -> Program:
    """Return the program that runs."""
    found = {name: importlib.util.find_spec(name) for name in PACKAGES}
    places = {name: spec.submodule_search_locations for name, spec in found.items() if spec is not None}
    return Program({name: Path(next(iter(place))) for name, place in places.items() if place})


def elsewhere(site: Path) -> Program:
    """Return the program that is installed in another environment. site: its folder site-packages."""
    return Program({name: site / name for name in PACKAGES}, (str(site),))


def measured(program: Program) -> Manifest:
    """Return the manifest of a program as it is now."""
    files = tuple(sorted(_of_file(name, path) for name, path in _files(program)))
    environment = {name: _record(each) for name, each in program.distributions().items()}
    return Manifest(version("fhir-facade"), platform.python_version(), files, environment)


def differences(manifest: Manifest, program: Program) -> Differences:
    """Return how a program differs from what was signed."""
    now = measured(program)
    before, after = ({each.path: each for each in said.files} for said in (manifest, now))
    changed = {path for path in before.keys() & after.keys() if before[path] != after[path]}
    changed |= {name for name, path in _files(program) if _strange_bytecode(path)}
    known, present = manifest.environment, now.environment
    changed |= {name for name in known.keys() & present.keys() if known[name] != present[name]}
    changed |= {found for name, each in program.distributions().items() for found in _altered(name, each)}
    if manifest.python != now.python:
        changed.add(f"Python {manifest.python}, which is {now.python}")
    return Differences(
        tuple(sorted(changed)),
        tuple(sorted((after.keys() - before.keys()) | (present.keys() - known.keys()))),
        tuple(sorted((before.keys() - after.keys()) | (known.keys() - present.keys()))),
    )


def signature_of(manifest: bytes, signer: Signer) -> bytes:
    """Return the signature file of a manifest file: base64 of the signature in DER."""
    return base64.b64encode(to_der(signer.sign(PREFIX + manifest))) + b"\n"


def opened(manifest: bytes, signature: bytes, public_key: bytes) -> Manifest:
    """Return a manifest that was signed by this key (65 bytes). Raises IntegrityError."""
    try:
        right = verify(public_key, PREFIX + manifest, from_der(base64.b64decode(signature, validate=False)))
    except (Unusable, ValueError):
        right = False
    if not right:
        raise IntegrityError("The manifest of the program was not signed with this key, or was changed since.")
    said: dict[str, Any] = json.loads(manifest)
    if said.get("format") != FORMAT:
        raise IntegrityError("The manifest is of another version of this program: sign the program anew.")
    files = tuple(Measured(str(path), int(size), str(digest)) for path, size, digest in said["files"])
    return Manifest(said["program"], said["python"], files, said["environment"])


def _files(program: Program) -> Iterator[tuple[str, Path]]:
    """Yield every file of the packages with its name; a folder that is a link counts as one."""
    for package, root in program.packages.items():
        for folder, inner, names in os.walk(root):
            linked = [each for each in inner if Path(folder, each).is_symlink()]
            inner[:] = sorted(each for each in inner if each != BYTECODE and each not in linked)
            for name in (*names, *linked):
                path = Path(folder, name)
                yield f"{package}/{path.relative_to(root).as_posix()}", path


def _of_file(name: str, path: Path) -> Measured:
    if path.is_symlink() and not path.is_file():
        return Measured(name, 0, sm3(os.fsencode(os.readlink(path))).hex())
    digest, size = hashes.Hash(hashes.SM3()), 0
    for chunk in _chunks(path):
        digest.update(chunk)
        size += len(chunk)
    return Measured(name, size, digest.finalize().hex())


def _chunks(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _record(distribution: Distribution) -> str:
    """Return SM3 of the list of files that the installer left; of none, of nothing."""
    return sm3((distribution.read_text("RECORD") or "").encode()).hex()


def _altered(name: str, distribution: Distribution) -> Iterator[str]:
    """Yield the files of a distribution that are not as its RECORD says."""
    for file in distribution.files or ():
        if file.hash is None or file.hash.mode != "sha256":
            continue  # RECORD itself, and bytecode
        try:
            digest = hashlib.sha256()
            for chunk in _chunks(Path(str(file.locate()))):
                digest.update(chunk)
            right = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode() == file.hash.value
        except OSError:
            right = False
        if not right:
            yield f"{name}: {file}"


def _strange_bytecode(path: Path) -> bool:
    """Return whether the bytecode that this interpreter would run in the place of a source is not what that compiles to."""
    if path.suffix != ".py":
        return False
    cached = Path(importlib.util.cache_from_source(path))
    try:
        content, source = cached.read_bytes(), path.read_bytes()
    except OSError:
        return False
    if content[:4] != importlib.util.MAGIC_NUMBER:
        return False  # not run: Python compiles the source anew
    try:
        return bool(marshal.loads(content[16:]) != compile(source, str(path), "exec", dont_inherit=True))
    except (ValueError, EOFError, TypeError, SyntaxError):
        return True
