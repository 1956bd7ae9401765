"""Fill stores of several sizes, ask running servers, write docs/performance.md: python -m tests.bench."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from rich.console import Console

from fhir_server.settings import Settings
from fhir_server.store.embedded import running
from tests.bench import consents, reads
from tests.bench.consent_report import HEADING as CONSENT
from tests.bench.consent_report import consent_chart, consent_section
from tests.bench.drive import Answered, Measured, Target, measured, middle
from tests.bench.population import Person, people
from tests.bench.reads_report import HEADING as READS
from tests.bench.reads_report import reads_section
from tests.bench.report import DRIVER_HEADING, GROWTH, chart, driver_section, growth_section, page, shown
from tests.bench.rows import EVERYTHING, ROWS, Row
from tests.bench.serving import server
from tests.bench.stores import HOSPITAL, Store, fill, room

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
ROUNDS, REQUESTS, ASKED_FOR, CONNECTIONS = 7, 400, 24, 16
EVERYTHING_REQUESTS = 20
SMALLEST, PORT, CACHE_GB = 10_000, 18_080, 8.0
DRIVER = "bench_driver"
say = Console(stderr=True)


def main() -> None:
    """Read the command line, fill, measure, write."""
    options = _options()
    stores = [Store(options.data, size, PORT + place) for place, size in enumerate(sorted(set(options.sizes)))]
    if "growth" in options.parts and (problem := room(options.data, stores)):
        sys.exit(problem)
    with running(options.data, cache_gb=_cache(), announce=say.print) as uri:
        made = dict(section for part in PARTS if part in options.parts for section in PARTS[part](options, stores, uri))
    path = options.docs / "performance.md"
    before = path.read_text("utf-8") if path.is_file() else ""
    measured = f"{date.today()} by {platform.python_implementation()} {platform.python_version()}"
    order = (GROWTH, READS, CONSENT, DRIVER_HEADING)
    path.write_text(page(made, before, notes(options.synthea), order=order, measured=measured), "utf-8")
    say.print(f"Written: {path}: {', '.join(made)}")


def _growth(options: Any, stores: list[Store], uri: str) -> Iterator[tuple[str, str]]:
    for store in stores:
        fill(store, uri, options.synthea, say)
    with ExitStack() as servers:
        tokens = {store: servers.enter_context(server(store.settings, uri, organization=HOSPITAL)) for store in stores}
        figures = asyncio.run(asked(tokens, options.synthea))
    sizes = [store.size for store in stores]
    (options.docs / "performance.svg").write_text(chart(figures, sizes), "utf-8")
    yield GROWTH, growth_section(figures, sizes)


def _consents(options: Any, stores: list[Store], uri: str) -> Iterator[tuple[str, str]]:
    alone, across = consents.measure(options.data, uri, say)
    (options.docs / "consent-cost.svg").write_text(consent_chart(alone, across), "utf-8")
    yield CONSENT, consent_section(alone, across)


def _driver(options: Any, stores: list[Store], uri: str) -> Iterator[tuple[str, str]]:
    if options.driver.is_file():
        yield DRIVER_HEADING, driver_section(driven(options, uri))


def _reads(options: Any, stores: list[Store], uri: str) -> Iterator[tuple[str, str]]:
    yield READS, reads_section(reads.measure(options.data, options.driver, uri, say))


PARTS = {"growth": _growth, "reads": _reads, "consents": _consents, "driver": _driver}


def _options() -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000], help="resources in each store"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=ROOT / "var" / "bench",
        help="folder for the stores (about 16 GB); kept for the next time",
    )
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=[*PARTS], help="what to measure; the rest of the page stays"
    )
    parser.add_argument("--synthea", type=Path, default=SHARED / "data" / "synthea", help="folder of Synthea bundles")
    parser.add_argument("--driver", type=Path, default=SHARED / "bench" / "bench.py", help="the shared load driver")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder that the page and the chart go to")
    options = parser.parse_args()
    if not options.synthea.is_dir():
        parser.error(f"{options.synthea} is not there: name a folder of Synthea transaction bundles")
    if min(options.sizes) < SMALLEST:
        parser.error(f"a store needs {SMALLEST} resources, or the patients that are asked for are not all in it")
    options.data.mkdir(parents=True, exist_ok=True)
    return options


def _cache() -> float:
    """Return the gigabytes of MongoDB's cache: no more than a third of the memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return round(max(1.0, min(CACHE_GB, memory / 3)), 1)


