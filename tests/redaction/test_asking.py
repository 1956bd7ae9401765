"""The clauses of a search where something is withheld (consent.md, T32), against the records as they are shown.

The guarded clause, decided record by record with the predicates of the obligations, must hold exactly where the plain
clause holds on what is shown.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from consent_engine.obligations import Obligation
from consent_engine.predicate import EVERYTHING, AnyOf, Attribute, Predicate, holds
from fhir_server.definitions.registry import registry
from fhir_server.redaction.asking import guarded, pointing, untouched
from fhir_server.redaction.elements import masked
from fhir_server.search.ast import And, Clause, Filed, Has, IdIn, Missing, Not, Obliged, Or, needs_body, transform
from fhir_server.search.matches import Matches
from fhir_server.search.parse import parse
from tests.consent_engine.build import record
from tests.redaction.world import PHONE, WORD, measured, observation, patient

Json = dict[str, Any]
MATCHES = Matches(registry(), zone=UTC)
OF_P: Predicate = AnyOf(Attribute.ID, frozenset({"Patient/p", "Observation/p"}))
DUE = tuple(
    (Obligation("MASK", element), OF_P)
    for element in ("Patient.telecom", "Patient.name.given", "Patient.birthDate", "Observation.value")
)
META = {"meta": {"lastUpdated": "2026-01-01T00:00:00Z"}}
RECORDS = [
    {**patient("p"), **META},
    {**patient("q"), **META},
    {**observation("p", "p", **measured(5)), **META},
    {**observation("q", "q", **measured(5)), **META},
]
ASKED = [
    ("Patient", "phone", PHONE),
    ("Patient", "phone:not", PHONE),
    ("Patient", "phone:missing", "true"),
    ("Patient", "phone:missing", "false"),
    ("Patient", "birthdate", "lt2000"),
    ("Patient", "birthdate", "1980-01-01,1990-01-01"),
    ("Patient", "birthdate:missing", "true"),
    ("Patient", "name", "San"),
    ("Patient", "name", "Zhang"),
    ("Patient", "given:missing", "true"),
    ("Patient", "given:exact", "Sanp"),
    ("Patient", "_text", WORD),
    ("Patient", "_content", WORD),
    ("Patient", "_content", "Zhang"),
    ("Patient", "_filter", f'not (phone eq "{PHONE}" or family eq Zhang)'),
    ("Patient", "_filter", f'phone eq "{PHONE}" and gender eq female'),
    ("Patient", "gender", "female"),
    ("Patient", "_id", "p"),
    ("Observation", "value-quantity", "gt1"),
    ("Observation", "code-value-quantity", "1-8$5"),
    ("Observation", "combo-value-quantity", "5"),
    ("Observation", "value-quantity:missing", "true"),
    ("Observation", "code", "1-8"),
]


def clause(type: str, name: str, text: str) -> Clause:
    now = datetime(2026, 6, 15, tzinfo=UTC)
    return parse(
        registry(), type, ((name, text),), lenient=False, zone=UTC, now=now, base_url="https://x.example"
    ).clause


def decided(guard: Clause, resource: Json) -> bool:
    """Decide a guarded clause on a record as the store does: its predicates on the record, the rest on what is shown."""

    def known(part: Clause) -> Clause:
        if not isinstance(part, Obliged):
            return part
        return And(()) if holds(part.predicate, record(f"{part.type}/{resource['id']}")) else Or(())

    return MATCHES(transform(guard, known), shown(resource))


def shown(resource: Json) -> Json:
    bound = {each.element for each, when in DUE if holds(when, record(f"{resource['resourceType']}/{resource['id']}"))}
    return masked(registry(), resource, bound)


@pytest.mark.parametrize("asked", ASKED, ids=lambda each: f"{each[0]}?{each[1]}={each[2]}")
def test_a_guarded_clause_holds_where_the_plain_one_holds_on_what_is_shown(asked: tuple[str, str, str]) -> None:
    type, plain = asked[0], clause(*asked)
    guard = guarded(registry(), type, plain, DUE)
    for each in RECORDS:
        if each["resourceType"] == type:
            assert decided(guard, each) == MATCHES(plain, shown(each)), each["id"]


@pytest.mark.parametrize("asked", ASKED, ids=lambda each: f"{each[0]}?{each[1]}={each[2]}")
def test_where_nothing_is_withheld_nothing_is_asked_otherwise(asked: tuple[str, str, str]) -> None:
    plain = clause(*asked)
    assert guarded(registry(), asked[0], plain, ()) == plain


def test_the_index_decides_where_no_value_is_left() -> None:
    for name in ("phone", "birthdate", "_text"):
        assert not needs_body(guarded(registry(), "Patient", clause("Patient", name, "1980"), DUE))
    assert needs_body(guarded(registry(), "Patient", clause("Patient", "name", "San"), DUE))


def test_parts_of_a_conjunction_stay_in_sight() -> None:
    """The planner looks for ids, persons and relations among the parts of the outermost conjunction."""
    asked = And((IdIn(("p",)), Filed("phone", ("phone||1",)), Missing("birthdate", True)))
    found = guarded(registry(), "Patient", asked, DUE)
    assert isinstance(found, And)
    assert found.parts[:3] == (*asked.parts[:2], Not(Obliged("Patient", OF_P)))


def test_a_reference_that_is_withheld_points_nowhere() -> None:
    due = ((Obligation("MASK", "Observation.subject"), OF_P),)
    has = Has("Observation", "patient", Filed("code", ("code||1-8",)))
    assert pointing(registry(), has, due).clause == And((has.clause, Not(Obliged("Observation", OF_P))))
    assert pointing(registry(), has, DUE) is has


def test_sections_of_compositions_are_always_decided_on_what_is_shown() -> None:
    for name in ("section", "entry", "_text", "_content"):
        assert needs_body(guarded(registry(), "Composition", clause("Composition", name, "x"), ()))
        assert not untouched(registry(), "Composition", name, ())
    for name in ("title", "patient", "date", "_id"):
        plain = clause("Composition", name, "2020")
        assert guarded(registry(), "Composition", plain, ()) == plain
        assert untouched(registry(), "Composition", name, ())


def test_what_is_withheld_of_all_records_leaves_no_value_in_any() -> None:
    due = ((Obligation("MASK", "Patient.telecom"), EVERYTHING),)
    guard = guarded(registry(), "Patient", clause("Patient", "phone", PHONE), due)
    assert not any(decided(guard, each) for each in RECORDS if each["resourceType"] == "Patient")
