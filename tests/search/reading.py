"""Short ways to ask and to file, for the tests of the parameter types."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl

from fhir_server.definitions.registry import registry
from fhir_server.search.ast import Clause, needs_body
from fhir_server.search.matches import Matches
from fhir_server.search.parse import Asked, parse
from fhir_server.search.project import Projector
from tests.search.filed import admits

NOW = datetime(2024, 6, 1, tzinfo=UTC)
CHINA = timezone(timedelta(hours=8))
BASE = "http://fhir.example.org/r4"

PROJECT = Projector(registry(), zone=CHINA, base_url=BASE)
MATCHES = Matches(registry(), zone=CHINA, base_url=BASE)


def ask(query: str, *, lenient: bool = False) -> Asked:
    """Return what "Type?name=value&..." asks for; "+" and "%" are taken as they stand in a URL."""
    type, _, text = query.partition("?")
    pairs = parse_qsl(text, keep_blank_values=True)
    return parse(registry(), type, pairs, lenient=lenient, zone=CHINA, now=NOW, base_url=BASE)


def clause(query: str) -> Clause:
    return ask(query).clause


def finds(query: str, resource: dict[str, Any]) -> bool:
    """Return whether a search finds a resource; index and oracle have to say the same."""
    asked = clause(query)
    read = MATCHES(asked, resource)
    filed = admits(asked, PROJECT(resource), id=resource.get("id", ""))
    assert filed if read else (needs_body(asked) or not filed)
    return read