def notes(synthea: Path) -> list[str]:
    """Return how it was measured."""
    largest = len(next(iter(people(synthea))).records)
    return [
        f"{os.cpu_count()} processors that also ran MongoDB and the load generator; one worker.",
        f"{CONNECTIONS} connections, {REQUESTS} requests in a round about {ASKED_FOR} patients in turn; each figure is the "
        f"median of {ROUNDS} rounds. The stores take turns in every round, and each row is asked unmeasured before.",
        "Every answer is gated, sealed and audited durably before it leaves; what it says was checked. Times include "
        f"waiting for the other {CONNECTIONS - 1}.",
        "The stores: Synthea's 308 patients, some 93,000 resources (the smallest store has the first of them), and copies "
        "of them under other ids.",
        f"$everything is that of a patient with {largest:,} resources, asked for by one connection, in one page.",
    ]


async def asked(tokens: Mapping[Store, str], synthea: Path) -> dict[str, dict[int, Measured]]:
    """Return the figures of each row, by the size of the store."""
    first, *others = islice(people(synthea), ASKED_FOR + 1)
    many = {
        store: Target(store.settings.public_base, token, connections=CONNECTIONS) for store, token in tokens.items()
    }
    one = {store: Target(store.settings.public_base, token, connections=1) for store, token in tokens.items()}
    figures = {}
    for row in ROWS:
        figures[row.title] = await _in_turn(many, row, others, REQUESTS)
    figures[EVERYTHING.title] = await _in_turn(one, EVERYTHING, [first], EVERYTHING_REQUESTS)
    return figures


async def _in_turn(
    targets: Mapping[Store, Target], row: Row, persons: Sequence[Person], requests: int
) -> dict[int, Measured]:
    """Return the figures of a row: in every round each store is asked the same, each time another one first."""
    order = random.Random(row.title)
    stores = list(targets)
    for store in stores:
        await _warmed(targets[store], row, persons, requests)
    rounds: dict[Store, list[Measured]] = {store: [] for store in stores}
    for number in range(ROUNDS):
        paths = [row.path(order.choice(persons)) for _ in range(requests)]
        for place in range(len(stores)):
            store = stores[(number + place) % len(stores)]
            answers, seconds = await targets[store].ask(paths)
            if wrong := [each.status for each in answers if each.status != 200]:
                sys.exit(f"{row.title}: {len(wrong)} answers with status {wrong[0]}")
            rounds[store].append(measured(answers, seconds))
    found = {store.size: middle(rounds[store]) for store in stores}
    for size, each in found.items():
        say.print(
            f"{row.title:26}{shown(size):>7}{each.per_second:8.0f}/s  p50{each.p50:7.1f} ms  p99{each.p99:7.1f} ms",
            highlight=False,
        )
    return found


async def _warmed(target: Target, row: Row, persons: Sequence[Person], requests: int) -> None:
    """Check an answer about each person, and ask as much again, unmeasured: a server that has just started is slower."""
    answers, _ = await target.ask([row.path(person) for person in persons])
    for person, answer in zip(persons, answers, strict=True):
        _check(row, person, answer)
    await target.ask([row.path(persons[number % len(persons)]) for number in range(requests // 2)])


def _check(row: Row, person: Person, answer: Answered) -> None:
    if answer.status != 200 or not row.right(person, json.loads(answer.body)):
        sys.exit(f"{row.title}: a wrong answer about patient {person.number}: {answer.status} {answer.body[:300]!r}")


def driven(options: Any, uri: str) -> list[str]:
    """Return the rows of the shared load driver, on an empty store of its own."""
    settings = Settings.load(options.data, database=DRIVER, zone="UTC", port=PORT)
    with MongoClient[dict[str, Any]](uri) as client:
        client.drop_database(DRIVER)
    say.print("The load driver writes, reads and searches a store of its own.")
    with server(settings, uri, organization=HOSPITAL) as token:
        command = [sys.executable, str(options.driver), "--base", settings.public_base, "--token", token]
        command += ["--patients", "1000", "--reads", "1500", "--bundles", str(options.synthea)]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return [_driver_row(name, phase) for name, phase in result["phases"].items()]


def _driver_row(name: str, phase: Mapping[str, Any]) -> str:
    rate = phase.get("resources_per_s") or phase["rps"]
    return f"| {name.replace('_', ' ')} | {rate:,.0f} | {phase['p50_ms']:.0f} ms | {phase['p99_ms']:.0f} ms |"


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. Started again, it goes on with the stores where it was, and measures from the beginning.")
