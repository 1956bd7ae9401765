"""A guardian's word for a minor: the code goes to the number that is stored of a RelatedPerson who may speak for them.

Until when they may, the consent engine says (consent_engine/proxies.py); it is asked again when the code comes back.
Source: Civil Code of the PRC, art. 17 (of age at 18), 23 and 27 (parents are guardians of minors); 个人信息保护法 art. 31.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from typing import Any

from consent_engine.proxies import Mandate, read_proxies
from fhir_server.consenting.asked import NotVerified, Proof, Request
from fhir_server.consenting.speaking import GUARDIANS, roles
from fhir_server.consenting.ways.addresses import number_of
from fhir_server.consenting.ways.codes import Holder
from fhir_server.consenting.ways.desk import Desk
from fhir_server.consenting.ways.way import Bringer
from fhir_server.consenting.ways.wording import ENTERED, for_guardian, with_code
from fhir_server.store.commit import Unit
from fhir_server.store.instants import moment

Json = Mapping[str, Any]
TOLD = f"如患者未满18周岁且登记了监护人的手机号码，验证码已发给监护人，5分钟内有效。请监护人核对后把验证码告诉您。{ENTERED}"
LAPSED = "监护人目前不能代患者决定（患者已成年，或监护关系已终止）。"


class Guardian:
    """Guardians of minors."""

    code = "guardian"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ask(self, request: Request, unit: Unit, *, at: int) -> str:
        """Add to the unit a code, and the message that brings it to a guardian. Raises NoMessages, TooManyCodes."""
        desk = self._desk
        desk.needs_messages()
        reached = next(iter(await self._guardians(request, at)), None)
        by, number = reached or ("", "")
        own = reached is not None and await desk.independent(number_of, number, request, at=at)
        code = await desk.code(request, Holder(by, own), unit, at=at)
        if reached:
            text = with_code(for_guardian(await desk.what(request)), code)
            desk.post("sms", number, text, request, unit, at=at, passing=True)
        return TOLD

    async def proven(self, request: Request, proof: Mapping[str, str], unit: Unit, *, by: Bringer, at: int) -> Proof:
        proven = await self._desk.taken(request, proof, unit, by=by, at=at)
        if proven.by not in dict(await self._guardians(request, at)):
            raise NotVerified(LAPSED)
        return proven

    async def _guardians(self, request: Request, at: int) -> list[tuple[str, str]]:
        """Return the guardians of the patient who can be reached, with their numbers; the appointed ones first."""
        found = await self._desk.one("Patient", request.patient)
        if found is None:
            return []
        related = [resource for _, resource in await self._desk.named("RelatedPerson", [request.patient])]
        zone, now = self._desk.zone, moment(at)
        able = guardians(found[1], related, at=now, zone=zone)
        return [(f"RelatedPerson/{each['id']}", to) for each in able if (to := number_of(each, now, zone))]


def guardians(patient: Json, related: Iterable[Json], *, at: datetime, zone: tzinfo) -> list[Json]:
    """Return those RelatedPersons who are guardians of a patient who is surely under age, the appointed ones first."""
    able = [each for each in related if roles(each) & GUARDIANS and may_speak(patient, each, at=at, zone=zone)]
    return sorted(able, key=lambda each: ("GUARD" not in roles(each), each["id"]))


def may_speak(patient: Json, related: Json, *, at: datetime, zone: tzinfo) -> bool:
    """Return whether somebody speaks for a patient because the patient is a minor; a power that lasts does not count here."""
    whose, who = f"Patient/{patient['id']}", f"RelatedPerson/{related['id']}"
    plain = {name: value for name, value in related.items() if name != "relationship"}
    consent = {"patient": {"reference": whose}, "performer": [{"reference": who}]}
    proxies = read_proxies(consent, zone, {whose: patient, who: plain})
    return proxies is not None and proxies.mandate(at) is Mandate.VALID
