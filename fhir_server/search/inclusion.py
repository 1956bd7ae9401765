"""What an _include follows from a resource, and what a _revinclude looks up to find what refers to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from fhir_server.definitions.registry import Registry, SearchParameter
from fhir_server.search.asked import Include
from fhir_server.search.project import Projector
from fhir_server.search.types.reference import term
from fhir_server.search.types.token import Token, looked_up
from fhir_server.search.values import terms

Resource = dict[str, Any]


def has_url(registry: Registry, type: str) -> bool:
    """Return whether resources of a type can be referred to by a canonical URL."""
    parameter = registry.parameters(type).get("url")
    return parameter is not None and parameter.type == "uri"


def followed(includes: Iterable[Include], projector: Projector, resource: Resource) -> Iterator[str]:
    """Yield the relative references ("Patient/1") that lead from a resource to what is included."""
    for include in _of(includes, resource["resourceType"]):
        for links in projector.links(resource, include.param).values():
            yield from (each for each in links if include.target in (None, each.partition("/")[0]))


def canonicals(
    includes: Sequence[Include], registry: Registry, projector: Projector, resources: Iterable[Resource]
) -> Iterator[tuple[str, str]]:
    """Yield the canonical URLs that lead from resources to what is included, each with a type that may have it."""
    by_type: dict[str, list[Resource]] = {}
    for each in resources:
        by_type.setdefault(each["resourceType"], []).append(each)
    for type, found in by_type.items():
        for include in _of(includes, type):
            # Most references lead to nothing that has a canonical URL.
            if targets := dict(_canonical_targets(include, registry, type)):
                for each in found:
                    for param, urls in projector.canonicals(each, include.param).items():
                        yield from ((target, url) for url in urls for target in targets.get(param, ()))


def _canonical_targets(include: Include, registry: Registry, type: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the reference parameters that an include follows, each with what it leads to by canonical URLs."""
    parameters = registry.parameters(type)
    for parameter in parameters.values() if include.param is None else (parameters[include.param],):
        if parameter.type == "reference":
            targets = [each for each in parameter.targets if include.target in (None, each) and has_url(registry, each)]
            if targets:
                yield parameter.code, targets


def canonical_terms(url: str) -> tuple[str, ...]:
    """Return the index terms that a resource has which a canonical URL leads to.

    >>> canonical_terms("http://a.org/q|2")
    ('url|http://a.org/q', 'version||2')
    """
    bare, bar, version = url.partition("|")
    return (f"url|{bare}", *terms("version", [looked_up(Token(None, version))] if bar else []))


def referring(
    include: Include, parameters: Iterable[SearchParameter], type: str, id: str, url: str | None
) -> Iterator[str]:
    """Yield the index terms of references that lead to a resource.

    parameters: of the type whose references are meant. url: the resource's canonical URL, if it has one.
    """
    if include.target not in (None, type):
        return
    for parameter in parameters:
        if parameter.type == "reference" and type in parameter.targets and include.param in (None, parameter.code):
            yield term(parameter.code, f"{type}/{id}")
            if url:
                yield term(parameter.code, url)


def _of(includes: Iterable[Include], type: str) -> Iterator[Include]:
    return (each for each in includes if each.type in (None, type))
