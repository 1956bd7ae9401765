"""Modifiers: R4 Search, "Modifiers"; each type of parameter takes those of the table, and refuses all others."""

from __future__ import annotations

import pytest

from fhir_server.errors import UnsupportedParameter
from fhir_server.search.modifiers import MODIFIERS
from tests.search.reading import ask

# A parameter of each type, with a value that it takes; and with what other value where a modifier asks for one.
PARAMETERS = {
    "composite": ("Observation?code-value-quantity", "a$1"),
    "date": ("Patient?birthdate", "2020"),
    "number": ("RiskAssessment?probability", "1"),
    "quantity": ("Observation?value-quantity", "1"),
    "reference": ("Observation?subject", "Patient/1"),
    "special": ("Location?near", "1|2"),
    "string": ("Patient?address", "张三"),
    "token": ("Patient?identifier", "s|c"),
    "uri": ("ValueSet?url", "http://a.org"),
}
VALUES = {"missing": "true", "of-type": "s|c|v", "in": "http://a.org", "not-in": "http://a.org"}
R4 = [
    "missing",
    "exact",
    "contains",
    "not",
    "text",
    "in",
    "not-in",
    "above",
    "below",
    "identifier",
    "of-type",
    "Patient",
]
CASES = [(type, modifier) for type in PARAMETERS for modifier in [*R4, "nonsense", "Missing", "iterate"]]


def taken(type: str) -> set[str]:
    return {*MODIFIERS[type], *(["Patient"] if type == "reference" else [])}


@pytest.mark.parametrize(("type", "modifier"), CASES)
def test_a_parameter_takes_the_modifiers_of_its_type_and_no_others(type: str, modifier: str) -> None:
    name, value = PARAMETERS[type]
    query = f"{name}:{modifier}={VALUES.get(modifier, value)}"
    if modifier in taken(type):
        ask(query)
        return
    with pytest.raises(UnsupportedParameter) as refused:
        ask(query)
    assert all(f":{each}" in refused.value.diagnostics for each in MODIFIERS[type])
    assert modifier == "missing" or value not in refused.value.diagnostics


def test_the_table_has_every_type_of_parameter() -> None:
    assert MODIFIERS.keys() == PARAMETERS.keys()


def test_names_take_the_modifiers_of_a_string_and_sounds_none() -> None:
    with pytest.raises(UnsupportedParameter, match=":missing, :exact, :contains"):
        ask("Patient?name:text=x")
    with pytest.raises(UnsupportedParameter, match="takes :missing\\."):
        ask("Patient?phonetic:exact=x")
