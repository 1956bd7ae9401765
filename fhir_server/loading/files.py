"""Reading files of resources to load: Bundles, single resources and NDJSON, each plain or gzipped.

Reading goes in two steps: from files to what is not parsed yet (Raw), and from there to resources (Item), which is the
dearer one and may be done elsewhere. What cannot be read becomes a problem, and the rest goes on. Problems never quote
content.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, NamedTuple, Self, cast

import orjson

from fhir_server.errors import InvalidRequest
from fhir_server.fhir_json import dump, parse
from fhir_server.loading.bundle import Named, is_id, is_type, unpacked

LINES = (".ndjson", ".jsonl")
DOCUMENTS = (".json",)
LONGEST_LINE = 64 * 1024 * 1024  # bytes, unpacked
LARGEST_DOCUMENT = 1024 * 1024 * 1024  # bytes, unpacked; a Bundle is held in memory as a whole
LARGEST_RESOURCE = 12 * 1024 * 1024  # bytes; MongoDB takes documents of 16 MiB, with all that they are found by
LARGEST_IN_ONE = 2 * 1024 * 1024  # bytes; a larger Bundle is taken apart where it is read
CHUNK_BYTES, CHUNK_LENGTH = 1024 * 1024, 500


@dataclass(frozen=True, slots=True)
class Source:
    """One file to read."""

    path: Path
    size: int  # bytes on disk

    @property
    def kind(self) -> str:
        """The suffix that says what the file holds, without that of gzip."""
        return Path(self.path.name.lower().removesuffix(".gz")).suffix


@dataclass(frozen=True, slots=True)
class Raw:
    """A line or a document as it came, or what was wrong where one should have been; neither: only progress.

    position: "line 12", or "" for a document. consumed: bytes of the file on disk that were read since the one before.
    whole: it is one resource, even if that is a Bundle.
    """

    file: str
    position: str
    content: bytes | None = None
    problem: str | None = None
    consumed: int = 0
    whole: bool = False


Chunk = tuple[Raw, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One resource found, or what was wrong where one should have been."""

    file: str
    position: str  # "line 12", "entry[3]", "line 12 entry[3]", or "resource"
    resource: dict[str, Any] | None
    problem: str | None

    @property
    def raw(self) -> Raw:
        """The item as it was before it was parsed, standing alone."""
        content = None if self.resource is None else dump(self.resource)
        return Raw(self.file, self.position, content, self.problem, whole=True)


class Reject(NamedTuple):
    """What was not loaded and why, in words that quote no content. type, id: as far as they are what they should be."""

    file: str
    position: str
    type: str | None
    id: str | None
    reason: str


def rejected(item: Item, reason: str) -> Reject:
    """Return an item as it is told of: anything may stand in a bad resource."""
    said = item.resource or {}
    type, id = said.get("resourceType"), said.get("id")
    return Reject(item.file, item.position, type if is_type(type) else None, id if is_id(id) else None, reason)


def sources(paths: Iterable[Path]) -> list[Source]:
    """Return the files to read, in the order of `paths`; those of a folder sorted, from all levels, by suffix.

    A file that is named itself is taken whatever its suffix. Raises FileNotFoundError.
    """
    found = []
    for path in paths:
        inside = (file for file in sorted(path.rglob("*")) if file.is_file()) if path.is_dir() else [path]
        chosen = [Source(file, file.stat().st_size) for file in inside]
        found += [source for source in chosen if not path.is_dir() or source.kind in LINES + DOCUMENTS]
    return found


def read(source: Source) -> Iterator[Raw]:
    """Yield what a file holds, not parsed. Lines are streamed; nothing but the current one is held."""
    reader = _Reader(source)
    told = 0
    for raw in reader.raws():
        now = reader.position()
        yield replace(raw, consumed=now - told)
        told = now
    yield Raw(str(source.path), "", consumed=source.size - told)


