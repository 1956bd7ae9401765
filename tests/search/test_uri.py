"""Uri parameters: R4 Search, "uri"."""

import pytest

from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.ast import Text
from tests.search.reading import ask, clause, finds


@pytest.mark.parametrize(
    ("query", "url", "found"),
    [
        ("url=http://a.org/b", "http://a.org/b", True),
        ("url=http://a.org/b/", "http://a.org/b", False),
        ("url=http://a.org/B", "http://a.org/b", False),
        ("url:below=http://a.org/b", "http://a.org/b/c/d", True),
        ("url:below=http://a.org/b/", "http://a.org/b", True),
        ("url:below=http://a.org/b", "http://a.org/bc", False),
        ("url:below=http://a.org", "http://a.org/b", True),
        ("url:below=http://a", "http://a.org/b", False),
        ("url:above=http://a.org/b/c", "http://a.org/b", True),
        ("url:above=http://a.org/b/c", "http://a.org/b/", True),
        ("url:above=http://a.org/b", "http://a.org/b/c", False),
        ("url:below=urn:oid:1.2", "urn:oid:1.2.3", False),
        ("url=urn:oid:1.2", "urn:oid:1.2", True),
        ("url:missing=true", "urn:oid:1.2", False),
    ],
)
def test_a_uri_is_found(query: str, url: str, found: bool) -> None:
    assert finds(f"ValueSet?{query}", {"resourceType": "ValueSet", "url": url}) is found


def test_a_profile_is_found_with_and_without_its_version() -> None:
    resource = {"resourceType": "Basic", "meta": {"profile": ["http://p.org/x|1"], "source": "urn:s"}}
    assert finds("Basic?_profile=http://p.org/x", resource)
    assert finds("Basic?_profile=http://p.org/x|1", resource)
    assert not finds("Basic?_profile=http://p.org/x|2", resource)
    assert finds("Basic?_source=urn:s", resource)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("_profile:below=http://p.org", True),
        ("_profile:below=http://p.org/y", False),
        ("_profile:above=http://p.org/x/y", False),
        ("_profile:above=http://p.org/x|1/y", True),
        ("_source:below=urn:s", True),
        ("_source:below=urn", False),
    ],
)
def test_profiles_and_sources_are_compared_step_by_step_on_the_resource(query: str, found: bool) -> None:
    resource = {"resourceType": "Basic", "meta": {"profile": ["http://p.org/x|1"], "source": "urn:s"}}
    assert isinstance(clause(f"Basic?{query}"), Text)
    assert finds(f"Basic?{query}", resource) is found


@pytest.mark.parametrize("query", ["ValueSet?url:exact=a", "Basic?_profile:contains=http://a"])
def test_other_modifiers_are_refused(query: str) -> None:
    with pytest.raises(UnsupportedParameter):
        ask(query)


def test_a_uri_of_slashes_is_refused() -> None:
    with pytest.raises(InvalidSearchValue):
        ask("ValueSet?url=//")
