"""Reading a request: R4 Search, and what this server refuses (ADR 0002)."""

from datetime import UTC, datetime

import pytest

from fhir_server.errors import InvalidSearchValue, Problem, TooCostly, UnsupportedParameter
from fhir_server.search.asked import Include, SortKey
from fhir_server.search.ast import (
    And,
    Chain,
    Filed,
    Has,
    IdIn,
    InSpan,
    Listed,
    Missing,
    Not,
    Or,
    PersonReference,
    Updated,
)
from fhir_server.search.types.string import Exact
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
    assert clause("Patient?_id:not=a,b") == Not(IdIn(("a", "b")))
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
        "_id:missing=x",
        "_list=",
        "_list=a,",
        "_list=List/1",
        "_has:Observation:patient:date=x",
        "organization.partof._lastUpdated=x",
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
        "_has:Observation:code=x",
        "_has=x",
        "_has:=x",
        "_hash:Observation:patient:code=x",
        "_has:Observation:patient:=x",
        "_has:Nothing:patient:code=x",
        "_has:Observation:nothing:code=x",
        "_has:Observation:code:code=x",
        "_has:Observation:performer:nothing=x",
        "_has:Observation:encounter:code=x",
        "_has:Observation:patient:code:nonsense=x",
        "_list=$current-allergies",
        "_list:not=1",
        "_list.code=1",
        "_sort=nothing",
        "name.family=x",
        "_count:x=1",
        "organization:Patient.name=x",
        "organization.nothing=x",
        "organization.partof.nothing=x",
        "organization.name.family=x",
        "organization:identifier.name=x",
        "organization._has:Patient:x:y=z",
        "gender:=male",
    ],
)
def test_what_is_not_supported_is_refused(query: str) -> None:
    with pytest.raises(UnsupportedParameter):
        ask(f"Patient?{query}")


def test_lenient_handling_leaves_out_the_unknown_and_the_empty_only() -> None:
    asked = ask("Patient?colour=red&name=&gender=male&_query=id&organization.nothing=x&_count=", lenient=True)
    assert asked.ignored == ("colour", "name", "_query", "organization.nothing", "_count")
    assert asked.used == (("gender", "male"),)
    assert isinstance(asked.clause, Filed)


@pytest.mark.parametrize(
    "query",
    [
        "name:nonsense=x",
        "birthdate=x",
        "_has:Observation:patient:date=x",
        "_has:Nothing:patient:code=x",
        "_list=$current-problems",
        "_filter=name eq",
        "_filter=colour eq red",
    ],
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
    assert mixed.targets == ("GraphDefinition",)
    assert isinstance(dict(mixed.clause_by_target)["GraphDefinition"], Filed)


def test_a_chain_has_several_steps() -> None:
    led = clause("Observation?subject:Patient.organization.partof.name:exact=x")
    for param, target in (("subject", "Patient"), ("organization", "Organization"), ("partof", "Organization")):
        assert isinstance(led, Chain)
        assert (led.param, led.targets) == (param, (target,))
        [(_, led)] = led.clause_by_target
    assert led == Filed("name", ("name:exact|x",), (Exact("x"),))
    through_any = clause("Observation?subject.organization.name=x")
    assert isinstance(through_any, Chain)
    assert set(through_any.targets) == {"Device", "Location", "Patient"}


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("_id=a,b", IdIn),
        ("_id:not=a", Not),
        ("_lastUpdated=gt2020", Updated),
        ("_tag=a|b", Filed),
        ("identifier=|x", Filed),
        ("general-practitioner:identifier=x", Filed),
        ("birthdate:missing=true", Missing),
        ("_list=a", Listed),
        ("_list=a,b", Or),
        ("_has:Group:member:_id=102", Has),
        ("link.name=x", Chain),
    ],
)
def test_a_chain_ends_in_whatever_its_target_can_be_asked(end: str, kind: type) -> None:
    led = clause(f"Observation?subject:Patient.{end}")
    assert isinstance(led, Chain)
    [(_, last)] = led.clause_by_target
    assert isinstance(last, kind)
    assert last == clause(f"Patient?{end}")


def test_has_asks_what_refers_to_a_resource() -> None:
    asked = clause("Patient?_has:Observation:patient:code=1234-5")
    assert asked == Has("Observation", "patient", clause("Observation?code=1234-5"))
    nested = clause("Patient?_has:Observation:patient:_has:AuditEvent:entity:agent=MyUserId")
    assert nested == Has("Observation", "patient", Has("AuditEvent", "entity", clause("AuditEvent?agent=MyUserId")))
    chained = clause("Patient?_has:Observation:patient:performer:Practitioner.name=x")
    assert chained == Has("Observation", "patient", clause("Observation?performer:Practitioner.name=x"))
    several = clause("Patient?_has:Observation:patient:code:not=a&_has:Group:member:_id=b,c")
    assert several == And(
        (Has("Observation", "patient", clause("Observation?code:not=a")), Has("Group", "member", IdIn(("b", "c"))))
    )


def test_what_every_type_has_can_be_asked_of_all_types_at_once() -> None:
    assert clause("Resource?_id=a") == IdIn(("a",))
    assert clause("Resource?_list=a") == Listed("a")
    assert clause("Resource?_has:Provenance:target:recorded=2020") == clause(
        "Patient?_has:Provenance:target:recorded=2020"
    )
    with pytest.raises(UnsupportedParameter):
        ask("Resource?name=x")


@pytest.mark.parametrize(
    "query",
    [
        "Organization?" + ".".join(["partof"] * 6) + ".name=x",
        "Patient?" + "_has:Patient:link:" * 6 + "name=x",
        "Patient?" + "link." * 10_000 + "name=x",
        "Patient?" + "_has:Patient:link:" * 10_000 + "name=x",
        "Provenance?target.target.target.target._lastUpdated=2020",
        "Provenance?target._tag=" + ",".join(map(str, range(900))),
    ],
)
def test_the_steps_and_the_branches_of_chains_have_a_limit(query: str) -> None:
    with pytest.raises(TooCostly):
        ask(query)


def test_the_longest_chain() -> None:
    assert isinstance(clause("Organization?" + "partof." * 5 + "name=x"), Chain)
    assert isinstance(clause("Provenance?target.subject.name=x"), Chain)


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
