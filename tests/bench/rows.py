"""What is asked, and what makes an answer right. Every row asks for one patient of those that every size has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.population import SYSTEM, Person, family

Json = Mapping[str, Any]
HEIGHT = "http://loinc.org|8302-2"
PRESSURE = "http://loinc.org|85354-9"
SYSTOLIC = "http://loinc.org|8480-6"


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of request. path: of the request about a person. right: whether an answer to it is."""

    title: str
    path: Callable[[Person], str]
    right: Callable[[Person, Json], bool]


def _of(person: Person, type: str, test: Callable[[Json], bool] = lambda record: True) -> int:
    return sum(each["resourceType"] == type and test(each) for each in person.records)


def _coded(code: str) -> Callable[[Json], bool]:
    bare = code.partition("|")[2]
    return lambda record: any(each.get("code") == bare for each in record.get("code", {}).get("coding", ()))


def _alone(person: Person, bundle: Json) -> bool:
    return [each["resource"]["id"] for each in bundle["entry"]] == [person.id]


def _total(expected: Callable[[Person], int]) -> Callable[[Person, Json], bool]:
    return lambda person, bundle: bundle["total"] == expected(person)


def _systolic_over_100(record: Json) -> bool:
    return any(
        part["code"]["coding"][0]["code"] == "8480-6" and part["valueQuantity"]["value"] > 100
        for part in record.get("component", ())
    )


ROWS = (
    Row("read", lambda who: f"Patient/{who.id}", lambda who, found: found["id"] == who.id),
    Row("search by identifier", lambda who: f"Patient?identifier={SYSTEM}|{who.number}", _alone),
    Row("search by family", lambda who: f"Patient?family={family(who.number)}", _alone),
    Row(
        "patient and code",
        lambda who: f"Observation?patient={who.id}&code={HEIGHT}",
        _total(lambda who: _of(who, "Observation", _coded(HEIGHT))),
    ),
    Row(
        "patient, newest first",
        lambda who: f"Observation?patient={who.id}&_sort=-date&_count=10",
        _total(lambda who: _of(who, "Observation")),
    ),
    Row(
        "composite",
        lambda who: f"Observation?patient={who.id}&component-code-value-quantity={SYSTOLIC}$gt100",
        _total(lambda who: _of(who, "Observation", _systolic_over_100)),
    ),
    Row(
        "chain",
        lambda who: f"Observation?subject:Patient.identifier={SYSTEM}|{who.number}&code={HEIGHT}",
        _total(lambda who: _of(who, "Observation", _coded(HEIGHT))),
    ),
    Row(
        "chain of two",
        lambda who: f"Procedure?encounter:Encounter.subject:Patient.family={family(who.number)}&_count=10",
        _total(lambda who: _of(who, "Procedure")),
    ),
    Row("_has", lambda who: f"Patient?_has:Condition:patient:code={SYSTEM}|{who.number}", _alone),
    Row(
        "_has and a name",
        lambda who: f"Patient?family={family(who.number)}&_has:Observation:patient:code={PRESSURE}",
        lambda who, found: found["total"] == bool(_of(who, "Observation", _coded(PRESSURE))),
    ),
    Row(
        "_include and _revinclude",
        lambda who: f"Encounter?patient={who.id}&_count=5&_include=Encounter:patient&_revinclude=Condition:encounter",
        _total(lambda who: _of(who, "Encounter")),
    ),
    Row(
        "count of a patient's",
        lambda who: f"Observation?patient={who.id}&_summary=count",
        _total(lambda who: _of(who, "Observation")),
    ),
)

EVERYTHING = Row(
    "$everything",
    lambda who: f"Patient/{who.id}/$everything?_count=2000",
    lambda who, found: len(found["entry"]) >= len({(each["resourceType"], each["id"]) for each in who.records}),
)
