"""A code by a third party's message, such as a mini-program's template message, to the patient's handle there."""

from __future__ import annotations

from collections.abc import Mapping

from fhir_server.consenting.asked import Proof, Request
from fhir_server.consenting.ways.addresses import handle_of
from fhir_server.consenting.ways.codes import Holder
from fhir_server.consenting.ways.desk import Desk
from fhir_server.consenting.ways.wording import with_code
from fhir_server.store.commit import Unit
from fhir_server.store.instants import moment

TOLD = "如患者绑定了消息账号，验证码已发出，5分钟内有效。请患者核对消息内容，同意后把验证码告诉您。"


class ThirdParty:
    """Messages of a third party. The handle is kept as a ContactPoint of the system "other" (addresses.py)."""

    code = "message"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ask(self, request: Request, unit: Unit, *, at: int) -> str:
        """Add to the unit a code, and the message that brings it. Raises NoMessages, TooManyCodes."""
        desk = self._desk
        desk.needs_messages()
        found = await desk.one("Patient", request.patient)
        handle = handle_of(found[1], moment(at), desk.zone) if found else None
        own = handle is not None and await desk.independent(handle_of, handle, request, at=at)
        code = await desk.code(request, Holder(f"Patient/{request.patient}", own), unit, at=at)
        if handle:
            text = with_code(await desk.what(request), code)
            desk.post("message", handle, text, request, unit, at=at, passing=True)
        return TOLD

    async def proven(self, request: Request, proof: Mapping[str, str], unit: Unit, *, at: int) -> Proof:
        return await self._desk.taken(request, proof, unit, at=at)
