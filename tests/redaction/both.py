"""Two servers of which Dr1 asks the same: A, where something is withheld from Dr1, and B, which holds what Dr1 is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import pytest

from tests.databases import fresh
from tests.live import Live, live
from tests.redaction.world import Json


class Both(NamedTuple):
    """Dr1's clients of servers A and B."""

    a: httpx.Client
    b: httpx.Client


@contextmanager
def serving(mongo_uri: str, folders: pytest.TempPathFactory) -> Iterator[tuple[Live, Live]]:
    """Run servers A and B, which hold nothing yet."""
    with (
        fresh(mongo_uri) as of_a,
        fresh(mongo_uri) as of_b,
        live(mongo_uri, folders.mktemp("a"), database=of_a) as a,
        live(mongo_uri, folders.mktemp("b"), database=of_b) as b,
    ):
        yield a, b


@contextmanager
def asking(a: Live, b: Live) -> Iterator[Both]:
    with a.client("practitioner", "Practitioner/dr1") as of_a, b.client("practitioner", "Practitioner/dr1") as of_b:
        yield Both(of_a, of_b)


def without(resource: Json, *names: str) -> Json:
    return {key: value for key, value in resource.items() if key not in names}


def said(answer: httpx.Response) -> Any:
    """Return what an answer says, its links and the metas of its resources aside."""
    return answer.status_code, bare(
        json.loads(answer.text.replace(str(answer.url.copy_with(path="/", query=None)), "/"))
    )


def bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: bare(each) for key, each in value.items() if key not in ("meta", "link", "fullUrl")}
    return [bare(each) for each in value] if isinstance(value, list) else value
