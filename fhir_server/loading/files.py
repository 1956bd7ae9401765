"""Reading files of resources to load: Bundles, single resources and NDJSON, each plain or gzipped.

What cannot be read becomes an Item with a problem, and the rest goes on. Problems never quote content.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, Self, cast

import orjson

from fhir_server.errors import InvalidRequest
from fhir_server.fhir_json import parse
from fhir_server.loading.bundle import Named, is_id, is_type, unpacked

LINES = (".ndjson", ".jsonl")
DOCUMENTS = (".json",)
LONGEST_LINE = 64 * 1024 * 1024  # bytes, unpacked
LARGEST_DOCUMENT = 1024 * 1024 * 1024  # bytes, unpacked; a Bundle is held in memory as a whole


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
class Item:
    """One resource found, or what was wrong where one should have been."""

    file: str
    position: str  # "line 12", "entry[3]", "line 12 entry[3]", or "resource"
    resource: dict[str, Any] | None
    problem: str | None


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


def read(source: Source, *, named: Named, consumed: Callable[[int], object] = lambda _: None) -> Iterator[Item]:
    """Yield what a file holds. Lines are streamed; nothing but the current one is held.

    named: gives an id to a resource without one (`bundle.Named`).
    consumed: is told how many more bytes of the file on disk have been read, as it goes on.
    """
    reader = _Reader(source, named)
    told = 0
    for item in reader.items():
        if item is not None:
            yield item
        if (now := reader.position()) != told:
            consumed(now - told)
            told = now
    consumed(source.size - told)


class _Reader:
    def __init__(self, source: Source, named: Named) -> None:
        self._source, self._named = source, named
        self._file: BinaryIO | None = None

    def position(self) -> int:
        """Return how many bytes on disk have been read."""
        return self._file.tell() if self._file and not self._file.closed else 0

    def items(self) -> Iterator[Item | None]:
        """Yield items, and None where only progress was made."""
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

    def _lines(self, content: IO[bytes]) -> Iterator[Item | None]:
        number = 0
        while line := content.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                yield self._bad(f"line {number}", f"is longer than {LONGEST_LINE} bytes")
                while (line := content.readline(LONGEST_LINE)) and not line.endswith(b"\n"):
                    yield None
            elif line := line.strip():
                yield from self._parsed(line, f"line {number}")
            else:
                yield None

    def _document(self, content: IO[bytes]) -> Iterator[Item | None]:
        raw = content.read(LARGEST_DOCUMENT + 1)
        if len(raw) > LARGEST_DOCUMENT:
            yield self._bad("resource", f"is larger than {LARGEST_DOCUMENT} bytes: use NDJSON")
        else:
            yield from self._parsed(raw, "")

    def _parsed(self, raw: bytes, position: str) -> Iterator[Item]:
        try:
            value = parse(raw)
        except InvalidRequest as error:
            yield self._bad(position or "resource", error.diagnostics)
            return
        for inside, resource, problem in unpacked(value, self._named):
            where = " ".join(filter(None, (position, inside))) or "resource"
            yield Item(str(self._source.path), where, resource, problem)

    def _bad(self, position: str, problem: str) -> Item:
        return Item(str(self._source.path), position, None, problem)


class RejectsFile:
    """What was not loaded and why, as NDJSON: file, position, type, id, reason; no content of patients.

    The file is made with the first reject, readable by its owner only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: BinaryIO | None = None

    def write(self, item: Item, reason: str) -> None:
        """Add one line. reason: in words that quote no content."""
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            self._file = os.fdopen(os.open(self.path, flags, 0o600), "wb")
            os.fchmod(self._file.fileno(), 0o600)  # also if it was there before
        line = {"file": item.file, "position": item.position, **_named(item.resource or {}), "reason": reason}
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        self.count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()


def _named(resource: dict[str, Any]) -> dict[str, str]:
    """Return type and id as far as they are what they should be: anything may stand in a bad resource."""
    found = {"type": resource.get("resourceType"), "id": resource.get("id")}
    return {name: said for name, said in found.items() if (is_type if name == "type" else is_id)(said)}
