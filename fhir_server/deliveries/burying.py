"""What is left of a record that was purged: a tombstone with what it was, whose and who kept it; nothing that it said.

Its versions go, with all that they were filed under. The tombstone is judged as fits every record (store/judged.py,
`whatever`), so that nobody learns by it what the record said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.deliveries.delivery import PURGING, RECEIVED
from fhir_server.store.collections import history_of
from fhir_server.store.commit import Unit
from fhir_server.store.keys import DataKeys
from fhir_server.store.marks import COVERED, FIELD, Marks
from fhir_server.store.permitted import PURGED
from fhir_server.store.received import DELIVERIES, delivery_of, owner

Document = dict[str, Any]
# Of what a tombstone otherwise keeps (store/drafts.py): not the labels, codes and times of what was deleted.
LEFT = ("org", "pat", "pats", "pr", "by")
_SHOWN = {"v": 1, "id": 1, FIELD: 1, **dict.fromkeys(COVERED, 1)}


async def burial(
    database: AsyncDatabase[Document], delivery: str, brought: Iterable[str], keys: DataKeys, *, at: int
) -> Unit:
    """Return the unit that purges these resources ("Type/id") of a delivery.

    The delivery's row counts them, and notes the names of the keys that sealed them: those of the persons whose they were,
    whatever the rows of the keys say. It fails with Conflict if one of them was written meanwhile, or another process purges
    them. at: µs since 1970 UTC.
    """
    unit, counted, persons = Unit(), Counter[str](), set[int | None]()
    for reference in brought:
        type, _, id = reference.partition("/")
        persons |= await _bury(database, unit, delivery, type, id, keys.marks, at=at)
        unit.delete(RECEIVED, {"_id": reference})
        counted[type] += 1
    names = sorted(keys.name(owner(each, "", delivery)) for each in persons)
    noted = {
        "$inc": {f"counts.{type}": number for type, number in counted.items()},
        "$addToSet": {"keys": {"$each": names}},
    }
    unit.touch(DELIVERIES, {"_id": delivery, "state": PURGING}, noted)
    return unit


async def _bury(
    database: AsyncDatabase[Document], unit: Unit, delivery: str, type: str, id: str, marks: Marks, *, at: int
) -> set[int | None]:
    """Add to the unit what purges a resource; return whose its versions were."""
    # The current one first: what becomes an earlier version meanwhile makes the unit fail.
    current = await database[type].find_one({"_id": id}, _SHOWN)
    earlier = await database[history_of(type)].find({"id": id}, _SHOWN).sort("v", 1).to_list()
    history = history_of(type)
    for each in earlier:
        if delivery_of(each) == delivery:
            unit.delete(history, {"_id": each["_id"]})
    for each in _graves(earlier, delivery):
        said = tombstone(each, id, each["v"], at=each["at"])
        stone = _marked(marks, type, id, said, as_stored=marks.fits(type, each, id=id, earlier=True))
        unit.replace(history, {"_id": each["_id"], "deleted": True}, stone)
    if current is not None and delivery_of(current) == delivery:
        unit.delete(type, {"_id": id, "v": current["v"], "pat": current.get("pat"), "pats": current.get("pats")})
        said = tombstone(current, id, current["v"] + 1, at=at)
        unit.insert(history, _marked(marks, type, id, said, as_stored=marks.fits(type, current)))
    versions = [*earlier, *([current] if current else [])]
    return {each.get("pat") for each in versions if delivery_of(each) == delivery}


def _marked(marks: Marks, type: str, id: str, stone: Document, *, as_stored: bool) -> Document:
    """Return a tombstone with its mark; without one, as nobody is shown it, where what it says was changed before."""
    return marks.marked(type, stone, id=id, earlier=True) if as_stored else stone


def _graves(earlier: Sequence[Document], delivery: str) -> list[Document]:
    """Return the tombstones of a life that came with the delivery: they stand right behind one of its versions."""
    lived = {each["v"] for each in earlier if delivery_of(each) == delivery}
    return [each for each in earlier if each.get("deleted") and each["v"] - 1 in lived]


def tombstone(document: Document, id: str, version: int, *, at: int) -> Document:
    """Return what is left of a record: the last version of its history."""
    left = {name: document[name] for name in LEFT if name in document}
    dated = {"at": at, "w": {"lo": at, "hi": at}}
    return {**left, "_id": f"{id}/{version}", "id": id, "v": version, **dated, "deleted": True, PURGED: True}
