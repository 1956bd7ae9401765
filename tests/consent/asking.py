"""Putting a row to a target: its steps in their order, each answered by results."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.consent.doors import DOORS
from tests.consent.doors.visit import Visit
from tests.consent.expecting import faults
from tests.consent.rows import Fixture, Row
from tests.consent.target import Target
from tests.consent.wire import Answer
from tests.consent.world import CannotAsk, World

Step = Mapping[str, Any]
MOST_READERS = 8


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one question. door: through which it was asked; step: its number in the row, from 1."""

    row: str
    step: int
    who: str
    door: str
    expected: str
    got: str
    outcome: Outcome


def ask(target: Target, fixture: Fixture, row: Row) -> list[Result]:
    """Return the results of a row; at least one."""
    if reason := target.why_not(row.needs, row.under):
        return [Result(row.id, 0, "", "", row.en, reason, Outcome.NOT_ASKED)]
    world = World(target, fixture, row)
    try:
        return [*_asked(world)]
    finally:
        world.close()


def _asked(world: World) -> Iterator[Result]:
    number = 0
    try:
        world.store()
        for each in world.row.given:
            world.give(each)
        for number, step in enumerate(world.row.steps, 1):
            yield from _step(world, number, step)
    except CannotAsk as error:
        yield Result(world.row.id, number, "", "", world.row.en, str(error), Outcome.NOT_ASKED)
    finally:
        world.end()  # the next row finds only what is its own


def _step(world: World, number: int, step: Step) -> Iterator[Result]:
    if missing := frozenset(step.get("needs", ())) & world.target.lacks:
        raise CannotAsk(f"the server does not offer: {', '.join(sorted(missing))}")
    if "who" not in step:
        _do(world, step)
        return
    who = world.who(step["who"]).title
    if "ask" in step or "pages" in step:
        found = _requested(world, step)
        yield _result(world, number, who, step.get("ask") or f"pages {step['pages']}", f"{step['expect']}", found)
    elif "race" in step:
        yield _result(world, number, who, f"race: {step['race']}", "nothing after the change", _raced(world, step))
    else:
        yield from _through_doors(world, number, who, step)


def _result(world: World, number: int, who: str, door: str, expected: str, wrong: list[str]) -> Result:
    outcome = Outcome.FAILED if wrong else Outcome.PASSED
    return Result(world.row.id, number, who, door, expected, "; ".join(wrong) or "as expected", outcome)


def _through_doors(world: World, number: int, who: str, step: Step) -> Iterator[Result]:
    """Ask every door, several at the same time; each must show what is expected, as far as it can answer."""
    visit = Visit(world, world.wire(step["who"], int(step.get("through", 0))))
    wanted, unwanted = _expected(world, step)
    names: Sequence[str] = [*step.get("doors", DOORS)]
    offered = [name for name in names if name not in world.target.without]
    with ThreadPoolExecutor(world.target.at_once) as pool:
        told = dict(zip(offered, pool.map(lambda name: [*DOORS[name](visit)], offered), strict=True))
    for name in names:
        if name not in told:
            yield Result(world.row.id, number, who, name, "", "the server does not offer this door", Outcome.NOT_ASKED)
            continue
        wrong: dict[str, None] = {}
        for seen in told[name]:
            if seen.name in (unwanted if seen.shown else wanted):
                wrong[f"{seen.name} is {'shown' if seen.shown else 'not shown'}"] = None
            if seen.fault:
                wrong[f"{seen.name}: {seen.fault}"] = None
        expected = f"shows {' '.join(sorted(wanted)) or 'nothing'}; hides {' '.join(sorted(unwanted)) or 'nothing'}"
        yield _result(world, number, who, name, expected, [*wrong])


def _expected(world: World, step: Step) -> tuple[frozenset[str], frozenset[str]]:
    """Return what must be shown and what must not: of what is not named in `shows` and `hides`, nothing is said."""
    if "sees" in step:
        wanted = world.set(step["sees"])
        return wanted, frozenset(world.names) - wanted
    return world.set(step.get("shows")), world.set(step.get("hides"))


def _do(world: World, step: Step) -> None:
    if "clock" in step:
        world.set_clock(world.instant(str(step["clock"])))
    for each in step.get("give", ()):
        world.give(each)
    if "change" in step:
        elements = dict(step["change"])
        world.change(int(elements.pop("consent", 1)), elements)
    for name, elements in step.get("store", {}).items():
        world.raw[name] = {**world.raw.get(name, {}), **elements}
        world.put([world.record(name)], by=step.get("by", str(world.raw[name].get("by", "EMR1"))))
    if "delete" in step:
        answer = world.wire(step.get("by", "EMR1")).send("DELETE", world.place(step["delete"]))
        if answer.status not in (200, 204):
            raise CannotAsk(f"{step['delete']} cannot be deleted: {answer.status}")


