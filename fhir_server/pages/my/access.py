"""GET [origin]/my/access: who has looked at the records of whoever is signed in, when and why."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from itertools import groupby
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from fhir_server.auth.accounts.account import Account
from fhir_server.auth.accounts.reception import Reception
from fhir_server.crypto.sealing import Unsealable
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Call
from fhir_server.interactions.perform import perform
from fhir_server.interactions.routes import Request as Asked
from fhir_server.pages.my.acting import Acting
from fhir_server.pages.my.entering import SIGN_IN, SIGN_OUT
from fhir_server.pages.my.looks import Place, looks
from fhir_server.pages.my.visiting import Visit, to, visit_of
from fhir_server.pages.my.words import WORDS, minute
from fhir_server.pages.rendering import page
from fhir_server.store.instants import moment

PATH = "/my/access"
# The list counts what the person may see of their records: all types of them.
SCOPE = "user/*.rs"
NOTHING: Mapping[str, Any] = {"looks": [], "next": None, "damaged": False}


class Row(NamedTuple):
    """Accesses that stand in a row and differ in their time alone. last: the newest (looks.Look); first: when they began."""

    last: Mapping[str, Any]
    first: int
    times: int


class Access:
    """The list, page by page."""

    def __init__(self, desk: Reception) -> None:
        self._desk = desk

    async def get(self, request: Request) -> Response:
        visit = await visit_of(self._desk, request)
        if not visit.is_in or visit.signed is None:
            return visit.answered(to(SIGN_IN))
        acting = visit.acting(self._desk)
        own = request.query_params.get("own") == "1"
        after = self._opened(visit.signed.account, request.query_params.get("after"))
        patient = await acting.patient()
        found = await self._looks(visit.signed.account, patient, after, own) if patient else NOTHING
        return visit.answered(await self._page(visit, acting, found, own=own, first=after is None, patient=patient))

    async def _looks(self, account: Account, patient: str, after: Place | None, own: bool) -> Mapping[str, Any]:
        use, call = self._desk.use, Call(account.requester(SCOPE), self._desk.use.settings.public_base)
        asked = Asked("search-type", "GET", "AuditEvent", None)
        answer = await perform(use, call, asked, lambda now: looks(now, call, patient, after=after, own=own))
        if answer.status != 200:
            raise RuntimeError(f"The list of accesses was answered {answer.status}.")
        return dict(parse(answer.body))

    async def _page(
        self, visit: Visit, acting: Acting, found: Mapping[str, Any], *, own: bool, first: bool, patient: str | None
    ) -> Response:
        rows, words = found["looks"], WORDS[visit.lang]
        named = await acting.names({each[who] for each in rows for who in ("user", "organization")})
        themselves = {acting.account.user: words("yourself")}
        return page(
            "my_access",
            visit.lang,
            m=words,
            rows=folded(rows, self._desk.use.zone),
            names=named | themselves,
            minute=lambda at: minute(at, self._desk.use.zone),
            damaged=found["damaged"],
            patient=patient,
            for_another=acting.for_another,
            own=own,
            first=first,
            next=self._sealed(acting.account, found["next"]) if found["next"] else None,
            signed_in=visit.name,
            again=f"?own={int(own)}&",
            leaving=visit.form(self._desk, SIGN_OUT),
        )

    def _sealed(self, account: Account, place: Mapping[str, Any]) -> str:
        """Return where the next page begins, for this account alone."""
        return urlsafe_b64encode(self._desk.vault.sealed(_bound_to(account), place)).decode().rstrip("=")

    def _opened(self, account: Account, text: str | None) -> Place | None:
        """Return where a page begins; whatever is none of ours begins at the newest."""
        try:
            sealed = urlsafe_b64decode((text or "").encode("ascii") + b"=" * (-len(text or "") % 4))
            return Place(**self._desk.vault.opened(_bound_to(account), sealed)) if text else None
        except (ValueError, Unsealable):
            return None


def folded(looks: Iterable[Mapping[str, Any]], zone: tzinfo) -> list[Row]:
    """Return accesses with those of one day that follow each other and say the same as one. A page of an app is many reads.

    >>> from datetime import UTC
    >>> seen = {"user": "Practitioner/1", "did": "R"}
    >>> [(each.first, each.times) for each in folded([{**seen, "at": 9}, {**seen, "at": 8}, {"user": "", "at": 7}], UTC)]
    [(8, 2), (7, 1)]
    """

    def said(look: Mapping[str, Any]) -> tuple[object, Mapping[str, Any]]:
        return moment(look["at"]).astimezone(zone).date(), {**look, "at": None}

    runs = (list(run) for _, run in groupby(looks, said))
    return [Row(run[0], run[-1]["at"], len(run)) for run in runs]


def _bound_to(account: Account) -> str:
    return f"place in the accesses|{account.id}|{account.user}"
