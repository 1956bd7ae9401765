"""Fill databases of several sizes, ask a running server, write docs/performance.md: python -m tests.bench."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from fhir_server.app import assemble, bearer_of, keyring_of
from fhir_server.loading.files import Item
from fhir_server.loading.loader import Loader
from fhir_server.settings import Settings
from fhir_server.store.embedded import running
from tests.bench.drive import Answered, Measured, Target, measured, middle
from tests.bench.population import Person, people, population
from tests.bench.report import chart, page, shown
from tests.bench.rows import EVERYTHING, ROWS, Row

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
HOSPITAL = "bench"
ROUNDS, REQUESTS, ASKED_FOR = 3, 600, 24
SMALLEST = 10_000
say = Console(stderr=True)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000], help="resources in each store"
    )
    parser.add_argument("--data", type=Path, default=ROOT / "var" / "bench", help="folder for the stores (about 10 GB)")
    parser.add_argument("--synthea", type=Path, default=SHARED / "data" / "synthea", help="folder of Synthea bundles")
    parser.add_argument("--driver", type=Path, default=SHARED / "bench" / "bench.py", help="the shared load driver")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder that the page and the chart go to")
    options = parser.parse_args()
    if not options.synthea.is_dir():
        parser.error(f"{options.synthea} is not there: name a folder of Synthea transaction bundles")
    if min(options.sizes) < SMALLEST:
        parser.error(f"a store needs {SMALLEST} resources, or the patients that are asked for are not all in it")
    options.data.mkdir(parents=True, exist_ok=True)
    figures: dict[str, dict[int, Measured]] = {}
    with running(options.data, cache_gb=6.0) as uri:
        for size in options.sizes:
            settings = Settings.load(
                options.data, database=f"bench{size}", zone="UTC", port=18_080, max_page_size=2_000
            )
            fill(settings, uri, options.synthea, size)
            with server(settings, uri) as token:
                for title, found in asyncio.run(asked(settings, token, options.synthea)):
                    figures.setdefault(title, {})[size] = found
        driver = driven(options, uri) if options.driver.is_file() else []
    (options.docs / "performance.md").write_text(page(figures, options.sizes, notes=notes(), driver=driver), "utf-8")
    (options.docs / "performance.svg").write_text(chart(figures, options.sizes), "utf-8")
    say.print(f"Written: {options.docs / 'performance.md'} and performance.svg")


def notes() -> list[str]:
    """Return how it was measured."""
    return [
        f"{date.today()}, {os.cpu_count()} processors that also ran MongoDB and the load generator; one worker.",
        f"16 connections, {REQUESTS} requests in a round about {ASKED_FOR} patients in turn, the middle of {ROUNDS} rounds; "
        "every answer checked before.",
        "Every answer is gated, sealed and audited durably before it leaves. Times include waiting for the other 15.",
        "The store: Synthea's 308 patients and copies of them under other ids.",
    ]


def fill(settings: Settings, uri: str, synthea: Path, size: int) -> None:
    """Load a store of this size, unless it is there."""
    marker = settings.data / f"{settings.database}.loaded"
    if marker.exists():
        return

    async def loaded() -> None:
        parts = assemble(settings, keyring_of(settings), uri=uri)
        try:
            await parts.ready()
            with Progress(console=say) as bar:
                task = bar.add_task(f"loading {shown(size)}", total=size)
                loader = Loader(
                    parts.services,
                    HOSPITAL,
                    reject=lambda item, why: sys.exit(f"{item.position}: {why}"),
                    progress=lambda tally: bar.update(task, completed=tally.seen),
                )
                await loader.load(
                    Item(str(synthea), f"resource {place}", record, None)
                    for place, record in enumerate(population(synthea, size))
                )
        finally:
            await parts.client.close()

    begun = time.monotonic()
    asyncio.run(loaded())
    seconds = time.monotonic() - begun
    say.print(f"{shown(size)} loaded in {seconds:.0f} s: {size / seconds:,.0f} resources/s")
    marker.write_text(f"{seconds:.1f} s\n")


@contextmanager
def server(settings: Settings, uri: str) -> Iterator[str]:
    """Run the server over a store; yield a token of the institution's system."""
    environment = {
        **os.environ,
        "FHIR_MONGODB_URI": uri,
        "FHIR_DATABASE": settings.database,
        "FHIR_ZONE": settings.zone,
        "FHIR_MAX_PAGE_SIZE": str(settings.max_page_size),
    }
    command = [sys.executable, "-m", "fhir_server", "serve", "--data", str(settings.data), "--port", str(settings.port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    claims = {
        "role": "system",
        "fhirUser": "Device/bench",
        "org": HOSPITAL,
        "purpose": "TREAT",
        "scope": "system/*.cruds",
    }
    try:
        _wait_for(f"http://127.0.0.1:{settings.port}/health", process)
        yield bearer_of(keyring_of(settings)).issue(claims, lifetime=24 * 3600)
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            sys.exit("the server ended")
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit("the server did not start within 30 seconds")


async def asked(settings: Settings, token: str, synthea: Path) -> list[tuple[str, Measured]]:
    """Return the figures of each row on one store."""
    target = Target(settings.public_base, token)
    everybody = list(islice(people(synthea), ASKED_FOR + 1))
    found = []
    for row in ROWS:
        found.append((row.title, await _rounds(target, row, everybody[1:], REQUESTS)))
        _told(row, found[-1][1])
    one = Target(settings.public_base, token, connections=1)
    found.append((EVERYTHING.title, await _rounds(one, EVERYTHING, everybody[:1], 20)))
    _told(EVERYTHING, found[-1][1])
    return found


def _told(row: Row, found: Measured) -> None:
    say.print(f"{row.title:28} {found.per_second:8.0f}/s  p50 {found.p50:7.1f} ms  p99 {found.p99:7.1f} ms")


async def _rounds(target: Target, row: Row, persons: Sequence[Person], requests: int) -> Measured:
    checked, _ = await target.ask([row.path(person) for person in persons])
    for person, answer in zip(persons, checked, strict=True):
        _check(row, person, answer)
    order = random.Random(row.title)
    rounds = []
    for _ in range(ROUNDS):
        paths = [row.path(order.choice(persons)) for _ in range(requests)]
        answers, seconds = await target.ask(paths)
        if wrong := [each.status for each in answers if each.status != 200]:
            sys.exit(f"{row.title}: {len(wrong)} answers with status {wrong[0]}")
        rounds.append(measured(answers, seconds))
    return middle(rounds)


def _check(row: Row, person: Person, answer: Answered) -> None:
    if answer.status != 200 or not row.right(person, json.loads(answer.body)):
        sys.exit(f"{row.title}: a wrong answer about patient {person.number}: {answer.status} {answer.body[:300]!r}")


def driven(options: Any, uri: str) -> list[str]:
    """Return the rows of the shared load driver, on an empty store of its own."""
    settings = Settings.load(options.data, database="bench_driver", zone="UTC", port=18_080)
    with server(settings, uri) as token:
        command = [sys.executable, str(options.driver), "--base", settings.public_base, "--token", token]
        command += ["--patients", "1000", "--reads", "1500", "--bundles", str(options.synthea)]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return [_driver_row(name, phase) for name, phase in result["phases"].items()]


def _driver_row(name: str, phase: Mapping[str, Any]) -> str:
    rate = phase.get("resources_per_s") or phase["rps"]
    return f"| {name.replace('_', ' ')} | {rate:,.0f} | {phase['p50_ms']:.0f} ms | {phase['p99_ms']:.0f} ms |"


if __name__ == "__main__":
    main()
