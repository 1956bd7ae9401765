"""How far the chains of one request may lead (too many steps or ways are refused, not tried)."""

from __future__ import annotations

from fhir_server.errors import TooCostly

# Steps of one parameter from resource to resource, chained or by _has.
MOST_STEPS = 5
# Of the chains of one request, all together: a reference that may lead to any type branches widely.
MOST_BRANCHES = 1_000
MOST_VALUES = 5_000


class Effort:
    """What the chains of one request cost: the ways that they take, and the values looked up at their ends."""

    def __init__(self) -> None:
        self._branches = 0
        self._values = 0

    def take(self, *, branches: int = 0, values: int = 0) -> None:
        """Count what is further spent. Raises TooCostly."""
        self._branches += branches
        self._values += values
        if self._branches > MOST_BRANCHES or self._values > MOST_VALUES:
            raise TooCostly("The chains lead over too many types of resources: name the type at each step.")
