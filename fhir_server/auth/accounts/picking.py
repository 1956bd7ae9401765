"""Choosing a patient and a visit: ordinary searches and reads of the user who chooses, and no other way to the data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.auth.accounts.account import Account
from fhir_server.auth.requester import ID, Role
from fhir_server.fhir_json import parse
from fhir_server.human_names import shown_of
from fhir_server.interactions.call import Call, Services
from fhir_server.interactions.perform import perform
from fhir_server.interactions.routes import Request

Json = Mapping[str, Any]
MOST = 20
# What the pages themselves may read of what the user may see.
SCOPE = "user/Patient.rs user/Encounter.rs user/RelatedPerson.rs"
# A text with a digit is a number somebody was given; names have none.
NUMBER = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class FoundPatient:
    """A patient to choose. numbers: identifiers, most of their characters hidden."""

    id: str
    name: str
    born: str
    numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundVisit:
    """A visit to choose."""

    id: str
    when: str
    what: str


class Picking:
    """Searches on behalf of one user for one purpose, recorded as such."""

    def __init__(self, use: Services, account: Account, purpose: str, reason: str | None) -> None:
        self._use = use
        self._account = account
        self._call = Call(account.requester(SCOPE, purpose, reason), use.settings.public_base)

    @property
    def searches(self) -> bool:
        """Whether this user looks for patients; the others choose among their own."""
        return self._account.role is Role.PRACTITIONER

    async def own(self) -> list[FoundPatient]:
        """Return the patients whom this user is or stands for, as far as they may see them."""
        type, _, id = self._account.user.partition("/")
        if self._account.role is Role.RELATED_PERSON:
            related = await self._read(type, id)
            reference = ((related or {}).get("patient") or {}).get("reference", "")
            type, _, id = reference.removeprefix(f"{self._call.base}/").partition("/")
        if type != "Patient":
            return []
        found = await self.patient(id)
        return [found] if found else []

    async def patients(self, text: str) -> tuple[list[FoundPatient], bool]:
        """Return the patients whom a text names and this user may see, and whether there are more."""
        if not self.searches:
            return [], False
        value = re.sub(r"([\\,|$])", r"\\\1", text.strip())
        asked = ("identifier" if NUMBER.search(text) else "name", value)
        found = await self._search("Patient", (asked, ("_count", str(MOST + 1))))
        return [_patient(each) for each in found[:MOST]], len(found) > MOST

    async def patient(self, id: str) -> FoundPatient | None:
        """Return a patient whom this user may see, None if there is none."""
        found = await self._read("Patient", id)
        return _patient(found) if found else None

    async def visits(self, patient: str) -> list[FoundVisit]:
        """Return a patient's visits that this user may see, the latest first."""
        asked = (("patient", f"Patient/{patient}"), ("_sort", "-date"), ("_count", str(MOST)))
        return [_visit(each) for each in await self._search("Encounter", asked)]

    async def visit(self, id: str, patient: str) -> FoundVisit | None:
        """Return a visit of the patient that this user may see, None if there is none."""
        asked = (("_id", id), ("patient", f"Patient/{patient}"))
        found = await self._search("Encounter", asked) if ID.fullmatch(id) else []
        return _visit(found[0]) if found else None

    async def _read(self, type: str, id: str) -> Json | None:
        if not ID.fullmatch(id):
            return None
        return await self._asked(Request("read", "GET", type, id))

    async def _search(self, type: str, pairs: tuple[tuple[str, str], ...]) -> list[Json]:
        found = await self._asked(Request("search-type", "POST", type, None, pairs=pairs, posted=True))
        return [each["resource"] for each in (found or {}).get("entry", ()) if each["search"]["mode"] == "match"]

    async def _asked(self, request: Request) -> Json | None:
        answer = await perform(self._use, self._call, request, lambda use: request.run(use, self._call, None))
        return parse(answer.body) if answer.status == 200 else None


def hidden(number: str) -> str:
    """Return an identifier of which only the ends show, enough to tell two patients apart.

    >>> hidden("110101199001011234"), hidden("12345")
    ('11**************34', '1***5')
    """
    kept = 2 if len(number) > 8 else 1
    return (
        number[:kept] + "*" * (len(number) - 2 * kept) + number[-kept:] if len(number) > 2 * kept else "*" * len(number)
    )


def _patient(resource: Json) -> FoundPatient:
    names = [shown_of(each) for each in resource.get("name", ())]
    numbers = tuple(hidden(each["value"]) for each in resource.get("identifier", ())[:2] if each.get("value"))
    return FoundPatient(resource["id"], next(filter(None, names), ""), resource.get("birthDate", ""), numbers)


def _visit(resource: Json) -> FoundVisit:
    when = (resource.get("period") or {}).get("start", "")[:10]
    told = [
        *(each.get("text", "") for each in resource.get("type", ())),
        (resource.get("class") or {}).get("display", ""),
    ]
    return FoundVisit(resource["id"], when, next(filter(None, told), resource["id"]))
