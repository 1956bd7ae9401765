"""[base]/…/$name by GET and POST — FHIR R4 Operations, "Executing an Operation Synchronously"."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from fhir_server.errors import Absent, NotAllowed
from fhir_server.interactions.call import Answer, Call, Services, serves
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.searching.query import begun
from fhir_server.operations.definition import Invocation, Level
from fhir_server.operations.parameters import read
from fhir_server.operations.table import operation_at


class Asked(Protocol):
    """What is read of a request (interactions/routes.py)."""

    @property
    def method(self) -> str: ...
    @property
    def type(self) -> str | None: ...
    @property
    def id(self) -> str | None: ...
    @property
    def version(self) -> str | None: ...
    @property
    def operation(self) -> str | None: ...
    @property
    def pairs(self) -> Pairs: ...


async def invoke(use: Services, call: Call, asked: Asked, body: Any) -> Answer:
    """Carry out an operation.

    Raises Absent if there is none of this name here, NotAllowed if it changes something and was not asked for by POST.
    """
    if asked.type is not None:
        serves(use, asked.type)
    code = str(asked.operation)
    operation = operation_at(code, asked.type, _level(asked))
    if operation is None:
        raise Absent("There is no such operation here.")
    if operation.affects_state and asked.method != "POST":
        raise NotAllowed(f"${code} changes what is stored: invoke it by POST.", methods=["POST"])
    method = "POST" if asked.method == "POST" else "GET"
    plain = Invocation(code, asked.type, asked.id, asked.version, method=method)
    pairs, after = begun(use, call, plain.place, asked.pairs) if operation.pages else (asked.pairs, None)
    invocation = read(operation, plain, pairs, None if after or operation.takes else body, zone=use.zone)
    resource = body if operation.takes else None
    return await operation.run(use, call, replace(invocation, after=after, resource=resource))


def _level(asked: Asked) -> Level:
    if asked.type is None:
        return Level.SYSTEM
    if asked.id is None:
        return Level.TYPE
    return Level.INSTANCE if asked.version is None else Level.VERSION