def request(world: World, said: str) -> tuple[str, str]:
    """Return the method and the path of a request: "read O1", "search Observation?…", or "GET …" and other methods."""
    verb, _, rest = said.partition(" ")
    if verb == "read":
        return "GET", world.place(rest) if rest in world.raw else world.filled(rest)
    return ("GET" if verb == "search" else verb), world.filled(rest)


def _requested(world: World, step: Step) -> list[str]:
    """Send the request as often as the step says; return what is wrong with the answers."""
    visit = Visit(world, world.wire(step["who"], int(step.get("through", 0))))
    if "pages" in step:
        return faults(visit, step["expect"], visit.pages(world.filled(step["pages"])), None)
    method, place = request(world, step["ask"])
    headers, body = world.filled(step.get("headers", {})), body_of(world, step.get("body"))
    wrong: list[str] = []
    for _ in range(int(step.get("times", 1))):
        answer = visit.wire.send(method, place, body, headers)
        if name := step.get("remember"):
            world.remembered[name] = answer

        def twin(method: str = method, place: str = place, body: Any = body) -> Answer:
            return _of_nobody(visit, method, place, body, headers)

        wrong += faults(visit, step["expect"], [answer], twin)
        if wrong:
            break
    return wrong


def body_of(world: World, said: Any) -> Any:
    """Return a body: a record by name, an answer that was remembered, a record with other elements, or JSON as it is."""
    if isinstance(said, str):
        if said in world.remembered:
            return world.remembered[said].json
        return world.record(said) if said in world.raw else world.filled(said)
    if isinstance(said, Mapping) and "like" in said:
        rest = {name: value for name, value in said.items() if name not in ("like", "without")}
        made = {**body_of(world, said["like"]), **world.fhir("", rest)}
        return {name: value for name, value in made.items() if name not in said.get("without", ())}
    return None if said is None else world.fhir("", said)


def _of_nobody(visit: Visit, method: str, place: str, body: Any, headers: Mapping[str, str]) -> Answer:
    """Return the answer to the same request about ids that never existed."""
    ids = {visit.world.id(name): visit.never(len(name)) for name in visit.world.raw}
    text = json.dumps(body)
    for id, never in ids.items():
        place = place.replace(f"/{id}", f"/{never}")
        text = text.replace(f'"id": "{id}"', f'"id": "{never}"')
    return visit.wire.send(method, place, json.loads(text), headers)


def _raced(world: World, step: Step) -> list[str]:
    """Read from several threads while a Consent changes; return what was seen after the change was acknowledged.

    Each answer must be that of one side of a single instant: once one read was refused, none that began later succeeds.
    """
    visit = Visit(world, world.wire(step["who"]))
    method, place = request(world, step["race"])
    token = world.target.tokens(world.who(step["who"]))
    told: list[tuple[float, float, int]] = []
    started, each = threading.Event(), max(int(step.get("reads", 200)) // MOST_READERS, 1)

    def reading(base: str) -> None:
        with type(visit.wire)(base, token) as wire:
            for _ in range(each):
                began = time.monotonic()
                status = wire.send(method, place).status
                told.append((began, time.monotonic(), status))
                started.set()

    bases = [world.target.bases[n % len(world.target.bases)] for n in range(MOST_READERS)]
    threads = [threading.Thread(target=reading, args=(base,)) for base in bases]
    for thread in threads:
        thread.start()
    started.wait(60)
    change = dict(step["while"])
    world.change(int(change.pop("consent", 1)), change)
    changed = time.monotonic()
    for thread in threads:
        thread.join(60)
    after = visit.wire.send(method, place).status
    refused = min((ended for _, ended, status in told if status == 404), default=changed)
    wrong = {
        "an answer is neither the record nor absent": any(status not in (200, 404) for *_, status in told),
        "a read that began after the change succeeded": any(
            began > changed and status == 200 for began, _, status in told
        ),
        "a read succeeded that began after another was refused": any(
            began > refused and status == 200 for began, _, status in told
        ),
        "it is seen after all": after != 404,
    }
    return [what for what, is_so in wrong.items() if is_so]
