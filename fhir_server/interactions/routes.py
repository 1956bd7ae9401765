"""Which interaction a method and a path ask for; the same table serves HTTP and the entries of Bundles.

Source: FHIR R4 RESTful API, summary of interactions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from fhir_server.interactions.call import Answer, Call, Services
from fhir_server.interactions.create import create
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.delete import delete
from fhir_server.interactions.history import history_instance, history_system, history_type, vread
from fhir_server.interactions.patch import patch
from fhir_server.interactions.read import read
from fhir_server.interactions.search import search_compartment, search_system, search_type
from fhir_server.interactions.update import update
from fhir_server.operations.invoke import invoke

Body = Any
Run = Callable[[Services, Call, "Request", Body], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: the interaction (code of http://hl7.org/fhir/restful-interaction) and on what.

    type: None for what is asked of the whole system. id: None for what is asked of a type, conditional interactions
    included. within: the compartment that is searched ("Patient", id); type "*" is then all types that can be in it.
    operation: the name of the operation, without "$". pairs: the query's parameters. posted: those of a form as well.
    """

    interaction: str
    method: str
    type: str | None
    id: str | None
    version: str | None = None
    pairs: Pairs = ()
    posted: bool = False
    within: tuple[str, str] | None = None
    operation: str | None = None

    @property
    def place(self) -> str:
        """The path that is asked, below the base, of what names no instance.

        >>> Request("search-compartment", "GET", "Observation", None, within=("Patient", "1")).place
        'Patient/1/Observation'
        """
        named = (*(self.within or ()), self.type, f"${self.operation}" if self.operation else None)
        return "/".join(each for each in named if each)

    async def run(self, use: Services, call: Call, body: Body) -> Answer:
        """Carry out the interaction. body: the parsed JSON of a write or of an operation's Parameters."""
        return await INTERACTIONS[self.interaction](use, call, self, body)


# The interactions on types and instances; what is not here is not offered, and the CapabilityStatement says the same.
INTERACTIONS: dict[str, Run] = {
    "read": lambda use, call, asked, body: read(use, call, str(asked.type), str(asked.id), asked.pairs),
    "vread": lambda use, call, asked, body: vread(
        use, call, str(asked.type), str(asked.id), str(asked.version), asked.pairs
    ),
    "update": lambda use, call, asked, body: update(use, call, str(asked.type), asked.id, body, asked.pairs),
    "patch": lambda use, call, asked, body: patch(use, call, str(asked.type), asked.id, body, asked.pairs),
    "delete": lambda use, call, asked, body: delete(use, call, str(asked.type), asked.id, asked.pairs),
    "history-instance": lambda use, call, asked, body: history_instance(
        use, call, str(asked.type), str(asked.id), asked.pairs
    ),
    "history-type": lambda use, call, asked, body: history_type(use, call, str(asked.type), asked.pairs),
    "history-system": lambda use, call, asked, body: history_system(use, call, asked.pairs),
    "operation": invoke,
    "create": lambda use, call, asked, body: create(use, call, str(asked.type), body),
    "search-type": lambda use, call, asked, body: search_type(
        use, call, str(asked.type), asked.pairs, posted=asked.posted
    ),
    "search-system": lambda use, call, asked, body: search_system(use, call, asked.pairs, posted=asked.posted),
    "search-compartment": lambda use, call, asked, body: search_compartment(
        use, call, asked.within or ("", ""), str(asked.type), asked.pairs, posted=asked.posted
    ),
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def interaction_of(method: str, parts: tuple[str, ...], pairs: Pairs) -> Request | None:
    """Return what a method on a path below the base asks for, None if nothing is there or it is not offered.

    parts: the path's segments. pairs: the query's parameters.
    """
    found = _asked("GET" if method == "HEAD" else method, parts)
    if found is None or (found.interaction not in INTERACTIONS and found.interaction != "batch"):
        return None
    return replace(found, method=method, pairs=pairs) if pairs or method == "HEAD" else found


def _asked(method: str, parts: tuple[str, ...]) -> Request | None:
    if parts and parts[-1].startswith("$"):
        return _operation(method, parts[:-1], parts[-1].removeprefix("$"))
    begun = {part[:1] for part in parts}
    if "$" in begun or "" in begun:
        return None
    match method, parts:
        case "POST", ():
            return Request("batch", method, None, None)
        case "GET", ():
            return Request("search-system", method, None, None)
        case "POST", ("_search",):
            return Request("search-system", method, None, None, posted=True)
        case "GET", ("_history",):
            return Request("history-system", method, None, None)
        case "POST", (type, "_search"):
            return Request("search-type", method, type, None, posted=True)
        case "GET", (type, "_history"):
            return Request("history-type", method, type, None)
        case "GET", (type, id, "_history"):
            return Request("history-instance", method, type, id)
        case "GET", (type, id, "_history", version):
            return Request("vread", method, type, id, version)
        case "POST", (compartment, id, type, "_search"):
            return Request("search-compartment", method, type, None, posted=True, within=(compartment, id))
    if "_" in begun:
        return None
    match parts:
        case (type,):
            return _on_type(method, type)
        case (type, id):
            return _on_instance(method, type, id)
        case (compartment, id, type) if method == "GET":
            return Request("search-compartment", method, type, None, within=(compartment, id))
    return None


def _on_type(method: str, type: str) -> Request | None:
    code = {"GET": "search-type", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method)
    return Request(code, method, type, None) if code else None


def _on_instance(method: str, type: str, id: str) -> Request | None:
    code = {"GET": "read", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method)
    return Request(code, method, type, id) if code else None


def _operation(method: str, parts: tuple[str, ...], name: str) -> Request | None:
    if method not in ("GET", "POST"):
        return None
    match parts:
        case ():
            return Request("operation", method, None, None, operation=name)
        case (type,):
            return Request("operation", method, type, None, operation=name)
        case (type, id):
            return Request("operation", method, type, id, operation=name)
        case (type, id, "_history", version):
            return Request("operation", method, type, id, version, operation=name)
    return None


def methods_of(parts: tuple[str, ...]) -> list[str]:
    """Return the methods that a path below the base takes."""
    return [method for method in METHODS if interaction_of(method, parts, ())]
