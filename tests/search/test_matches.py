"""The oracle's own rules: chains, persons, and clauses that the planner made of terms."""

from typing import Any

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.errors import InvalidSearchValue
from fhir_server.search.ast import Filed, InSpan, Not, PersonReference, SpanTest
from fhir_server.search.matches import Matches
from tests.search.reading import CHINA, MATCHES, clause

LISTED: list[dict[str, Any]] = [
    {"item": {"reference": "Patient/1"}},
    {"item": {"reference": "Patient/2"}, "deleted": True},
    {"item": {"reference": "Observation/x"}},
    {"item": {"display": "somebody"}},
]
RESOURCES: dict[str, dict[str, Any]] = {
    "Patient/1": {"resourceType": "Patient", "id": "1", "name": [{"family": "Li"}]},
    "Patient/2": {"resourceType": "Patient", "id": "2", "name": [{"family": "Wu"}]},
    "List/1": {"resourceType": "List", "id": "1", "entry": LISTED},
    "Observation/x": {
        "resourceType": "Observation",
        "id": "x",
        "subject": {"reference": "Patient/2"},
        "status": "final",
    },
}
FOLLOWING = Matches(
    registry(),
    zone=CHINA,
    follow=lambda reference: [RESOURCES[reference]] if reference in RESOURCES else [],
    every=lambda type: [each for each in RESOURCES.values() if each["resourceType"] == type],
)


def observation(reference: str) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": "o", "subject": {"reference": reference}}


def test_a_chain_is_followed_to_what_the_reference_leads_to() -> None:
    asked = clause("Observation?subject.name=li")
    assert FOLLOWING(asked, observation("Patient/1"))
    assert not FOLLOWING(asked, observation("Patient/2"))
    assert not FOLLOWING(asked, observation("Patient/3"))
    assert not FOLLOWING(asked, observation("http://other.org/Patient/1"))
    with pytest.raises(ValueError, match="chain"):
        MATCHES(asked, observation("Patient/1"))


def test_what_stands_in_a_list_and_is_not_deleted_there_is_listed() -> None:
    assert [FOLLOWING(clause("Patient?_list=1"), RESOURCES[f"Patient/{id}"]) for id in "12"] == [True, False]
    assert FOLLOWING(clause("Observation?_list=1"), RESOURCES["Observation/x"])
    assert not FOLLOWING(clause("Patient?_list=2"), RESOURCES["Patient/1"])
    with pytest.raises(ValueError, match="list"):
        MATCHES(clause("Patient?_list=1"), RESOURCES["Patient/1"])


def test_has_is_asked_of_all_that_may_refer() -> None:
    asked = clause("Patient?_has:Observation:patient:status=final")
    assert [FOLLOWING(asked, RESOURCES[f"Patient/{id}"]) for id in "12"] == [False, True]
    nested = clause("Patient?_has:Observation:patient:_has:List:item:_id=1")
    assert [FOLLOWING(nested, RESOURCES[f"Patient/{id}"]) for id in "12"] == [False, True]
    with pytest.raises(ValueError, match="_has"):
        MATCHES(asked, RESOURCES["Patient/1"])


@pytest.mark.parametrize(
    ("near", "found"),
    [
        ("39.9|116.4|1|km", True),
        ("31.2|121.5|1076|km", True),
        ("31.2|121.5|1070|km", False),
        ("39.9|-243.6|1|km", None),
        ("39.9|116.4|0", True),
    ],
)
def test_a_distance_is_along_a_great_circle(near: str, found: bool | None) -> None:
    beijing = {"resourceType": "Location", "position": {"latitude": 39.9, "longitude": 116.4}}
    if found is None:
        with pytest.raises(InvalidSearchValue):
            clause(f"Location?near={near}")
    else:
        assert MATCHES(clause(f"Location?near={near}"), beijing) is found
        assert not MATCHES(clause(f"Location?near={near}"), {"resourceType": "Location"})


def test_a_person_is_found_under_each_of_their_patients() -> None:
    person = PersonReference("subject", ("Patient/1", "Patient/2"), ("subject|Patient/1",))
    assert MATCHES(person, observation("Patient/2"))
    assert not MATCHES(person, observation("Patient/3"))


def test_a_clause_of_terms_alone_is_read_from_the_index_entries() -> None:
    assert MATCHES(Filed("subject", ("subject|Patient/1",)), observation("Patient/1"))
    assert MATCHES(Not(Filed("subject", ("subject|Patient/1",))), observation("Patient/2"))
    assert not MATCHES(InSpan("date", (SpanTest(()),)), observation("Patient/1"))