def items(raw: Raw, named: Named) -> Iterator[Item]:
    """Yield the resources that a line or a document holds, or what is wrong.

    named: gives an id to a resource without one (`bundle.Named`).
    """
    if raw.content is None:
        if raw.problem is not None:
            yield Item(raw.file, raw.position, None, raw.problem)
        return
    try:
        value = parse(raw.content)
    except InvalidRequest as error:
        yield Item(raw.file, raw.position or "resource", None, error.diagnostics)
        return
    if raw.whole:
        yield _measured(Item(raw.file, raw.position, value, None), raw)
        return
    for inside, resource, problem in unpacked(value, named):
        where = " ".join(filter(None, (raw.position, inside))) or "resource"
        yield _measured(Item(raw.file, where, resource, problem), raw)


def _measured(item: Item, raw: Raw) -> Item:
    """Return the item, or that it is too large; a part cannot be larger than what it was taken from."""
    if item.resource is None or len(raw.content or b"") <= LARGEST_RESOURCE:
        return item
    too_large = len(dump(item.resource)) > LARGEST_RESOURCE
    return replace(item, problem=f"is larger than {LARGEST_RESOURCE} bytes") if too_large else item


def chunks(raws: Iterable[Raw], named: Named) -> Iterator[Chunk]:
    """Yield what is prepared at one go: a Bundle is not parted, unless it is large, so that what belongs together stays."""
    chunk: list[Raw] = []
    size = 0
    for raw in _taken_apart(raws, named):
        length = len(raw.content or b"")
        if chunk and (size + length > CHUNK_BYTES or len(chunk) >= CHUNK_LENGTH):
            yield tuple(chunk)
            chunk, size = [], 0
        chunk.append(raw)
        size += length
    if chunk:
        yield tuple(chunk)


def _taken_apart(raws: Iterable[Raw], named: Named) -> Iterator[Raw]:
    for raw in raws:
        if raw.whole or len(raw.content or b"") <= LARGEST_IN_ONE:
            yield raw
        else:
            yield from (item.raw for item in items(raw, named))
            yield Raw(raw.file, raw.position, consumed=raw.consumed)


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._file: BinaryIO | None = None

    def position(self) -> int:
        """Return how many bytes on disk have been read."""
        return self._file.tell() if self._file and not self._file.closed else 0

    def raws(self) -> Iterator[Raw]:
        """Yield lines or the document, and what was wrong."""
        if self._source.kind not in LINES + DOCUMENTS:
            yield self._bad("file", f"is none of {', '.join(LINES + DOCUMENTS)}, each plain or .gz")
            return
        try:
            with self._source.path.open("rb") as self._file:
                packed = self._source.path.name.lower().endswith(".gz")
                content = cast("IO[bytes]", gzip.GzipFile(fileobj=self._file) if packed else self._file)
                yield from self._lines(content) if self._source.kind in LINES else self._document(content)
        except (OSError, EOFError, zlib.error) as error:
            yield self._bad("file", f"cannot be read to its end: {type(error).__name__}")

    def _lines(self, content: IO[bytes]) -> Iterator[Raw]:
        number = 0
        while line := content.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                yield self._bad(f"line {number}", f"is longer than {LONGEST_LINE} bytes")
                while (line := content.readline(LONGEST_LINE)) and not line.endswith(b"\n"):
                    pass
            elif line := line.strip():
                yield Raw(str(self._source.path), f"line {number}", line)

    def _document(self, content: IO[bytes]) -> Iterator[Raw]:
        raw = content.read(LARGEST_DOCUMENT + 1)
        if len(raw) > LARGEST_DOCUMENT:
            yield self._bad("resource", f"is larger than {LARGEST_DOCUMENT} bytes: use NDJSON")
        else:
            yield Raw(str(self._source.path), "", raw)

    def _bad(self, position: str, problem: str) -> Raw:
        return Raw(str(self._source.path), position, problem=problem)


class RejectsFile:
    """What was not loaded and why, as NDJSON: file, position, type, id, reason; no content of patients.

    The file is made with the first reject, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: BinaryIO | None = None

    def write(self, reject: Reject) -> None:
        """Add one line."""
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            self._file = os.fdopen(os.open(self.path, flags, 0o600), "wb")
            os.fchmod(self._file.fileno(), 0o600)  # also if it was there before
        line = {name: said for name, said in reject._asdict().items() if said is not None}
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
