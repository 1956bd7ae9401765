"""What the tables of searches share: records in few words, and what a search finds or says that it will not find."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from tests.answers import FORM, ids

Json = dict[str, Any]


def to(reference: str) -> Json:
    return {"reference": reference}


def loinc(code: str, **more: Any) -> Json:
    return {"coding": [{"system": "http://loinc.org", "code": code}], **more}


def observation(id: str, subject: str = "Patient/p1", **more: Any) -> Json:
    """Return an Observation of a subject; what else is said of it, its code included, replaces what it says itself."""
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": "x"},
        "subject": to(subject),
        **more,
    }


def found(client: httpx.Client, query: str, *, posted: Json | None = None) -> list[str]:
    """Return the sorted ids of what a search finds, which must be as many as its total says.

    query: type and parameters; or the type alone, with the parameters posted as a form.
    """
    answer = client.get(query) if posted is None else client.post(f"{query}/_search", data=posted, headers=FORM)
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    assert bundle["total"] == len(ids(bundle))
    return sorted(ids(bundle))


def refused(client: httpx.Client, query: str) -> Json:
    """Return the issue that a search is refused with."""
    answer = client.get(query)
    assert answer.status_code == 400, answer.text
    [issue] = answer.json()["issue"]
    return dict(issue)


def pages(client: httpx.Client, bundle: Json) -> Iterator[Json]:
    """Yield a page of a search and all that follow it."""
    yield bundle
    while following := [each["url"] for each in bundle["link"] if each["relation"] == "next"]:
        answer = client.get(following[0])
        assert answer.status_code == 200, answer.text
        bundle = answer.json()
        yield bundle
