"""What defines an operation, and one invocation of it.

Source: FHIR R4 Operations; OperationDefinition.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from consent_engine.vocabulary import FACADE
from fhir_server.interactions.call import Answer, Call, Services
from fhir_server.interactions.cursor import Pairs, Position

BASE = "http://hl7.org/fhir/OperationDefinition"
OURS = f"{FACADE}/OperationDefinition"


class Level(StrEnum):
    """On what an operation is invoked; codes of OperationDefinition, and "version" for an entry of a history."""

    SYSTEM = "system"
    TYPE = "type"
    INSTANCE = "instance"
    VERSION = "version"


@dataclass(frozen=True, slots=True)
class Parameter:
    """An input. max: None for any number of it. secret: it comes in a body alone, since URLs end up in logs."""

    name: str
    type: str
    min: int = 0
    max: int | None = 1
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Invocation:
    """One invocation: on what, with which parameters, as a later page or not.

    given: the values of each parameter that was given, read by its type. searched: the search parameters, where the
    operation takes them. pairs: both as they were given. after: where a later page begins, as the page before said it.
    resource: the JSON of the resource that the body is, where the operation takes one.
    """

    code: str
    type: str | None
    id: str | None
    version: str | None = None
    given: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    searched: Pairs = ()
    pairs: Pairs = ()
    after: Position | None = None
    method: str = "POST"
    resource: Any = None

    @property
    def place(self) -> str:
        """The path below the base, without parameters."""
        parts = [self.type, self.id, *(("_history", self.version) if self.version else ()), f"${self.code}"]
        return "/".join(part for part in parts if part)

    def one(self, name: str) -> Any:
        """Return the value of a parameter that is given once at most; None if it is not."""
        found = self.given.get(name)
        return found[0] if found else None


Run = Callable[[Services, Call, Invocation], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation.

    id: of its OperationDefinition. base: of the definition's canonical URL: the standard's, or our own. code: its name in a
    URL. types: where it is offered; none: for all.
    searches: it also takes the search parameters of its type. pages: its answer can have page links. takes: its body is
    such a resource and no Parameters; its parameters stand in the URL.
    """

    id: str
    code: str
    levels: frozenset[Level]
    run: Run
    types: frozenset[str] = frozenset()
    parameters: tuple[Parameter, ...] = ()
    affects_state: bool = False
    searches: bool = False
    pages: bool = False
    base: str = BASE
    takes: str | None = None

    @property
    def url(self) -> str:
        """The canonical URL of the definition."""
        return f"{self.base}/{self.id}"

    def offered(self, type: str | None, level: Level) -> bool:
        """Return whether it can be invoked on a type (None: the system) at a level."""
        return level in self.levels and (type is None or not self.types or type in self.types)
