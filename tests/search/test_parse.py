"""Reading a request: R4 Search, and what this server refuses (ADR 0002)."""

from datetime import UTC, datetime

import pytest

from fhir_server.errors import InvalidSearchValue, Problem, TooCostly, UnsupportedParameter
from fhir_server.search.asked import Include, SortKey
from fhir_server.search.ast import And, Chain, Filed, IdIn, InSpan, Missing, Not, Or, PersonReference, Updated
from tests.search.reading import MATCHES, ask, clause, finds


def test_a_search_without_parameters_finds_everything() -> None:
    asked = ask("Patient?")
    assert asked.clause == And(())
    assert (asked.sort, asked.count, asked.includes, asked.total, asked.summary) == ((), None, (), None, None)


def test_a_repeated_parameter_is_and_a_comma_is_or() -> None:
    both = clause("Patient?gender=male,female&gender=other")
    assert isinstance(both, And)
    assert [part.terms for part in both.parts if isinstance(part, Filed)] == [
        ("gender||male", "gender||female"),
        ("gender||other",),
    ]


def test_ids_and_times_of_update_stand_outside_the_index() -> None:
    assert clause("Patient?_id=a,b") == IdIn(("a", "b"))
    asked = clause("Patient?_lastUpdated=gt2024-01-01T00:00:00Z")
    assert isinstance(asked, Updated)
    patient = {"resourceType": "Patient", "id": "a", "meta": {"lastUpdated": "2024-01-01T00:00:00.500Z"}}
    assert not MATCHES(asked, patient)
    assert MATCHES(clause("Patient?_lastUpdated=2024-01-01T00:00:00Z"), patient)
    assert MATCHES(clause("Patient?_lastUpdated=ne2023,2022"), patient)
    assert MATCHES(clause("Patient?_lastUpdated=ge2024-01-01T08:00:00%2B08:00"), patient)
    assert MATCHES(clause("Patient?_lastUpdated:missing=false&_id:missing=false"), patient)
    assert not MATCHES(clause("Patient?_lastUpdated:missing=true"), patient)


def test_missing_is_of_terms_or_of_spans() -> None:
    assert clause("Patient?name:missing=true") == Missing("name", ranged=False)
    assert clause("Patient?birthdate:missing=false") == Not(Missing("birthdate", ranged=True))


@pytest.mark.parametrize(
    "query",
    [
        "name:missing=maybe",
        "name:missing=",
        "birthdate=x",
        "birthdate=zz2020",
        "gender=|",
        "gender=a,,b",
        "name=,",
        "name=",
        "_id=",
        "_count=-1",
        "_count=x",
        "_count=1.0",
        "_count=９",
        "_count=1&_count=2",
        "_total=some",
        "_sort=",
        "_include=Patient",
        "_include=Observation:subject",
        "_include=Patient:name",
        "_include=Patient:organization:Group",
        "_include=Patient:nothing",
        "_sort=birthdate&_sort=_id",
        "_lastUpdated=x",
        "_id=a,",
    ],
)
def test_values_that_cannot_be_read_are_refused(query: str) -> None:
    with pytest.raises(InvalidSearchValue):
        ask(f"Patient?{query}")


@pytest.mark.parametrize(
    "query",
    [
        "colour=red",
        "name:nonsense=x",
        "_id:exact=a",
        "_lastUpdated:exact=2020",
        "birthdate:not=2020",
        "_text=x",
        "_has:Observation:patient:code=x",
        "_revinclude=Observation:subject",
        "_include:iterate=Patient:organization",
        "_include=*",
        "_include=Patient:*",
        "_sort=name",
        "_sort=birthdate,_id",
        "_sort=nothing",
        "_summary=true",
        "_elements=name",
        "_filter=x",
        "general-practitioner.organization.name=x",
        "name.family=x",
        "_count:x=1",
        "organization:Patient.name=x",
        "organization.nothing=x",
        "organization._has:Patient:x:y=z",
        "gender:=male",
    ],
)
def test_what_is_not_supported_is_refused(query: str) -> None:
    with pytest.raises(UnsupportedParameter):
        ask(f"Patient?{query}")


def test_lenient_handling_leaves_out_the_unknown_and_the_empty_only() -> None:
    asked = ask("Patient?colour=red&name=&gender=male&_elements=id&organization.nothing=x&_count=", lenient=True)
    assert asked.ignored == ("colour", "name", "_elements", "organization.nothing", "_count")
    assert asked.used == (("gender", "male"),)
    assert isinstance(asked.clause, Filed)


