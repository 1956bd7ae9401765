"""A code by text message to the number that is stored of the patient; the requester is never told which."""

from __future__ import annotations

from collections.abc import Mapping

from fhir_server.consenting.asked import Proof, Request
from fhir_server.consenting.ways.addresses import number_of
from fhir_server.consenting.ways.codes import Holder
from fhir_server.consenting.ways.desk import Desk
from fhir_server.consenting.ways.wording import with_code
from fhir_server.store.commit import Unit
from fhir_server.store.instants import moment

TOLD = "如患者登记了手机号码，验证码已发出，5分钟内有效。请患者核对短信内容，同意后把验证码告诉您。"


class Sms:
    """Text messages."""

    code = "sms"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ask(self, request: Request, unit: Unit, *, at: int) -> str:
        """Add to the unit a code, and the message that brings it. Raises NoMessages, TooManyCodes."""
        desk = self._desk
        desk.needs_messages()
        found = await desk.one("Patient", request.patient)
        number = number_of(found[1], moment(at), desk.zone) if found else None
        own = number is not None and await desk.independent(number_of, number, request, at=at)
        code = await desk.code(request, Holder(f"Patient/{request.patient}", own), unit, at=at)
        if number:
            text = with_code(await desk.what(request), code)
            desk.post("sms", number, text, request, unit, at=at, passing=True)
        return TOLD

    async def proven(self, request: Request, proof: Mapping[str, str], unit: Unit, *, at: int) -> Proof:
        return await self._desk.taken(request, proof, unit, at=at)
