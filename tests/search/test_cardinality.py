"""Which parameters have one value at most, from the definitions."""

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.search.cardinality import single_valued


@pytest.mark.parametrize(
    ("type", "code", "single"),
    [
        ("Patient", "gender", True),
        ("Patient", "organization", True),
        ("Patient", "identifier", False),
        ("Patient", "family", False),
        ("Patient", "death-date", False),  # an expression that is more than a path
        ("Observation", "code", True),
        ("Observation", "patient", True),  # kept to one type
        ("Observation", "performer", False),
        ("Observation", "component-code", False),
        ("Encounter", "class", True),
        ("ValueSet", "url", True),
        ("Location", "near", True),
        ("Patient", "_tag", False),
    ],
)
def test_a_parameter_has_one_value_or_may_have_several(type: str, code: str, single: bool) -> None:
    assert single_valued(registry(), registry().parameters(type)[code]) is single
