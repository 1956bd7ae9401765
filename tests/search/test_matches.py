"""The oracle's own rules: chains, persons, and clauses that the planner made of terms."""

from typing import Any

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.search.ast import Filed, InSpan, Not, PersonReference, SpanTest
from fhir_server.search.matches import Matches
from tests.search.reading import CHINA, MATCHES, clause

PATIENTS = {
    "Patient/1": {"resourceType": "Patient", "id": "1", "name": [{"family": "Li"}]},
    "Patient/2": {"resourceType": "Patient", "id": "2", "name": [{"family": "Wu"}]},
}
FOLLOWING = Matches(
    registry(), zone=CHINA, follow=lambda reference: [PATIENTS[reference]] if reference in PATIENTS else []
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


def test_a_person_is_found_under_each_of_their_patients() -> None:
    person = PersonReference("subject", ("Patient/1", "Patient/2"), ("subject|Patient/1",))
    assert MATCHES(person, observation("Patient/2"))
    assert not MATCHES(person, observation("Patient/3"))


def test_a_clause_of_terms_alone_is_read_from_the_index_entries() -> None:
    assert MATCHES(Filed("subject", ("subject|Patient/1",)), observation("Patient/1"))
    assert MATCHES(Not(Filed("subject", ("subject|Patient/1",))), observation("Patient/2"))
    assert not MATCHES(InSpan("date", (SpanTest(()),)), observation("Patient/1"))
