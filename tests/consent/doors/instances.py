"""Doors that open one record by its id: read, vread, HEAD, history, $meta, $document, and several of them in a batch."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.consent.doors.visit import Seen, Visit


def read(visit: Visit) -> Iterator[Seen]:
    yield from (visit.one(name) for name in visit.names)


def head(visit: Visit) -> Iterator[Seen]:
    yield from (visit.one(name, method="HEAD") for name in visit.names)


def vread(visit: Visit) -> Iterator[Seen]:
    yield from (visit.one(name, after="/_history/1") for name in visit.names)


def history(visit: Visit) -> Iterator[Seen]:
    yield from (visit.one(name, after="/_history") for name in visit.names)


def meta(visit: Visit) -> Iterator[Seen]:
    yield from (visit.one(name, after="/$meta") for name in visit.names)


def document(visit: Visit) -> Iterator[Seen]:
    """A document shows its Composition and what the sections of it hold."""
    for name in visit.of_types("Composition"):
        place = f"{visit.world.place(name)}/$document"
        answer = visit.wire.get(place)
        if answer.status != 200:
            yield visit.one(name, after="/$document")
            continue
        about = [name, *dict.fromkeys(visit.references(name))]
        yield from visit.listed(about, answer, total=False)
        yield from visit.others(answer.ids, about)


def batch(visit: Visit) -> Iterator[Seen]:
    """A batch of reads. The entry of what is absent equals that of an id that never existed."""
    twins = {(visit.world.type(name), len(name)) for name in visit.names}
    never = {each: f"{each[0]}/{visit.never(each[1])}" for each in sorted(twins)}
    places = [*map(visit.world.place, visit.names), *never.values()]
    entries = [{"request": {"method": "GET", "url": place}} for place in places]
    answer = visit.wire.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries})
    if answer.status != 200 or len(answer.entries) != len(places):
        yield from (Seen(name, False, f"status {answer.status}") for name in visit.names)
        return
    told = dict(zip(places, answer.entries, strict=True))
    for name in visit.names:
        entry = told[visit.world.place(name)]
        twin = told[never[visit.world.type(name), len(name)]]
        same = json.dumps(entry).replace(visit.world.id(name), visit.never(len(name))) == json.dumps(twin)
        shown = str(entry["response"]["status"]).startswith("200")
        yield Seen(name, shown, "" if shown or same else "another entry than for what never existed")
