"""Which interaction a method and a path ask for; the same table serves HTTP and the entries of Bundles.

Source: FHIR R4 RESTful API, summary of interactions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fhir_server.interactions.call import Answer, Call, Services
from fhir_server.interactions.create import create
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.delete import delete
from fhir_server.interactions.history import history_instance, vread
from fhir_server.interactions.read import read
from fhir_server.interactions.search import search_type
from fhir_server.interactions.update import update

Body = Any
Run = Callable[[Services, Call, "Request", Body], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: the interaction (code of http://hl7.org/fhir/restful-interaction) and on what."""

    interaction: str
    method: str
    type: str | None
    id: str | None
    version: str | None = None
    pairs: Pairs = ()
    posted: bool = False

    async def run(self, use: Services, call: Call, body: Body) -> Answer:
        """Carry out the interaction. body: the parsed JSON of a write."""
        return await INTERACTIONS[self.interaction](use, call, self, body)


# The interactions on types and instances; what is not here is not offered, and the CapabilityStatement says the same.
INTERACTIONS: dict[str, Run] = {
    "read": lambda use, call, asked, body: read(use, call, str(asked.type), str(asked.id)),
    "vread": lambda use, call, asked, body: vread(use, call, str(asked.type), str(asked.id), str(asked.version)),
    "update": lambda use, call, asked, body: update(use, call, str(asked.type), str(asked.id), body),
    "delete": lambda use, call, asked, body: delete(use, call, str(asked.type), str(asked.id)),
    "history-instance": lambda use, call, asked, body: history_instance(use, call, str(asked.type), str(asked.id)),
    "create": lambda use, call, asked, body: create(use, call, str(asked.type), body),
    "search-type": lambda use, call, asked, body: search_type(
        use, call, str(asked.type), asked.pairs, posted=asked.posted
    ),
}


def interaction_of(method: str, parts: tuple[str, ...], pairs: Pairs) -> Request | None:
    """Return what a method on a path below the base asks for, None if nothing is there.

    parts: the path's segments. pairs: the query's parameters.
    """
    match method, parts:
        case "GET" | "HEAD", (type,):
            return Request("search-type", method, type, None, pairs=pairs)
        case "POST", (type, "_search"):
            return Request("search-type", method, type, None, pairs=pairs, posted=True)
        case "POST", (type,):
            return Request("create", method, type, None)
        case "GET" | "HEAD", (type, id) if not id.startswith(("_", "$")):
            return Request("read", method, type, id)
        case "PUT", (type, id) if not id.startswith(("_", "$")):
            return Request("update", method, type, id)
        case "DELETE", (type, id) if not id.startswith(("_", "$")):
            return Request("delete", method, type, id)
        case "GET" | "HEAD", (type, id, "_history"):
            return Request("history-instance", method, type, id, pairs=pairs)
        case "GET" | "HEAD", (type, id, "_history", version):
            return Request("vread", method, type, id, version)
        case "POST", ():
            return Request("batch", method, None, None)
    return None


def methods_of(parts: tuple[str, ...]) -> list[str]:
    """Return the methods that a path below the base takes."""
    return [method for method in ("GET", "POST", "PUT", "DELETE") if interaction_of(method, parts, ())]
