"""A code to an address that is stored of the patient: by text message, or by a third party's, such as a mini-program's.

The requester is never told which address, nor whether there is one.
"""

from __future__ import annotations

from collections.abc import Mapping

from fhir_server.consenting.asked import Proof, Request
from fhir_server.consenting.ways.addresses import handle_of, number_of
from fhir_server.consenting.ways.codes import Holder
from fhir_server.consenting.ways.desk import Address, Desk
from fhir_server.consenting.ways.way import Bringer
from fhir_server.consenting.ways.wording import ENTERED, with_code
from fhir_server.store.commit import Unit
from fhir_server.store.instants import moment

BY_NUMBER = f"如患者登记了手机号码，验证码已发出，5分钟内有效。请患者核对短信内容，同意后把验证码告诉您。{ENTERED}"
BY_HANDLE = f"如患者绑定了消息账号，验证码已发出，5分钟内有效。请患者核对消息内容，同意后把验证码告诉您。{ENTERED}"


class Coded:
    """A way by a code. code: of the way, and of the channel. said: to who asks. address: how it is found in a Patient."""

    def __init__(self, desk: Desk, code: str, said: str, address: Address) -> None:
        self._desk = desk
        self.code = code
        self._said = said
        self._address = address

    async def ask(self, request: Request, unit: Unit, *, at: int) -> str:
        """Add to the unit a code, and the message that brings it. Raises NoMessages, TooManyCodes."""
        desk = self._desk
        desk.needs_messages()
        found = await desk.one("Patient", request.patient)
        to = self._address(found[1], moment(at), desk.zone) if found else None
        own = to is not None and await desk.independent(self._address, to, request, at=at)
        code = await desk.code(request, Holder(f"Patient/{request.patient}", own), unit, at=at)
        if to:
            text = with_code(await desk.what(request), code)
            desk.post(self.code, to, text, request, unit, at=at, passing=True)
        return self._said

    async def proven(self, request: Request, proof: Mapping[str, str], unit: Unit, *, by: Bringer, at: int) -> Proof:
        return await self._desk.taken(request, proof, unit, by=by, at=at)


def sms(desk: Desk) -> Coded:
    """Return the way by text message."""
    return Coded(desk, "sms", BY_NUMBER, number_of)


def third_party(desk: Desk) -> Coded:
    """Return the way by a third party's message. The handle is a ContactPoint of the system "other" (addresses.py)."""
    return Coded(desk, "message", BY_HANDLE, handle_of)
