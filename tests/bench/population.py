"""As many records as wanted, made of the Synthea patients: each copy of a patient is another person with other ids.

The patients come in the same order for every size, so that the same questions have the same answers in all of them.
"""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from fhir_server.bundle_references import rewritten
from fhir_server.fhir_json import parse

Json = dict[str, Any]
NAMESPACE = uuid.UUID("5f6f3c1e-2b1a-4b52-9a3a-1f0a6f0c7d11")
SYSTEM = "urn:fhir-facade:bench"
# What several patients share: their institutions and doctors are not copied.
SHARED = frozenset({"Organization", "Practitioner"})


@dataclass(frozen=True, slots=True)
class Person:
    """One patient of the population, by number, with the records that belong to them."""

    number: int
    id: str
    records: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class _Copy:
    """A patient's Bundle that a person is made of. round: how often all patients have been copied before."""

    bundle: Json
    number: int
    round: int

    @property
    def size(self) -> int:
        return len(self.bundle["entry"]) + 1

    def person(self) -> Person:
        return _person(self.bundle, self.number, self.round)


def people(folder: Path) -> Iterator[Person]:
    """Yield patients without end; the first is the one with the most records."""
    return (copy.person() for copy in _copies(folder))


def population(folder: Path, wanted: int, *, after: int = 0) -> Iterator[Json]:
    """Yield the records of as many whole patients as are needed to reach the wanted number, but not the first `after`."""
    place = 0
    for copy in _copies(folder):
        if place >= wanted:
            return
        if place + copy.size > after:
            yield from copy.person().records[max(0, after - place) :]
        place += copy.size


def _copies(folder: Path) -> Iterator[_Copy]:
    files = sorted(folder.glob("*.json.gz"))
    bundles = [parse(gzip.decompress(file.read_bytes())) for file in files]
    bundles.sort(key=lambda bundle: -len(bundle["entry"]))
    ordered = [bundles[0], *sorted(bundles[1:], key=lambda bundle: _first(bundle)["id"])]
    for number in count():
        round, place = divmod(number, len(ordered))
        yield _Copy(ordered[place], number, round)


def _first(bundle: Json) -> Json:
    found: Json = bundle["entry"][0]["resource"]
    return found


def _person(bundle: Json, number: int, round: int) -> Person:
    entries = [entry["resource"] for entry in bundle["entry"]]
    ids = {each["id"]: _id(each, round) for each in entries}
    moved = {
        entry["fullUrl"]: f"{entry['resource']['resourceType']}/{ids[entry['resource']['id']]}"
        for entry in bundle["entry"]
    }
    records = [rewritten({**each, "id": ids[each["id"]]}, moved) for each in entries]
    patient = next(each for each in records if each["resourceType"] == "Patient")
    records[records.index(patient)] = _named(patient, number)
    records.append(_mark(patient["id"], number))
    return Person(number, patient["id"], tuple(records))


def _id(resource: Json, round: int) -> str:
    if round == 0 or resource["resourceType"] in SHARED:
        return str(resource["id"])
    return str(uuid.uuid5(NAMESPACE, f"{round}/{resource['id']}"))


def family(number: int) -> str:
    """Return the family name that one patient alone has."""
    return f"Bench{number:06d}"


def _named(patient: Json, number: int) -> Json:
    first, *others = patient["name"]
    return {
        **patient,
        "name": [{**first, "family": family(number)}, *others],
        "identifier": [{"system": SYSTEM, "value": str(number)}],
    }


def _mark(patient: str, number: int) -> Json:
    """Return a Condition with a code that one patient alone has."""
    return {
        "resourceType": "Condition",
        "id": str(uuid.uuid5(NAMESPACE, f"mark/{number}")),
        "code": {"coding": [{"system": SYSTEM, "code": str(number)}]},
        "subject": {"reference": f"Patient/{patient}"},
        "onsetDateTime": "2019-06-01",
    }
