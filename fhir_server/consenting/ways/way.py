"""What a way of verification is: it asks the patient, and holds what comes back against what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from fhir_server.consenting.asked import Proof, Request
from fhir_server.errors import Problem
from fhir_server.store.commit import Unit
from fhir_server.store.resources import Document

NO_MESSAGES = "此服务器没有配置短信等消息通道（设置 message_stand_in）。请改用 paper 方式，或请患者在自己的页面上确认。"


class Bringer(Protocol):
    """Whoever brings what the patient gave them, as one request of theirs (bringing.py)."""

    def may_enter(self, request: Request) -> bool:
        """Return whether a code to this request is theirs to enter."""
        ...

    async def read(self, type: str, id: str) -> tuple[Document, Mapping[str, Any]] | None:
        """Return a record as they are shown it, their reading recorded; None if there is none that they may read."""
        ...


class Way(Protocol):
    """One way; its code stands in Consent.verification."""

    @property
    def code(self) -> str: ...

    async def ask(self, request: Request, unit: Unit, *, at: int) -> str:
        """Add to the unit what is to be sent; return what the requester is told, in Chinese.

        It is the same whether the patient can be reached or not: it says nothing of who they are. at: µs since 1970 UTC.
        """
        ...

    async def proven(self, request: Request, proof: Mapping[str, str], unit: Unit, *, by: Bringer, at: int) -> Proof:
        """Return the proof that the patient agreed to this very request, and add to the unit what uses it up.

        by: who brings it. Raises NotVerified.
        """
        ...


class NoMessages(Problem):
    """No message can be sent from this server."""

    status, issue = 422, "not-supported"

    def __init__(self) -> None:
        super().__init__(NO_MESSAGES)
