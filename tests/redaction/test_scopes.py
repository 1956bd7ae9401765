"""A scope with a search is no way round what is withheld: of what it asks for, only what is shown counts."""

from __future__ import annotations

import secrets

import pytest

from tests.consent_engine.build import LOINC, concept
from tests.live import Live
from tests.redaction.world import obliged, observation, patient

CODE, CATEGORY = f"?code={LOINC}|1-8", "?category=urn:c|laboratory"


@pytest.fixture(scope="module")
def key(server: Live) -> str:
    """A key of two patients with an observation each; whose code is withheld of the first from Dr1."""
    key = secrets.token_hex(4)
    category = [concept("urn:c", "laboratory")]
    for name in ("m", "n"):
        server.put(
            patient(f"{name}{key}"),
            observation(f"{name}{key}", f"{name}{key}", category=category),
            obliged(f"{name}{key}", f"{name}{key}", *(["Observation.code.coding"] if name == "m" else [])),
        )
    return key


def seen(server: Live, key: str, scope: str, user: str = "Practitioner/dr1") -> list[str]:
    """Return whose observations a token of this scope shows; a read says the same as a search."""
    names = []
    with server.client("practitioner", user, scope=scope) as client:
        for name in ("m", "n"):
            total = client.get("Observation", params={"_id": f"{name}{key}"}).json()["total"]
            assert (client.get(f"Observation/{name}{key}").status_code == 200) is bool(total)
            names += [name] * total
    return names


def test_what_is_withheld_is_not_told_by_what_a_scope_asks_for(server: Live, key: str) -> None:
    assert seen(server, key, f"user/Observation.rs{CODE}") == ["n"]
    assert seen(server, key, f"user/Observation.rs{CATEGORY}&{CODE[1:]}") == ["n"]
    assert seen(server, key, f"user/Observation.rs{CATEGORY}") == ["m", "n"]
    assert seen(server, key, f"user/Observation.rs{CODE} user/Observation.rs{CATEGORY}") == ["m", "n"]
    assert seen(server, key, "user/Observation.rs") == ["m", "n"]


def test_from_whom_nothing_is_withheld_the_scope_shows_all(server: Live, key: str) -> None:
    assert seen(server, key, f"user/Observation.rs{CODE}", "Practitioner/dr2") == ["m", "n"]
