"""What is withheld of a record is withheld wherever it stands: in references, displays, words, contained records, documents.

The reference server holds the records without it (masks.py says a second time what these look like).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.noninterference.conftest import share
from tests.noninterference.dressed import dressed, sections, spoken_of
from tests.noninterference.masks import REDACTED
from tests.noninterference.oracle import Oracle, User
from tests.noninterference.pair import REPORTING, Asked, Pair, visible
from tests.noninterference.questions import batch
from tests.noninterference.test_drawn import run
from tests.noninterference.world import World
from tests.noninterference.written import Records, Version, mentions_of

USERS = (("practitioner", "Practitioner/dr1", "user/*.cruds"), ("system", "Device/emr-h1", "system/*.cruds"))
REFERRING = {
    "Observation": ("subject", "encounter", "performer", "focus"),
    "Condition": ("subject", "encounter", "asserter"),
    "Encounter": ("subject", "service-provider"),
    "MedicationRequest": ("subject", "encounter", "medication"),
    "List": ("subject", "item"),
    "Composition": ("subject", "encounter", "author", "entry"),
    "Appointment": ("actor", "patient"),
    "Patient": ("link", "general-practitioner"),
}
CHAINED = (
    "Observation?subject:Patient.family=Smith",
    "Observation?encounter.class=A",
    "Observation?encounter:Encounter.subject:Patient.family=Smith",
    "Observation?performer:Patient.birthdate=1980",
    "Condition?subject:Patient.birthdate=lt1985",
    "Condition?encounter:Encounter.class=A",
    "Condition?asserter:Patient.family=Smith",
    "Encounter?subject:Patient.gender=male",
    "MedicationRequest?medication.code=c1",
    "MedicationRequest?subject:Patient.family=Smith",
    "MedicationRequest?encounter.class=B",
    "List?item:Observation.code=c1",
    "Composition?entry:Observation.code=c1",
    "Composition?encounter.class=A",
    "Composition?author:Practitioner.family=Smith",
    "Patient?_has:Condition:subject:code=c1",
    "Patient?_has:Encounter:subject:class=A",
    "Patient?_has:MedicationRequest:subject:status=active",
    "Encounter?_has:Condition:encounter:code=c1",
    "Encounter?_has:Composition:encounter:status=final",
    "Patient?link:Patient.family=Smith",
)
CONTAINED = (
    "Patient?family=Smith&_contained=both",
    "Patient?birthdate=1980&_contained=true&_containedType=contained",
    "Medication?code=c1&_contained=true",
    "Encounter?class=A&_contained=both",
    "Encounter?_contained=true&_summary=count",
)
WORDED = (
    *(
        f"{type}?_content={quote(word)}"
        for type in ("Observation", "Patient", "Composition")
        for word in ("张", "smith")
    ),
    *(f"{type}?_text=smith" for type in ("Observation", "Encounter")),
    *(f"{type}?_summary=text" for type in ("Observation", "Composition", "Patient")),
    *(f"{type}?_elements=subject,text,contained" for type in ("Observation", "MedicationRequest")),
)


def ways(world: World) -> Iterator[str]:
    """Yield what asks by, along or for something that can be withheld in part."""
    for type, names in REFERRING.items():
        yield from (f"{type}?_include={type}:{name}" for name in names)
        yield from (f"{target}?_revinclude={type}:{name}" for name in names for target in ("Patient", "Encounter"))
        yield f"{type}?_include=*&_include:iterate=*"
    yield from (*CHAINED, *CONTAINED, *WORDED)
    for id in world.patients:
        yield from (f"{type}?{name}=Patient/{id}" for type, (name, *_) in REFERRING.items() if type != "Appointment")
        yield f"Patient/{id}/$everything"
        yield from (f"Patient/{id}/{type}" for type in ("Condition", "Encounter", "MedicationRequest", "Composition"))
        yield from (f"Observation/$lastn?patient={id}&max={most}" for most in (1, 2))
    yield from (f"Observation/$lastn?{each}" for each in ("subject:Patient.family=Smith", "encounter.class=A&max=2"))
    for type, id in world.places:
        yield f"{type}/{id}"
        yield from [f"Composition/{id}/$document", f"Composition/{id}/_history"] if type == "Composition" else []
        yield from [f"Encounter/{id}/{each}" for each in ("$everything", "Condition")] if type == "Encounter" else []


@share(3)
@given(st.data())
def test_what_is_withheld_is_withheld_wherever_it_stands(servers: Pair, data: st.DataObject) -> None:
    world = data.draw(dressed(servers.fresh()), label="world")
    servers.store_a.write(world)
    role, user, scope = data.draw(st.sampled_from(USERS))
    who = User(role, user, "h1", "TREAT", scope)
    servers.store_b.hold(visible(servers.oracle(world, who)))
    found = list(ways(world))
    together = data.draw(st.lists(st.sampled_from(found), min_size=60, max_size=80, unique=True), label="together")
    alone = data.draw(st.lists(st.sampled_from(found), min_size=6, max_size=10, unique=True), label="alone")
    asked = [batch(together), *(Asked("GET", each) for each in alone)]
    if difference := servers.difference(servers.token(who), asked):
        pytest.fail(difference)


def test_all_of_this_is_withheld_in_the_stores_that_are_drawn() -> None:
    counted: Counter[str] = Counter()

    def count(data: st.DataObject) -> None:
        records = Records.of(data.draw(dressed("x00001")))
        oracle = Oracle(
            records, User("practitioner", "Practitioner/dr1", "h1", "TREAT", "user/*.cruds"), reporting=REPORTING
        )
        there = {f"{each.type}/{each.id}" for each in records.current() if oracle.sees(each, "r")}
        counted.update(
            {name for each in records.current() if oracle.sees(each, "r") for name in _withheld(oracle, each, there)}
        )

    run(count, examples=60)
    assert counted.keys() == WITHHELD, counted
    assert min(counted.values()) >= 6, counted


WITHHELD = {
    "reference",
    "reference to what is seen",
    "display",
    "narrative",
    "contained",
    "section",
    "section of what is masked",
    "section and more",
}


def _withheld(oracle: Oracle, version: Version, there: set[str]) -> Iterator[str]:
    """Yield what is withheld of a version that is seen, by kind. there: the records that are seen."""
    before, after = version.content, oracle.shown(version).content
    gone = set(_pairs(before)) - set(_pairs(after))
    if REDACTED in after.get("meta", {}).get("security", ()):
        yield from ["narrative"] if "text" in before else []
        yield from ["contained"] if before.get("contained") != after.get("contained") else []
    lost = {value for name, value in gone if name == "reference"} & {*mentions_of(before)}
    yield from ["reference"] if lost else []
    yield from ["reference to what is seen"] if lost & there else []
    yield from ["display"] if any(name == "display" for name, _ in gone) else []
    spoken = [spoken_of(each) for each in sections(before)] if "section" in after else []
    hidden = [each for each in spoken if each - there]
    yield from ["section"] if hidden else []
    yield from ["section and more"] if hidden and before is not after else []
    masked = {f"{each.type}/{each.id}" for each in oracle.records.current() if oracle.shown(each) is not each}
    yield from ["section of what is masked"] if any(each & masked and not each - there for each in spoken) else []


def _pairs(value: Any) -> Iterator[tuple[str, str]]:
    """Yield all texts in a value, with their names."""
    if isinstance(value, list):
        for each in value:
            yield from _pairs(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if isinstance(each, str):
                yield name, each
            else:
                yield from _pairs(each)
