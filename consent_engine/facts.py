"""What the reading of a Consent rests on beside the Consent itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from consent_engine.data import related_to
from consent_engine.elements import relative_reference
from consent_engine.groups import collective
from consent_engine.proxies import rests_on_proxies


def rests_on(resource: Mapping[str, Any]) -> frozenset[str]:
    """Return "Type/id" of the resources that must be known to read a Consent: its facts (read_consent). Never raises.

    These are groups and teams among its actors, records that others must be related to, and, where it was not given by
    the patient, who gave it and the patient. A Consent that is not active rests on nothing.
    """
    if resource.get("status") != "active":
        return frozenset()
    provisions = list(_provisions(resource.get("provision")))
    actors = {relative_reference(each.get("reference")) for p in provisions for each in _objects(p.get("actor"))}
    data = {related_to(each) for p in provisions for each in _objects(p.get("data"))}
    return rests_on_proxies(resource) | collective(filter(None, actors)) | frozenset(filter(None, data))


def _provisions(value: object) -> Iterator[Mapping[str, Any]]:
    waiting = [value]
    while waiting:
        provision = waiting.pop()
        if isinstance(provision, Mapping):
            yield provision
            waiting += _objects(provision.get("provision"))


def _objects(value: object) -> Iterator[Mapping[str, Any]]:
    return (each for each in (value if isinstance(value, list) else ()) if isinstance(each, Mapping))
