"""Random stores: what three institutions wrote, in which order, about a few persons who are known to several of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hypothesis import strategies as st

from fhir_server.resident_id import check_character
from tests.consent_engine.build import coding, concept
from tests.noninterference.agreements import (
    DOCTORS,
    LABELS,
    ORGANIZATIONS,
    PROFILE,
    Agreements,
    Json,
    as_list,
    codes,
    dates,
    periods,
    rarely,
    some_of,
    subset,
)

BASE = "http://fhir.example/fhir"
RESIDENT_ID = "urn:oid:2.16.156.10011.1.3"
NUMBERS = tuple(first + check_character(first) for first in ("11000019800101001", "11000019900202002"))
ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
FAMILIES = ("张", "王", "Smith")
LABELLED = st.one_of(st.just([]), subset(LABELS, 2))
RELATIONS = st.sampled_from(["MTH", "GUARD", "HPOWATT", "FRND"]).map(lambda code: [concept(ROLE_CODE, code)])
EFFECTIVE = st.one_of(
    st.just({}),
    dates.map(lambda at: {"effectiveDateTime": at}),
    periods.map(lambda at: {"effectivePeriod": at}),
)

# How many of each there can be, besides two to four Patients; with what makes one.
NUMBER_OF = {
    "Observation": 3,
    "Condition": 2,
    "Encounter": 2,
    "MedicationRequest": 1,
    "Appointment": 2,
    "List": 1,
    "Composition": 1,
    "Group": 2,
    "CareTeam": 1,
    "PractitionerRole": 1,
}


# How the ids of each type begin, where two letters of the type would not tell it from another.
NAMES = {"RelatedPerson": "rp", "Composition": "cm", "Consent": "cs", "PractitionerRole": "pr"}


@dataclass(frozen=True)
class Step:
    """One write: the resource that is stored as the next version, or None to delete it."""

    type: str
    id: str
    resource: Json | None
    organization: str
    by_patient: bool = False


@dataclass(frozen=True)
class World:
    """What is written: groups of steps, each stored as one transaction; no resource twice in a group."""

    groups: Sequence[Sequence[Step]]
    patients: Sequence[str]
    places: Sequence[tuple[str, str]]  # (type, id) of all that is ever written


@dataclass(frozen=True)
class Maker:
    """Makes resources that refer to those of one world. id: of a name within the world."""

    draw: st.DrawFn
    patients: Sequence[str]
    id: Callable[[str], str]

    def maybe(self, **elements: st.SearchStrategy[Any]) -> Json:
        """Return some of these elements."""
        chosen = self.draw(some_of(tuple(elements), len(elements)))
        return {name: self.draw(elements[name]) for name in elements if name in chosen}

    @cached_property
    def patient(self) -> st.SearchStrategy[Json]:
        forms = ("{}", "{}", "{}", "{}/_history/1", BASE + "/{}")
        of = {id: st.sampled_from([form.format(f"Patient/{id}") for form in forms]) for id in self.patients}
        made = st.sampled_from(self.patients).flatmap(of.__getitem__)
        return made.map(lambda text: {"reference": text})

    @cached_property
    def doctor(self) -> st.SearchStrategy[Json]:
        forms = ["{}", "{}", "{}", BASE + "/{}"]
        made = st.builds(str.format, st.sampled_from(forms), st.sampled_from([f"Practitioner/{id}" for id in DOCTORS]))
        return made.map(lambda text: {"reference": text})

    @cached_property
    def encounter(self) -> st.SearchStrategy[Json]:
        return st.sampled_from(["en1", "en2"]).map(lambda name: {"reference": f"Encounter/{self.id(name)}"})

    @cached_property
    def anything(self) -> st.SearchStrategy[Json]:
        names = [
            "Observation/{}ob1",
            "Observation/{}ob2",
            "Condition/{}co1",
            "Encounter/{}en1",
            "MedicationRequest/{}me1",
        ]
        made = st.sampled_from(names).map(lambda name: {"reference": name.format(self.id(""))})
        return st.one_of(made, made, self.patient, self.doctor)

    @cached_property
    def organization(self) -> st.SearchStrategy[Json]:
        return st.sampled_from(ORGANIZATIONS).map(lambda id: {"reference": f"Organization/{id}"})

    def meta(self) -> Json:
        labels = self.draw(LABELLED)
        said: Json = {"security": [coding(*label) for label in labels]} if labels else {}
        said |= {"profile": [PROFILE]} if self.draw(rarely) else {}
        said |= {"tag": [coding("urn:tag", self.draw(st.sampled_from("ab")))]} if self.draw(rarely) else {}
        return {"meta": said} if said else {}

    def make(self, type: str, id: str) -> Json:
        """Return a random resource of a type."""
        made: Json = getattr(self, f"_{type}")(id)
        return {"resourceType": type, "id": id, **self.meta(), **made}

    def _Patient(self, id: str) -> Json:
        number = self.draw(st.sampled_from([None, *NUMBERS, *NUMBERS]))
        identifier = [{"system": RESIDENT_ID, "value": number}] if number else []
        identifier.append({"system": "urn:mrn", "value": self.draw(st.sampled_from("12"))})
        linked = self.draw(rarely)
        return {
            "identifier": identifier,
            "name": [{"family": self.draw(st.sampled_from(FAMILIES)), "given": ["三"]}],
            **self.maybe(
                gender=st.sampled_from(["male", "female"]),
                birthDate=st.sampled_from(["1980", "1980-01-01", "1990-02-02", "2008-06-15", "2008", "2015-02-28"]),
                generalPractitioner=self.doctor.map(as_list),
                managingOrganization=self.organization,
            ),
            **({"link": [{"other": self.draw(self.patient), "type": "seealso"}]} if linked else {}),
        }

    def _Observation(self, id: str) -> Json:
        return {
            "status": "final",
            "code": self.draw(codes),
            **({} if self.draw(rarely) else {"subject": self.draw(self.patient)}),
            **self.maybe(
                focus=self.patient.map(as_list),
                encounter=self.encounter,
                performer=st.one_of(self.doctor, self.organization, self.patient).map(as_list),
                valueQuantity=st.integers(1, 3).map(lambda n: {"value": n, "system": "urn:u", "code": "c1"}),
                category=codes.map(as_list),
            ),
            **self.draw(EFFECTIVE),
        }

    def _Condition(self, id: str) -> Json:
        people = st.one_of(self.doctor, self.doctor, self.patient)
        return {
            "subject": self.draw(self.patient),
            "code": self.draw(codes),
            **self.maybe(onsetDateTime=dates, recordedDate=dates, asserter=people, recorder=self.doctor),
            **self.maybe(encounter=self.encounter),
        }

    def _Encounter(self, id: str) -> Json:
        return {
            "status": "finished",
            "class": coding("urn:class", self.draw(st.sampled_from("AB"))),
            "subject": self.draw(self.patient),
            **self.maybe(
                period=periods,
                participant=self.doctor.map(lambda each: [{"individual": each}]),
                serviceProvider=self.organization,
            ),
        }

    def _MedicationRequest(self, id: str) -> Json:
        return {
            "status": "active",
            "intent": "order",
            "subject": self.draw(self.patient),
            "medicationCodeableConcept": self.draw(codes),
            **self.maybe(authoredOn=dates, requester=self.doctor, encounter=self.encounter),
        }

    def _Appointment(self, id: str) -> Json:
        patients = [self.draw(self.patient) for _ in range(self.draw(st.integers(1, 2)))]
        return {
            "status": "booked",
            "participant": [{"status": "accepted", "actor": each} for each in (*patients, self.draw(self.doctor))],
            **self.maybe(start=st.just("2026-06-15T12:00:00Z"), end=st.just("2026-06-15T13:00:00Z")),
        }

    def _RelatedPerson(self, id: str) -> Json:
        return {
            "patient": self.draw(self.patient),
            **self.maybe(gender=st.just("female")),
            **({"active": self.draw(st.booleans())} if self.draw(rarely) else {}),
            **({"period": self.draw(periods)} if self.draw(rarely) else {}),
            **self.maybe(relationship=RELATIONS),
        }

    @cached_property
    def _member(self) -> st.SearchStrategy[Json]:
        others = ["Device/emr-h1", "Device/emr-h2", f"RelatedPerson/{self.id('rp1')}", "Organization/h1"]
        other = st.sampled_from(others).map(lambda each: {"reference": each})
        return st.one_of(self.doctor, self.doctor, self.doctor, self.patient, other)

    def _Group(self, id: str) -> Json:
        def member(entity: Json) -> Json:
            inactive = {"inactive": self.draw(st.booleans())} if self.draw(rarely) else {}
            return {"entity": entity, **inactive, **({"period": self.draw(periods)} if self.draw(rarely) else {})}

        return {
            "type": "person",
            "actual": not self.draw(rarely),
            **({"active": self.draw(st.booleans())} if self.draw(rarely) else {}),
            "member": [member(self.draw(self._member)) for _ in range(self.draw(st.integers(1, 2)))],
        }

    def _CareTeam(self, id: str) -> Json:
        members = [self.draw(self._member) for _ in range(self.draw(st.integers(1, 2)))]
        return {
            **self.maybe(
                subject=self.patient, period=periods, status=st.sampled_from(["active", "active", "inactive"])
            ),
            "participant": [
                {"member": each, **({"period": self.draw(periods)} if self.draw(rarely) else {})} for each in members
            ],
        }

    def _PractitionerRole(self, id: str) -> Json:
        departments = ["h1", "h2", self.id("dep1"), self.id("dep1")]
        return {
            "practitioner": self.draw(self.doctor),
            **({"active": self.draw(st.booleans())} if self.draw(rarely) else {}),
            **({"period": self.draw(periods)} if self.draw(rarely) else {}),
            "organization": {"reference": f"Organization/{self.draw(st.sampled_from(departments))}"},
        }

    def _Device(self, id: str) -> Json:
        return {"patient": self.draw(self.patient), "type": self.draw(codes), **self.maybe(owner=self.organization)}

    def _List(self, id: str) -> Json:
        entries = self.draw(st.lists(self.anything, max_size=3))
        return {
            "status": "current",
            "mode": "working",
            **self.maybe(subject=self.patient, date=dates, code=codes),
            **({"entry": [{"item": each, "deleted": self.draw(rarely)} for each in entries]} if entries else {}),
        }

    def _Composition(self, id: str) -> Json:
        return {
            "status": "final",
            "type": self.draw(codes),
            "date": self.draw(dates),
            "title": "Summary",
            "author": [self.draw(st.one_of(self.doctor, self.patient))],
            **self.maybe(subject=self.patient, encounter=self.encounter),
            "section": [self._section(0) for _ in range(self.draw(st.integers(1, 2)))],
        }

    def _section(self, depth: int) -> Json:
        """Return a section of a document: what it says in words, and what it refers to, may be hidden or never written."""
        entries = st.lists(self.anything, min_size=1, max_size=2)
        said = f'<div xmlns="http://www.w3.org/1999/xhtml">summary {depth}</div>'
        nested = depth < 2 and self.draw(st.integers(0, 2)) == 2
        made: Json = {
            "title": f"Part {self.draw(st.sampled_from('AB'))}",
            **self.maybe(entry=entries, author=self.doctor.map(as_list), focus=self.anything),
            **self.maybe(text=st.just({"status": "generated", "div": said})),
            **({"section": [self._section(depth + 1)]} if nested else {}),
        }
        return made if {"entry", "text", "section"} & made.keys() else {**made, "entry": self.draw(entries)}

    def _Organization(self, id: str) -> Json:
        above = self.draw(st.sampled_from(["h1", "h2", "h3", None]))
        part = {"partOf": {"reference": f"Organization/{above}"}} if above else {}
        return {"name": f"Hospital {self.draw(st.sampled_from('AB'))}", **part}

    def _Practitioner(self, id: str) -> Json:
        return {"name": [{"family": self.draw(st.sampled_from(FAMILIES))}]}

    def _Consent(self, id: str) -> Json:
        return self._agreements.consent()

    @cached_property
    def _agreements(self) -> Agreements:
        return Agreements(self.draw, self.patients, self.id("")[:-1])


@st.composite
def worlds(draw: st.DrawFn, prefix: str) -> World:
    """Draw a world whose ids begin with the prefix, as no other world's do."""
    patients = [f"{prefix}-pa{n}" for n in range(1, draw(st.integers(2, 4)) + 1)]
    maker = Maker(draw, patients, lambda name: f"{prefix}-{name}")
    places = [("Patient", id) for id in patients if not draw(rarely)]
    for type, most in {**NUMBER_OF, "Consent": 5, "RelatedPerson": 1, "Device": 1}.items():
        places += [
            (type, f"{prefix}-{NAMES.get(type, type[:2].lower())}{n}") for n in range(1, draw(st.integers(0, most)) + 1)
        ]
    places += [("Organization", "h1"), ("Practitioner", "dr1")]
    places += [("Organization", f"{prefix}-dep1")] if draw(st.booleans()) else []
    owner = {place: draw(st.sampled_from(ORGANIZATIONS)) for place in places}
    first = draw(st.permutations(places))
    cut = draw(st.integers(0, len(first)))
    again = st.lists(st.sampled_from(places), max_size=4).map(dict.fromkeys)
    groups = [first[:cut], first[cut:], *(draw(again) for _ in range(draw(st.integers(0, 3))))]
    alive: set[tuple[str, str]] = set()
    steps: list[list[Step]] = []
    for group in groups:
        steps.append([])
        for type, id in group:
            gone = (type, id) in alive and draw(st.integers(0, 2)) == 0
            resource = None if gone else maker.make(type, id)
            by_patient = type == "Consent" and not gone and draw(st.booleans())
            steps[-1].append(Step(type, id, resource, owner[type, id], by_patient))
            (alive.discard if gone else alive.add)((type, id))
    return World([group for group in steps if group], patients, places)