@pytest.mark.parametrize(
    "query", ["name:nonsense=x", "birthdate=x", "_has:Observation:patient:code=x", "_revinclude=x", "_sort=name"]
)
def test_lenient_handling_still_refuses_what_it_knows(query: str) -> None:
    with pytest.raises(Problem) as refused:
        ask(f"Patient?{query}", lenient=True)
    assert refused.value.status == 400


def test_the_result_parameters() -> None:
    asked = ask(
        "Observation?_sort=-date&_count=20&_total=accurate&_format=json&_pretty=true&_summary=false"
        "&_include=Observation:subject:Patient&_include=Observation:encounter"
    )
    assert asked.sort == (SortKey("date", descending=True),)
    assert (asked.count, asked.total, asked.summary) == (20, "accurate", None)
    assert asked.includes == (Include("Observation", "subject", "Patient"), Include("Observation", "encounter"))
    assert asked.clause == And(())
    assert [name for name, _ in asked.used] == ["_sort", "_count", "_total", "_summary", "_include", "_include"]


@pytest.mark.parametrize("query", ["_count=0", "_summary=count", "_summary=count&_count=5", "_count=0&_summary=false"])
def test_a_count_only(query: str) -> None:
    assert ask(f"Patient?{query}").summary == "count"


@pytest.mark.parametrize(
    ("text", "key"), [("_lastUpdated", SortKey("_lastUpdated", False)), ("-_id", SortKey("_id", True))]
)
def test_sorting_by_what_every_resource_has(text: str, key: SortKey) -> None:
    assert ask(f"Patient?_sort={text}").sort == (key,)


def test_a_chain_is_one_step_to_each_target_that_has_the_parameter() -> None:
    named = clause("Observation?subject:Patient.name:exact=Li")
    assert isinstance(named, Chain)
    [(target, named_so)] = named.clause_by_target
    assert isinstance(named_so, Filed)
    assert (target, named_so.terms) == ("Patient", ("name:exact|Li",))
    identified = clause("Observation?subject.identifier=x")
    assert isinstance(identified, Chain)
    assert set(identified.targets) == {"Device", "Group", "Location", "Patient"}
    born = clause("Observation?patient.birthdate=ge2020,1990")
    assert isinstance(born, Chain)
    assert isinstance(born.clause_by_target[0][1], InSpan)
    onwards = clause("Condition?encounter.subject=Patient/1")
    assert isinstance(onwards, Chain)
    assert isinstance(onwards.clause_by_target[0][1], PersonReference)


def test_a_target_whose_parameter_does_not_take_the_value_is_found_nowhere() -> None:
    chained = clause("Provenance?target.date=2020")
    assert isinstance(chained, Chain)
    dates = dict(chained.clause_by_target)
    assert isinstance(dates["Observation"], InSpan)
    with pytest.raises(InvalidSearchValue):
        ask("Observation?subject.birthdate=x")
    mixed = clause("Provenance?target.start=dayshift")  # a date of Slot, a token of GraphDefinition
    assert isinstance(mixed, Chain)
    assert dict(mixed.clause_by_target)["Slot"] == Or(())
    assert isinstance(dict(mixed.clause_by_target)["GraphDefinition"], Filed)


@pytest.mark.parametrize(
    "query",
    ["birthdate=Zhang1990", "gender:zhang=Zhang", "Zhang三=Zhang", "_count=Zhang", "organization=a.Zhang&x=Zhang"],
)
def test_a_message_never_repeats_a_value(query: str) -> None:
    with pytest.raises(Problem) as refused:
        ask(f"Patient?{query}")
    assert "Zhang" not in refused.value.diagnostics


def test_the_number_of_values_has_a_limit() -> None:
    with pytest.raises(TooCostly):
        ask("Patient?_id=" + ",".join(map(str, range(1001))))


@pytest.mark.parametrize("text", [".*", "$where", '{"$ne":1}', "$gt", "{$ne:1}"])
def test_text_that_looks_like_an_operator_is_data(text: str) -> None:
    assert clause(f"Patient?_id={text}") == IdIn((text,))
    assert finds(f"Patient?identifier={text}", {"resourceType": "Patient", "identifier": [{"value": text}]})
    assert not finds(f"Patient?identifier={text}", {"resourceType": "Patient", "identifier": [{"value": "other"}]})


def test_the_time_of_the_request_is_an_argument() -> None:
    from fhir_server.definitions.registry import registry
    from fhir_server.search.parse import parse

    def at(year: int) -> object:
        now = datetime(year, 1, 1, tzinfo=UTC)
        return parse(
            registry(), "Patient", [("birthdate", "ap2000")], lenient=False, zone=UTC, now=now, base_url=None
        ).clause

    assert at(2010) == at(2010) != at(2020)
