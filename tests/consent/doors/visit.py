"""One user at one server: what the doors ask with, and what "absent" looks like there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.consent.wire import Answer, Wire
from tests.consent.world import World

# Headers that differ between any two answers.
OF_THE_MOMENT = frozenset(["date", "x-request-id", "x-correlation-id", "server-timing", "connection", "keep-alive"])

# As 404 and 410, a 403 for both tells nothing of the record: the token's scopes do not reach the type.
REFUSED = frozenset([403, 404, 410])


@dataclass(frozen=True, slots=True)
class Seen:
    """What a door said of a record. fault: an answer that is neither the record nor that of an absent one."""

    name: str
    shown: bool
    fault: str = ""


class Visit:
    """A user's questions about the records of a row."""

    def __init__(self, world: World, wire: Wire) -> None:
        self.world, self.wire = world, wire
        self._absent: dict[tuple[str, str], Answer] = {}
        self._read: dict[str, bool] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return self.world.names

    def of_types(self, *types: str) -> list[str]:
        return [name for name in self.names if self.world.type(name) in types]

    @cached_property
    def by_type(self) -> Mapping[str, list[str]]:
        """The names that a search can find, by resource type."""
        found: dict[str, list[str]] = {}
        for name in self.names:
            if self.world.type(name) != "Binary":  # R4: Binary has no search
                found.setdefault(self.world.type(name), []).append(name)
        return found

    def ids(self, names: Iterable[str]) -> str:
        return ",".join(map(self.world.id, names))

    def references(self, name: str) -> list[str]:
        """Return the names of the records that a record refers to."""
        here = {self.world.place(each): each for each in self.world.raw}
        return [here[each] for each in _references(self.world.record(name)) if each in here]

    def of_patient(self, patient: str) -> list[str]:
        """Return the names of the records that refer to a patient as whose they are."""
        return [
            name
            for name in self.names
            if self.world.raw[name].get("subject", self.world.raw[name].get("patient")) == f"<{patient}>"
        ]

    def one(self, name: str, *, method: str = "GET", after: str = "") -> Seen:
        """Ask for one record by its id."""
        place = f"{self.world.place(name)}{after}"
        answer = self.wire.send(method, place)
        if method == "GET" and not after:
            self._read[name] = answer.status == 200
        if answer.status == 200:
            return Seen(name, True)
        twin = self.absent(self.world.type(name), method, after, len(name))
        return Seen(name, False, difference(answer, twin, {self.world.id(name): self.never(len(name))}))

    def readable(self, name: str) -> bool:
        """Return whether a plain read shows a record: by it a door is judged that needs another record as well."""
        if name not in self._read:
            self.one(name)
        return self._read[name]

    def never(self, length: int) -> str:
        """Return an id that nothing has, as long as that of a record whose name is this long."""
        return f"{'z' * length}-{self.world.key}"

    def absent(self, type: str, method: str, after: str, length: int) -> Answer:
        """Return the answer for an id that never existed."""
        place = f"{type}/{self.never(length)}{after}"
        if (method, place) not in self._absent:
            self._absent[method, place] = self.wire.send(method, place)
        return self._absent[method, place]

    def listed(self, names: Iterable[str], answer: Answer, *, total: bool = True) -> Iterator[Seen]:
        """Yield for each name whether it is in a Bundle, which must be one, and count what it shows."""
        if answer.status == 403:
            yield from (Seen(name, False) for name in names)
            return
        if answer.status != 200 or answer.json.get("resourceType") != "Bundle":
            yield from (Seen(name, False, f"status {answer.status}") for name in names)
            return
        found = answer.ids
        counted = answer.json.get("total", len(found)) == len(found) or not total
        fault = "" if counted else f"total {answer.json['total']} of {len(found)} entries"
        yield from (Seen(name, self.world.id(name) in found, fault) for name in names)

    def others(self, found: Iterable[str], told: Iterable[str]) -> Iterator[Seen]:
        """Yield the records among the ids found of which a door has not told: whatever it shows, it shows."""
        ids = {*found}
        yield from (Seen(name, True) for name in self.names if name not in {*told} and self.world.id(name) in ids)

    def pages(self, place: str, most: int = 60) -> list[Answer]:
        """Return the pages of a Bundle, in their order."""
        found = [self.wire.get(place)]
        while (following := found[-1].link("next")) and len(found) < most:
            found.append(self.wire.get(following))
        return found


def difference(answer: Answer, twin: Answer, same: Mapping[str, str]) -> str:
    """Return in what an answer differs from its twin; nothing if it does not. same: texts that may stand for each other."""
    if answer.status != twin.status:
        return f"status {answer.status}, but {twin.status} for what never existed"
    if _told(answer, same) != _told(twin, same):
        return "other headers than for what never existed"
    if _with(answer.body.decode("utf-8", "replace"), same) != _with(twin.body.decode("utf-8", "replace"), same):
        return "another body than for what never existed"
    return "" if answer.status in REFUSED else f"status {answer.status}"


def _told(answer: Answer, same: Mapping[str, str]) -> dict[str, str]:
    return {name: _with(value, same) for name, value in answer.headers.items() if name not in OF_THE_MOMENT}


def _with(text: str, same: Mapping[str, str]) -> str:
    for each, other in same.items():
        text = text.replace(each, other)
    return text


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            if name == "reference" and isinstance(each, str):
                yield each
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)
