"""The cases of shared/data/search-cases: R4's answers, through the index and through the oracle."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest

from fhir_server.definitions.registry import registry
from fhir_server.errors import Problem
from fhir_server.search.ast import needs_body
from fhir_server.search.matches import Matches
from fhir_server.search.parse import Asked, parse
from fhir_server.search.project import Projector
from tests.search.filed import admits
from tests.shared import SHARED

KINDS = ("date", "number", "quantity", "reference", "string", "token", "uri")
NOW = datetime(2024, 1, 1, tzinfo=UTC)

# Where R4 leaves room and this server answers otherwise than the cases suggest.
ANSWERED_OTHERWISE = {
    # Times are kept to the microsecond: a seventh digit is dropped.
    *(
        f"Observation?date={value}Z&_tag={{tag}}"
        for value in (
            "lt1980-05-11T16:32:15.5000001",
            "gt1980-05-11T16:32:15.5000001",
            "le1980-05-11T16:32:15.5000001",
            "ge1980-05-11T16:32:15.5000001",
            "eb1980-05-11T16:32:15.5000001",
            "lt1981-01-01T00:00:00.0000001",
            "le1981-01-01T00:00:00.0000001",
        )
    ),
    # A fragment is part of its step; a text that is no URL stands above and below nothing but itself.
    "ValueSet?url:above=urn%3A%2F%2Flocalhost%2Ftest&_tag={tag}",
    "ValueSet?url:above=http%3A%2F%2Fexample.org%2Frdf%2354135-9-9-10&_tag={tag}",
    "ValueSet?url:below=http&_tag={tag}",
}


def _cases() -> list[Any]:
    made = []
    for kind in KINDS:
        content = json.loads((SHARED / "data" / "search-cases" / f"{kind}.json").read_text(encoding="utf-8"))
        made += [pytest.param(content["resources"], case, id=case["query"][:90]) for case in content["cases"]]
    return made


def _asked(query: str) -> Asked:
    type, _, text = query.partition("?")
    pairs = parse_qsl(text, keep_blank_values=True)
    return parse(registry(), type, pairs, lenient=False, zone=UTC, now=NOW, base_url=None)


PROJECT = Projector(registry(), zone=UTC)
MATCHES = Matches(registry(), zone=UTC)


@pytest.mark.parametrize(("resources", "case"), _cases())
def test_the_answer_is_that_of_r4(resources: list[dict[str, Any]], case: dict[str, Any]) -> None:
    if "status" in case:
        with pytest.raises(Problem) as refused:
            _asked(case["query"])
        assert refused.value.status == case["status"]
        return
    clause = _asked(case["query"]).clause
    type = case["query"].partition("?")[0]
    of_type = {at: resource for at, resource in enumerate(resources) if resource["resourceType"] == type}
    by_reading = [at for at, resource in of_type.items() if MATCHES(clause, resource)]
    by_index = [at for at, resource in of_type.items() if admits(clause, PROJECT(resource))]
    if needs_body(clause):
        assert {*by_reading} <= {*by_index}
    else:
        assert by_index == by_reading
    if case["query"] in ANSWERED_OTHERWISE:
        assert case["doubt"]
        assert by_reading != case["expect"]
    else:
        assert by_reading == case["expect"]
