"""For whom a RelatedPerson speaks at an instant: of that person they see the Consents, and may answer and end them.

Believed is what one institution has stored as a whole: it keeps the Patient and has recorded the RelatedPerson itself, in a
role that the law knows. So nobody makes themselves the guardian of another institution's patient by a record of their own.
Until when they may, the consent engine says (consent_engine/proxies.py).

Source: Civil Code of the PRC, art. 17 (of age at 18), 23 and 27 (parents are guardians of minors); 个人信息保护法 art. 31.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

from consent_engine.elements import relative_reference
from consent_engine.proxies import Mandate, read_proxies
from consent_engine.vocabulary import LASTING_POWERS, ROLE_CODE
from fhir_server.auth.requester import Requester, Role
from fhir_server.fhir_json import parse
from fhir_server.store.facts import Fact, Facts
from fhir_server.store.persons import Persons, person_term
from fhir_server.store.resources import Document, Ungated

if TYPE_CHECKING:
    from fhir_server.interactions.call import Services

Json = Mapping[str, Any]
Known = Callable[[Iterable[str]], Awaitable[Mapping[str, Fact]]]  # from "Type/id" to what is known of it
# RoleCode: parents in law, and who was made guardian.
GUARDIANS = frozenset(
    {"GUARD", "PRN", "FTH", "MTH", "NPRN", "NFTH", "NMTH", "ADOPTP", "ADOPTF", "ADOPTM", "STPPRN", "STPFTH", "STPMTH"}
)


class Speaking:
    """Finds out for whom RelatedPersons speak, anew for each request: it ends by the clock, and by a write."""

    def __init__(self, known: Known, persons: Persons, zone: tzinfo) -> None:
        self._known = known
        self._persons = persons
        self._zone = zone

    async def patient(self, user: str, at: datetime) -> str | None:
        """Return the id of the Patient for whom a user ("RelatedPerson/…") speaks; None: for nobody."""
        facts = dict(await self._known([user]))
        named = relative_reference(facts[user].resource.get("patient")) if user in facts else None
        if named is None:
            return None
        facts |= await self._known([named])
        return named.removeprefix("Patient/") if speaks(user, named, facts, at=at, zone=self._zone) else None

    async def whose(self, requester: Requester, at: datetime) -> frozenset[Hashable]:
        """Return the person key of the one for whom a requester speaks; none for every other role."""
        if requester.role is not Role.RELATED_PERSON:
            return frozenset()
        patient = await self.patient(requester.user, at)
        return frozenset((await self._persons.keys([patient])).values()) if patient else frozenset()


def speaking_now(use: Services) -> Speaking:
    """Return who speaks for whom by what is stored now."""
    return Speaking(Facts(use.resources).now, use.gatekeeper.persons, use.zone)


def speaks(user: str, patient: str, facts: Mapping[str, Fact], *, at: datetime, zone: tzinfo) -> bool:
    """Return whether a user ("RelatedPerson/…") surely speaks for a patient ("Patient/…") by these facts."""
    if user not in facts or patient not in facts or facts[user].custodian != facts[patient].custodian:
        return False
    if not roles(facts[user].resource) & (GUARDIANS | LASTING_POWERS):
        return False
    known = {each: facts[each].resource for each in (user, patient)}
    proxies = read_proxies({"patient": {"reference": patient}, "performer": [{"reference": user}]}, zone, known)
    return proxies is not None and proxies.mandate(at) is Mandate.VALID


def roles(related: Json) -> frozenset[str]:
    """Return the codes (RoleCode) of what somebody is to the patient."""
    codings = (coding for each in related.get("relationship", ()) for coding in each.get("coding", ()))
    return frozenset(each["code"] for each in codings if each.get("system") == ROLE_CODE and "code" in each)


async def patients_of(use: Services, persons: Iterable[Hashable]) -> list[Document]:
    """Return all Patients of persons for whom somebody speaks, of whichever institutions."""
    wanted = frozenset(persons)
    terms = sorted(use.term(person_term(int(str(each)))) for each in wanted)
    why = Ungated("the Patients of a person, for who speaks for them")
    found = await use.resources.find("Patient", {"ix": {"$in": terms}}, why, sort=[("_id", 1)], limit=0)
    use.resources.check("Patient", found)
    return [each for each in found if each["me"] in wanted]


def as_of(use: Services, at: int) -> Speaking:
    """Return who spoke for whom by what was stored at an instant (µs since 1970 UTC)."""

    async def known(references: Iterable[str]) -> dict[str, Fact]:
        found: dict[str, Fact] = {}
        for reference in references:
            type, _, id = reference.partition("/")
            for document in (await use.past.current(type, [id], at)).values():
                (body,) = await use.resources.opened(type, [document])
                found[reference] = Fact(document["v"], document["org"], parse(body))
        return found

    return Speaking(known, use.gatekeeper.persons, use.zone)
