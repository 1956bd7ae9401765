"""Doors that give many records at once: histories of a type and of all, $everything, $lastn, searches in Bundles."""

from __future__ import annotations

from collections.abc import Iterator

from tests.consent.doors.visit import Seen, Visit


def type_history(visit: Visit) -> Iterator[Seen]:
    for type in visit.by_type:
        yield from _in_history(visit, f"{type}/_history", visit.by_type[type])


def system_history(visit: Visit) -> Iterator[Seen]:
    yield from _in_history(visit, "_history", [name for names in visit.by_type.values() for name in names])


def _in_history(visit: Visit, place: str, names: list[str]) -> Iterator[Seen]:
    found = visit.pages(f"{place}?_count=200")
    statuses = {page.status for page in found}
    fault = "" if statuses == {200} else f"status {sorted(statuses)}"
    ids = {id for page in found for id in page.ids}
    yield from (Seen(name, visit.world.id(name) in ids, fault) for name in names)


def everything(visit: Visit) -> Iterator[Seen]:
    """All of a patient, page by page. Who may not see the patient gets the answer of one who never existed."""
    for patient in visit.of_types("Patient"):
        place = f"Patient/{visit.world.id(patient)}/$everything"
        found = visit.pages(f"{place}?_count=4")
        if found[0].status != 200:
            yield visit.one(patient, after="/$everything")
            continue
        about = [patient, *(name for name in visit.of_patient(patient) if visit.world.type(name) != "Binary")]
        ids = {id for page in found for id in page.ids}
        yield from (Seen(name, visit.world.id(name) in ids) for name in about)
        yield from visit.others(ids, about)


def lastn(visit: Visit) -> Iterator[Seen]:
    for patient in visit.of_types("Patient"):
        names = [name for name in visit.of_patient(patient) if visit.world.type(name) == "Observation"]
        if names:
            answer = visit.wire.get(f"Observation/$lastn?patient={visit.world.id(patient)}&max=20")
            yield from visit.listed(names, answer, total=False)
            yield from visit.others(answer.ids, names)


def batch_search(visit: Visit) -> Iterator[Seen]:
    yield from _searches(visit, "batch")


def transaction_search(visit: Visit) -> Iterator[Seen]:
    yield from _searches(visit, "transaction")


def _searches(visit: Visit, kind: str) -> Iterator[Seen]:
    urls = [f"{type}?_id={visit.ids(names)}" for type, names in visit.by_type.items()]
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    answer = visit.wire.post("", {"resourceType": "Bundle", "type": kind, "entry": entries})
    for names, entry in zip(visit.by_type.values(), answer.entries or [{}] * len(urls), strict=True):
        inner = entry.get("resource") or {}
        found = [each["resource"]["id"] for each in inner.get("entry", ())]
        fault = "" if inner.get("total", len(found)) == len(found) and inner else f"{kind}: status {answer.status}"
        yield from (Seen(name, visit.world.id(name) in found, fault) for name in names)
