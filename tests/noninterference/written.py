"""What was written, version by version, as the consent engine looks at it; worked out from the plain resources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from consent_engine.dates import microseconds, span
from consent_engine.predicate import Attribute, Record
from consent_engine.vocabulary import canonical_label
from fhir_server.resident_id import resident_id
from tests.noninterference.agreements import Json
from tests.noninterference.world import BASE, World


@dataclass(frozen=True)
class Version:
    """One version as it was written; resource is None for a deletion, which is judged by what it deleted."""

    type: str
    id: str
    number: int
    at: int
    organization: str
    resource: Json | None
    content: Json
    by_patient: bool = False


@dataclass
class Records:
    """All versions that were written, and which Patients are one person."""

    versions: dict[tuple[str, str], list[Version]] = field(default_factory=dict)
    person: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, world: World) -> Records:
        """Return what a world's steps leave behind."""
        found = cls()
        for number, group in enumerate(world.groups):
            for step in group:
                earlier = found.versions.setdefault((step.type, step.id), [])
                content = step.resource or earlier[-1].content
                at = instant_of(number)
                earlier.append(
                    Version(
                        step.type,
                        step.id,
                        len(earlier) + 1,
                        at,
                        step.organization,
                        step.resource,
                        content,
                        step.by_patient,
                    )
                )
                if step.type == "Patient" and step.resource:
                    found.person[step.id] = resident_id(step.resource) or f"id {step.id}"
        return found

    def current(self) -> Iterator[Version]:
        return (found[-1] for found in self.versions.values() if found[-1].resource is not None)

    def person_of(self, patient: str) -> str:
        return self.person.get(patient, f"id {patient}")

    def record(self, version: Version) -> Record:
        """Return a version as the engine looks at it; labels are those of the whole life of the resource (D21)."""
        life = self.versions[version.type, version.id]
        labels = {label for each in life for label in labels_of(each.content)}
        # A deletion says of the time what the version that it deleted said.
        lasting = version if version.resource is not None else life[version.number - 2]
        start, end = clinical_time(version.type, version.content, lasting.at)
        return Record(
            {
                Attribute.TYPE: frozenset({version.type}),
                Attribute.ID: frozenset({f"{version.type}/{version.id}"}),
                Attribute.CUSTODIAN: frozenset({version.organization}),
                Attribute.LABEL: frozenset(labels),
                Attribute.CODE: frozenset(
                    code for name, value in version.content.items() if name != "meta" for code in codings(value)
                ),
                Attribute.PROFILE: frozenset(version.content.get("meta", {}).get("profile", ())),
                Attribute.AUTHOR: frozenset(authors_of(version.content)),
                Attribute.REFERS: frozenset(mentions_of({**version.content, "meta": {}})),
            },
            frozenset(map(self.person_of, patients_of(version.type, version.id, version.content))),
            start,
            end,
        )


def instant_of(group: int) -> int:
    """Return when a group of steps is stored."""
    return microseconds(datetime(2026, 6, 10, 8, group, tzinfo=UTC))


def references(value: Any) -> Iterator[str]:
    """Yield the relative references, without version, of a Reference or a list of them."""
    for each in value if isinstance(value, list) else [value] if value else []:
        if reference := each.get("reference"):
            yield reference.removeprefix(BASE + "/").partition("/_history/")[0]


# CompartmentDefinition "patient", in words of elements.
COMPARTMENT = {
    "Observation": ("subject", "performer"),
    "Condition": ("subject", "asserter"),
    "Encounter": ("subject",),
    "MedicationRequest": ("subject",),
    "Consent": ("patient",),
    "RelatedPerson": ("patient",),
    "List": ("subject",),
    "Composition": ("subject", "author"),
    "CareTeam": ("subject",),
}


# The same of elements within others.
PARTS = {
    "Appointment": [("participant", "actor")],
    "CareTeam": [("participant", "member")],
    "Group": [("member", "entity")],
}


def patients_of(type: str, id: str, resource: Json) -> set[str]:
    """Return the ids of the Patients in whose compartments a resource is."""
    named = [each for name in COMPARTMENT.get(type, ()) for each in references(resource.get(name))]
    if type == "Patient":
        named += [f"Patient/{id}", *(each for link in resource.get("link", ()) for each in references(link["other"]))]
    for parts, element in PARTS.get(type, ()):
        named += [each for part in resource.get(parts, ()) for each in references(part.get(element))]
    return {each.removeprefix("Patient/") for each in named if each.startswith("Patient/")}


def labels_of(resource: Json) -> set[str]:
    found = (canonical_label(each.get("system"), each["code"]) for each in resource.get("meta", {}).get("security", ()))
    return {label for label in found if label}


def codings(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from codings(each)
    elif isinstance(value, dict):
        if "system" in value and isinstance(value.get("code"), str) and "value" not in value:
            yield f"{value['system']}|{value['code']}"
        for each in value.values():
            yield from codings(each)


def mentions_of(value: Any) -> Iterator[str]:
    """Yield every reference that stands anywhere in a value."""
    if isinstance(value, list):
        for each in value:
            yield from mentions_of(each)
    elif isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield from references(value)
        for each in value.values():
            yield from mentions_of(each)


def authors_of(resource: Json) -> Iterator[str]:
    for name in ("author", "performer", "requester", "recorder", "asserter", "informant", "sender"):
        yield from references(resource.get(name))


def clinical_time(type: str, resource: Json, at: int) -> tuple[float, float]:
    """Return when a record happened or applies; where it does not say, when it was stored."""
    if type == "Condition":
        times = [resource.get("onsetDateTime") or resource.get("recordedDate")]
    elif type == "Observation":
        times = [resource.get("effectiveDateTime") or resource.get("effectivePeriod")]
    else:
        name = {"Encounter": "period", "MedicationRequest": "authoredOn", "Appointment": "start", "Consent": "dateTime"}
        name |= {"List": "date", "Composition": "date", "CareTeam": "period"}
        times = [resource.get(name.get(type, ""))]
    (time,) = times
    if not time:
        return at, at
    first, last = (time.get("start"), time.get("end")) if isinstance(time, dict) else (time, time)
    begin, end = span(first, UTC), span(last, UTC)
    return microseconds(begin[0]) if begin else float("-inf"), microseconds(end[1]) - 1 if end else float("inf")
