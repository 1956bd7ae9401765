"""What all ways work with: the stored resources, the codes, the queue of messages, and what is asked in words."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Protocol

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.consenting.asked import NotVerified, Proof, Request
from fhir_server.consenting.names import name_of
from fhir_server.consenting.ways.codes import LAPSED, LASTING, Codes, Holder
from fhir_server.consenting.ways.transport import Message, Queue
from fhir_server.consenting.ways.way import Bringer, NoMessages
from fhir_server.consenting.ways.wording import asked
from fhir_server.fhir_json import parse
from fhir_server.store.commit import Unit
from fhir_server.store.instants import microseconds, moment
from fhir_server.store.keys import Unreadable
from fhir_server.store.resources import Document, Resources, Ungated

Json = Mapping[str, Any]
GATE = "how a patient is asked for an authorization"
MOST_RELATED = 100
NO_CODE = "请输入患者收到的验证码。"
# In what telephone numbers of a person, and of who speaks for them, are kept.
KNOWN_BY = ("Patient", "RelatedPerson")
Address = Callable[[Json, datetime, tzinfo], str | None]  # addresses.py


class PersonKeys(Protocol):
    """Gives the person keys of Patients (store/persons.py)."""

    async def keys(self, ids: Iterable[str]) -> Mapping[str, Hashable]: ...


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts, joined once in wiring.py. sends: whether there is a transport that messages go by."""

    database: AsyncDatabase[dict[str, Any]]
    resources: Resources
    persons: PersonKeys
    codes: Codes
    queue: Queue
    zone: tzinfo
    origin: str
    sends: bool

    async def one(self, type: str, id: str) -> tuple[Document, Json] | None:
        """Return a stored resource with its document; None if there is none that can be read."""
        found = await self.resources.read(type, id, Ungated(GATE))
        if found is None:
            return None
        try:
            (body,) = await self.resources.opened(type, [found])
        except Unreadable:
            return None
        return found, parse(body)

    async def named(self, type: str, patients: Iterable[str]) -> list[tuple[Document, Json]]:
        """Return the resources of a type in the compartments of these Patients (ids)."""
        found = await self.resources.find(
            type, {"pr": {"$in": list(patients)}}, Ungated(GATE), sort=[("_id", 1)], limit=MOST_RELATED
        )
        bodies = await self.resources.opened(type, found)
        return [(each, parse(body)) for each, body in zip(found, bodies, strict=True)]

    async def what(self, request: Request) -> str:
        """Return what is asked in words."""
        institution = await name_of(self.resources, f"Organization/{request.organization}")
        user = await name_of(self.resources, request.user)
        return asked(request, institution, None if user == request.user else user, zone=self.zone)

    def post(self, channel: str, to: str, text: str, request: Request, unit: Unit, *, at: int, passing: bool) -> None:
        """Add to the unit that a message is sent. passing: it is of use as long as a code is."""
        until = microseconds(moment(at) + LASTING) if passing else None
        self.queue.add(Message(channel, to, text, request.patient, at, until), unit)

    def needs_messages(self) -> None:
        """Raise NoMessages unless messages can be sent."""
        if not self.sends:
            raise NoMessages

    async def taken(self, request: Request, proof: Mapping[str, str], unit: Unit, *, by: Bringer, at: int) -> Proof:
        """Return the proof that a code is. Raises NotVerified.

        To whoever may not enter it there is none: they neither learn of it nor use up the tries of who asked.
        """
        given = proof.get("code")
        if not given:
            raise NotVerified(NO_CODE)
        if not by.may_enter(request):
            raise NotVerified(LAPSED, 0)
        holder = await self.codes.take(request, given, unit, at=at)
        return Proof(request.way, holder.by, at, own=holder.own)

    async def code(self, request: Request, holder: Holder, unit: Unit, *, at: int) -> str:
        """Return a new code for a request."""
        return await self.codes.issue(request, holder, unit, at=at)

    async def independent(self, address: Address, to: str, request: Request, *, at: int) -> bool:
        """Return whether others than who asks keep this address of the person, or of one who may speak for them, as well.

        Who asks writes their own Patients and RelatedPersons: an address that nobody else knows could be their own.
        """
        (person,) = (await self.persons.keys([request.patient])).values()
        theirs = {"$or": [{"pat": person}, {"pats": person}], "org": {"$ne": request.organization}}
        for type in KNOWN_BY:
            found = await self.resources.find(type, theirs, Ungated(GATE), sort=[("_id", 1)], limit=MOST_RELATED)
            bodies = await self.resources.opened(type, found)
            if any(address(parse(each), moment(at), self.zone) == to for each in bodies):
                return True
        return False
