"""Which records of the two patients a token opens."""

from __future__ import annotations

from tests.smart.world import World

OPENED = (
    "Patient/p1",
    "Patient/p2",
    "Observation/laboratory-1",
    "Observation/vital-signs-1",
    "Encounter/e1",
    "Encounter/e2",
)
RESULTS = ("Observation/laboratory-1", "Observation/vital-signs-1")


def read(world: World, token: str) -> set[str]:
    """Return which of OPENED can be read."""
    return {path for path in OPENED if world.get(path, token).status_code == 200}


def found(world: World, token: str) -> set[str]:
    """Return which of OPENED are found by searches."""
    said = set()
    for type in ("Patient", "Observation", "Encounter"):
        answer = world.get(type, token)
        if answer.status_code == 200:
            entries = answer.json().get("entry", [])
            said |= {f"{type}/{each['resource']['id']}" for each in entries if each["search"]["mode"] == "match"}
    return said
