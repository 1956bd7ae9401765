"""What is withheld of records is not found, sorted by, counted, included or paged by (consent.md, T32).

Every patient of the world has permitted all, but for some elements; the reference server holds the records without these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.consent_engine.build import LOINC, concept, consent, obligation, permit
from tests.noninterference.agreements import Json
from tests.noninterference.conftest import share
from tests.noninterference.masks import ELEMENTS
from tests.noninterference.oracle import User
from tests.noninterference.pair import Asked, Pair, visible
from tests.noninterference.questions import Questions, batch
from tests.noninterference.world import Step, World, worlds

# By type: the parameters that read an element that can be withheld, each with a value that some records have.
READING = {
    "Patient": {
        "birthdate": "1980",
        "gender": "male",
        "family": "Smith",
        "name:contains": "三",
        "identifier": "urn:mrn|1",
        "general-practitioner": "Practitioner/dr1",
    },
    "Observation": {
        "value-quantity": "gt1",
        "code": "c1",
        "combo-code": "c1",
        "code-value-quantity": "c1$gt1",
        "performer": "Practitioner/dr1",
        "date": "ge2025",
        "subject:Patient.family": "Smith",
        "patient.birthdate": "lt1985",
        "encounter.class": "A",
    },
    "Condition": {"code": "c1", "onset-date": "ge2025"},
    "Encounter": {"class": "A", "date": "ge2025"},
    "MedicationRequest": {"code": "c1"},
    "Appointment": {"date": "2026-06-15", "actor": "Practitioner/dr1", "patient.gender": "female"},
    "List": {"item:Observation.code": "c1"},
    "Composition": {"author": "Practitioner/dr1", "entry:Observation.code": "c1"},
    "Consent": {"actor": "Organization/h1", "purpose": "TREAT", "action": "access"},
    "Group": {"member": "Practitioner/dr1"},
}
SORTED = {
    "Patient": ["birthdate", "-family", "gender", "name"],
    "Observation": ["-date", "code", "value-quantity", "performer"],
    "Condition": ["onset-date", "code"],
    "Encounter": ["date", "class"],
    "Appointment": ["-date"],
}
OTHERS = [
    "Patient?_has:Observation:patient:code=c1",
    "Patient?_has:Observation:subject:value-quantity=gt1",
    "Patient?_has:Observation:subject:date=ge2025",
    "Patient?_has:Appointment:actor:date=2026-06-15",
    "Patient?_has:Group:member:type=person",
    "Encounter?_has:Observation:encounter:code=c1",
    "Practitioner?_has:Patient:general-practitioner:gender=male",
    "Practitioner?_has:Observation:performer:code=c1",
    "Observation?_include=Observation:subject&_include=Observation:encounter&_include=Observation:performer",
    "Patient?_revinclude=Observation:subject&_revinclude=Appointment:actor&_revinclude=Group:member",
    "Patient?_include=Patient:link&_include=Patient:general-practitioner",
    "List?_include=List:item",
    "Composition?_include=Composition:entry&_include=Composition:author",
    "Observation?_filter=" + quote("subject.gender eq male or code eq c1"),
    "Observation?_summary=true",
    "Patient?_elements=name,birthDate",
    "Patient?_summary=data&_sort=birthdate",
    "Practitioner/dr1/Observation",
    "Practitioner/dr1/Patient",
    "_history?_count=100",
]


def paths(world: World) -> Iterator[str]:
    """Yield searches by all that can be withheld, of all who have it, who have not, and in its order."""
    for type, values in READING.items():
        for name, value in values.items():
            yield f"{type}?{name}={quote(value)}"
            yield f"{type}?{name}={quote(value)}&_summary=count"
            plain = name.partition(":")[0].partition(".")[0]
            yield from (f"{type}?{plain}:missing={each}&_count=2" for each in ("true", "false"))
    yield from (f"{type}?_sort={each}&_count=2" for type, found in SORTED.items() for each in found)
    yield from OTHERS
    for id in world.patients:
        yield f"Patient/{id}/$everything"
        yield f"Patient/{id}/$everything?start=2026-01-01&end=2026-03-01"
        yield f"Observation/$lastn?patient={id}&max=1"
        yield f"Observation?patient={id}"
        yield f"Appointment?patient={id}&_sort=date"
        yield from (f"Patient/{id}/{type}" for type in ("Observation", "Condition", "Appointment", "Group"))
    yield from (f"Encounter/{id}/Observation" for type, id in world.places if type == "Encounter")
    yield from (f"Composition/{id}/$document" for type, id in world.places if type == "Composition")


@st.composite
def withholding(draw: st.DrawFn, prefix: str) -> World:
    """Draw a world in which every patient has permitted all but some elements, and nothing else is said."""
    world = draw(worlds(prefix))
    groups = [[each for each in group if each.type != "Consent"] for group in world.groups]
    said = [_permit(draw, f"{prefix}-cs{n}", id) for n, id in enumerate(world.patients, start=1)]
    places = [each for each in world.places if each[0] != "Consent"] + [(each.type, each.id) for each in said]
    return replace(world, groups=[group for group in (*groups, said) if group], places=places)


def _permit(draw: st.DrawFn, id: str, patient: str) -> Step:
    elements = draw(st.lists(st.sampled_from(list(ELEMENTS)), min_size=6, max_size=16, unique=True))
    extension = [obligation("REDACT", each) for each in elements]
    coded: Json = {"code": [concept(LOINC, "c1")]} if draw(st.integers(0, 3)) == 3 else {}
    who = {"id": id, "patient": {"reference": f"Patient/{patient}"}, "category": [concept(LOINC, "59284-0")]}
    said = consent(permit(extension=extension, **coded), **who)
    return Step("Consent", id, {**said, "dateTime": "2026-01"}, "h1", by_patient=True)


@share(4)
@given(st.data())
def test_what_is_withheld_is_not_asked_for(servers: Pair, data: st.DataObject) -> None:
    world = data.draw(withholding(servers.fresh()), label="world")
    servers.store_a.write(world)
    role, user = data.draw(st.sampled_from([("practitioner", "Practitioner/dr1"), ("system", "Device/emr-h1")]))
    scope = "system/*.cruds" if role == "system" else "user/*.cruds"
    who = User(role, user, "h1", "TREAT", scope)
    servers.store_b.hold(visible(servers.oracle(world, who)))
    token, found = servers.token(who), list(paths(world))
    together = data.draw(st.lists(st.sampled_from(found), min_size=60, max_size=80, unique=True), label="together")
    paged = [each for each in found if "_count=2" in each]
    alone = data.draw(st.lists(st.sampled_from(paged), min_size=6, max_size=10, unique=True), label="alone")
    drawn = data.draw(st.lists(Questions(world).asked(), min_size=4, max_size=6), label="asked")
    if difference := servers.difference(token, [batch(together), *(Asked("GET", each) for each in alone), *drawn]):
        pytest.fail(difference)
