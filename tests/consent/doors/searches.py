"""Doors that find records: by id and by patient, over one type and several, by GET and POST, in pages, chained, included."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain as joined
from urllib.parse import urlencode

from tests.consent.doors.visit import Seen, Visit
from tests.consent.wire import Answer

# By which parameter a record of a type belongs to a patient; the same in R4 for all of them.
BY_PATIENT = frozenset(
    ["Observation", "Condition", "Encounter", "MedicationRequest", "Composition", "DocumentReference"]
)
# Includes: the type that refers, the parameter, whatever it refers to.
INCLUDES = (
    ("Observation", "subject"),
    ("Observation", "encounter"),
    ("Observation", "focus"),
    ("Condition", "subject"),
    ("Encounter", "subject"),
    ("MedicationRequest", "subject"),
    ("Composition", "entry"),
    ("Appointment", "actor"),
)
ELEMENTS = {"entry": "section", "actor": "participant"}  # where the element is not named like the parameter


def by_id(visit: Visit) -> Iterator[Seen]:
    for type, names in visit.by_type.items():
        yield from visit.listed(names, visit.wire.get(f"{type}?_id={visit.ids(names)}&_count=100"))


def posted(visit: Visit) -> Iterator[Seen]:
    for type, names in visit.by_type.items():
        form = urlencode({"_id": visit.ids(names), "_sort": "-_lastUpdated", "_count": "100"})
        yield from visit.listed(names, visit.wire.post(f"{type}/_search", form))


def by_patient(visit: Visit) -> Iterator[Seen]:
    for type in sorted(BY_PATIENT & visit.by_type.keys()):
        for patient in visit.of_types("Patient"):
            names = [name for name in visit.of_patient(patient) if visit.world.type(name) == type]
            if names:
                answer = visit.wire.get(f"{type}?patient={visit.world.id(patient)}&_count=100")
                yield from visit.listed(names, answer)
                yield from visit.others(answer.ids, names)


def compartment(visit: Visit) -> Iterator[Seen]:
    for type in sorted(BY_PATIENT & visit.by_type.keys()):
        for patient in visit.of_types("Patient"):
            names = [name for name in visit.of_patient(patient) if visit.world.type(name) == type]
            if names:
                answer = visit.wire.get(f"Patient/{visit.world.id(patient)}/{type}?_count=100")
                if answer.status == 404 and not visit.readable(patient):
                    continue  # the compartment of a patient who is hidden may be absent as a whole
                yield from visit.listed(names, answer)
                yield from visit.others(answer.ids, names)


def system(visit: Visit) -> Iterator[Seen]:
    names = [*joined.from_iterable(visit.by_type.values())]
    asked = f"?_type={','.join(visit.by_type)}&_id={visit.ids(names)}&_count=100"
    yield from visit.listed(names, visit.wire.get(asked))


def pages(visit: Visit) -> Iterator[Seen]:
    """Pages of three: all full but the last, nothing twice, and the total is that of all of them."""
    names = [*joined.from_iterable(visit.by_type.values())]
    asked = f"?_type={','.join(visit.by_type)}&_id={visit.ids(names)}&_count=3&_total=accurate"
    found = visit.pages(asked)
    fault = _uneven(found, 3)
    ids = {id for page in found for id in page.ids}
    yield from (Seen(name, visit.world.id(name) in ids, fault) for name in names)


def _uneven(found: list[Answer], size: int) -> str:
    ids = [id for page in found for id in page.ids]
    if any(page.status != 200 for page in found):
        return f"status {[page.status for page in found]}"
    if any(len(page.ids) != size for page in found[:-1]) or (len(found) > 1 and not found[-1].ids):
        return f"pages of {[len(page.ids) for page in found]}"
    totals = {page.json.get("total", len(ids)) for page in found}
    return "" if len(ids) == len({*ids}) and totals == {len(ids)} else f"totals {sorted(totals)} of {len(ids)} entries"


def count(visit: Visit) -> Iterator[Seen]:
    """A count says of each record alone whether it is there."""
    for type in ("Patient", "Observation", "Condition"):
        for name in visit.by_type.get(type, ()):
            answer = visit.wire.get(f"{type}?_id={visit.world.id(name)}&_summary=count")
            shown = answer.json.get("total") == 1
            fault = "" if answer.status == 200 and not answer.entries else f"status {answer.status}"
            yield Seen(name, shown, fault)


def filter(visit: Visit) -> Iterator[Seen]:
    for type, names in visit.by_type.items():
        asked = " or ".join(f"_id eq {visit.world.id(name)}" for name in names)
        yield from visit.listed(names, visit.wire.get(f"{type}?_filter={asked}&_elements=id&_count=100"))


def include(visit: Visit) -> Iterator[Seen]:
    """What a record refers to comes with it if it may be seen."""
    for type, parameter in INCLUDES:
        names = visit.by_type.get(type, [])
        if not names:
            continue
        answer = visit.wire.get(f"{type}?_id={visit.ids(names)}&_include={type}:{parameter}&_count=100")
        yield from visit.listed(names, answer, total=False)
        targets = {
            target for name in names if visit.world.id(name) in answer.ids for target in _by(visit, name, parameter)
        }
        known = sorted(target for target in targets if target in visit.names)
        yield from visit.listed(known, answer, total=False)
        yield from visit.others(answer.ids, [*names, *known])


def _by(visit: Visit, name: str, parameter: str) -> list[str]:
    element = visit.world.raw[name].get(ELEMENTS.get(parameter, parameter))
    return [each for each in visit.references(name) if f"<{each}>" in f"{element}"]


def revinclude(visit: Visit) -> Iterator[Seen]:
    """What refers to a patient comes with the patient if it may be seen."""
    for patient in visit.of_types("Patient"):
        names = [name for name in visit.of_patient(patient) if visit.world.type(name) in BY_PATIENT]
        types = sorted({visit.world.type(name) for name in names})
        asked = "".join(f"&_revinclude={type}:subject" for type in types)
        answer = visit.wire.get(f"Patient?_id={visit.world.id(patient)}{asked}&_count=100")
        yield from visit.listed([patient], answer, total=False)
        if visit.world.id(patient) in answer.ids:
            yield from visit.listed(names, answer, total=False)
        yield from visit.others(answer.ids, [patient, *names])


def chain(visit: Visit) -> Iterator[Seen]:
    """A chain goes through a patient who may be seen, and finds what may be seen."""
    for type in ("Observation", "Condition"):
        for patient in visit.of_types("Patient"):
            names = [name for name in visit.of_patient(patient) if visit.world.type(name) == type]
            if not names:
                continue
            answer = visit.wire.get(f"{type}?subject:Patient._id={visit.world.id(patient)}&_count=100")
            if visit.readable(patient):
                yield from visit.listed(names, answer)
            yield from visit.others(answer.ids, names if visit.readable(patient) else [])


def has(visit: Visit) -> Iterator[Seen]:
    """A reverse chain finds the patient by a record only if both may be seen."""
    for name in visit.of_types("Observation", "Condition"):
        type = visit.world.type(name)
        for patient in visit.of_types("Patient"):
            if name in visit.of_patient(patient):
                asked = f"_has:{type}:subject:_id={visit.world.id(name)}"
                answer = visit.wire.get(f"Patient?_id={visit.world.id(patient)}&{asked}")
                found = visit.world.id(patient) in answer.ids
                if found or visit.readable(patient):
                    yield Seen(name, found, "" if answer.status == 200 else f"status {answer.status}")
