"""What tests read in the server's answers, whoever asked."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import httpx

Json = dict[str, Any]

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def ids(bundle: Json) -> list[str]:
    """Return the ids of the resources in a Bundle."""
    return [entry["resource"]["id"] for entry in bundle.get("entry", ())]


def absent(client: httpx.Client, path: str) -> bool:
    """Return whether the answer is that of an id that never existed: same status, body and headers."""
    answer = client.get(path)
    if answer.status_code != 404:
        assert answer.status_code == 200, answer.text
        return False
    assert (answer.content, _told(answer)) == _never(client)
    return True


@lru_cache(maxsize=4)
def _never(client: httpx.Client) -> tuple[bytes, dict[str, str]]:
    answer = client.get("Observation/never-existed")
    assert answer.status_code == 404
    return answer.content, _told(answer)


def _told(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "date"}
