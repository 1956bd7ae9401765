"""The stores that are asked: filled once, each to its size; a fill that was stopped goes on where it was."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pymongo import MongoClient
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fhir_server.app import keyring_of
from fhir_server.fhir_json import dump
from fhir_server.loading.files import Chunk, Raw, Reject, chunks
from fhir_server.loading.load import load
from fhir_server.loading.loader import Tally
from fhir_server.loading.processes import usual
from fhir_server.settings import Settings
from fhir_server.store.installation import LAYOUT
from tests.bench.population import population
from tests.bench.report import shown

HOSPITAL = "bench"
BYTES_EACH = 11_000  # of disk that a resource takes at most, with its indexes, the oplog and the journal


@dataclass(frozen=True, slots=True)
class Store:
    """A store of a size. port: that its server listens on."""

    data: Path
    size: int
    port: int

    @property
    def settings(self) -> Settings:
        return Settings.load(self.data, database=f"bench{self.size}", zone="UTC", port=self.port, max_page_size=2_000)

    @property
    def _marker(self) -> Path:
        return self.data / f"{self.settings.database}.layout{LAYOUT}"

    @property
    def filled(self) -> int:
        """How many resources, from the first on, are in it."""
        return int(self._marker.read_text()) if self._marker.exists() else 0

    def note(self, filled: int) -> None:
        """Note how many resources are in it, durably stored."""
        made = self._marker.with_suffix(".new")
        made.write_text(str(filled))
        made.replace(self._marker)


def room(data: Path, stores: list[Store]) -> str | None:
    """Return why the disk is too small for what is still to be filled, or None."""
    needed = sum(BYTES_EACH * max(0, each.size - each.filled) for each in stores) + 4 * 1024**3
    free = shutil.disk_usage(data).free
    return f"{data} needs {needed / 1e9:.0f} GB, and has {free / 1e9:.0f} GB" if free < needed else None


def fill(store: Store, uri: str, synthea: Path, say: Console) -> None:
    """Load a store up to its size, unless it is; one that was filled by another layout of the program is filled anew."""
    settings, begun_at = store.settings, store.filled
    if begun_at >= store.size:
        return
    if not begun_at:
        with MongoClient[dict[str, object]](uri) as client:
            client.drop_database(settings.database)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=say) as bar:
        task = bar.add_task(f"loading {shown(store.size)}", total=store.size, completed=begun_at)

        def progress(tally: Tally) -> None:
            store.note(begun_at + tally.seen)
            bar.update(task, completed=begun_at + tally.seen)

        begun = time.monotonic()
        found = _chunks(synthea, store.size, begun_at)
        work = load(
            settings, keyring_of(settings), uri, HOSPITAL, found, processes=usual(), reject=_refuse, progress=progress
        )
        tally = asyncio.run(work)
    seconds = time.monotonic() - begun
    say.print(f"{shown(store.size)}: {tally.seen} loaded in {seconds:.0f} s, {tally.seen / seconds:,.0f} resources/s")


def _chunks(synthea: Path, size: int, after: int) -> Iterator[Chunk]:
    made = (
        Raw(str(synthea), f"resource {place}", dump(record), whole=True)
        for place, record in enumerate(population(synthea, size, after=after), after)
    )
    return chunks(made, _unnamed)


def _refuse(reject: Reject) -> None:
    sys.exit(f"{reject.position}: {reject.reason}")


def _unnamed(resource: dict[str, object]) -> str:
    raise ValueError(f"a {resource['resourceType']} has no id")
