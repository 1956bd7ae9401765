"""The patient's own page or app: a message leads there, and the patient confirms with their own token."""

from __future__ import annotations

from collections.abc import Mapping

from fhir_server.consenting.asked import NotVerified, Proof, Request
from fhir_server.consenting.ways.desk import Desk
from fhir_server.consenting.ways.way import Bringer
from fhir_server.consenting.ways.wording import with_link
from fhir_server.store.commit import Unit

PAGE = "/my/authorizations"
TOLD = "请求已出现在患者本人的授权页面上，请患者登录后选择同意或拒绝。"
NOT_HERE = "此请求由患者本人登录授权页面确认，不能由他人代为提交。"


class App:
    """The patient's own page. Whoever confirms there is known by their token, not by what somebody else hands in."""

    code = "app"

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ask(self, request: Request, unit: Unit, *, at: int) -> str:
        """Add to the unit a message with a link, where messages can be sent; the page shows the request in any case."""
        if self._desk.sends:
            text = with_link(await self._desk.what(request), f"{self._desk.origin}{PAGE}")
            self._desk.post("app", f"Patient/{request.patient}", text, request, unit, at=at, passing=False)
        return TOLD

    async def proven(self, request: Request, proof: Mapping[str, str], unit: Unit, *, by: Bringer, at: int) -> Proof:
        """Raise NotVerified."""
        raise NotVerified(NOT_HERE)
