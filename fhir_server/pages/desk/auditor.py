"""Whoever sits at the desk: an auditor who is signed in with all their account needs, and the interactions that are theirs.

What the desk shows of the log comes by ordinary interactions of the auditor, which decide and record as for any client.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from fhir_server.auth.accounts.reception import Errors, Reception
from fhir_server.auth.accounts.sessions import form_fits, form_token
from fhir_server.auth.accounts.showing import Form
from fhir_server.auth.accounts.steps import Signed
from fhir_server.auth.requester import ID, Role
from fhir_server.errors import InvalidSearchValue
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Answer, Call, Services
from fhir_server.interactions.cursor import Cursor, Pairs, opened_cursor, sealed_cursor
from fhir_server.interactions.perform import perform
from fhir_server.interactions.routes import Request
from fhir_server.interactions.searching.query import CURSOR
from fhir_server.pages.desk.entering import DESK, ENTER, desk_cookie, to
from fhir_server.pages.desk.telling import Names, names_of
from fhir_server.pages.desk.words import SPEECH, Speech
from fhir_server.pages.rendering import page
from fhir_server.pages.words import language

Json = Mapping[str, Any]
LOG = "AuditEvent"
# What the desk itself may do of what the auditor may.
SCOPE = "user/AuditEvent.rs user/Organization.rs user/Practitioner.rs user/PractitionerRole.rs"
NAMED = frozenset({"Organization", "Practitioner"})
MOST_NAMES = 100


class Unanswered(Exception):
    """An interaction was refused. status: of its answer; the text is what the refusal says."""

    def __init__(self, answer: Answer) -> None:
        issues = parse(answer.body).get("issue", ()) if answer.body else ()
        super().__init__(" ".join(each.get("diagnostics", "") for each in issues))
        self.status = answer.status


class Damaged(NamedTuple):
    """An event that is not as it was stored, and is not shown. id: None if it has none of ours. said: OperationOutcome."""

    id: str | None
    said: Json


@dataclass(frozen=True, slots=True)
class Found:
    """A page of events. names: of users and institutions. total: None if there are very many. next: the page link's text."""

    events: Sequence[Json]
    names: Names
    total: int | None
    next: str | None
    damaged: Sequence[Damaged] = ()


@dataclass(frozen=True, slots=True)
class Auditor:
    """One request of an auditor. chosen: whether the language was chosen, and goes along with every link."""

    reception: Reception
    signed: Signed
    lang: str
    chosen: bool
    call: Call

    @property
    def use(self) -> Services:
        """The services under the definitions that are in force."""
        return self.reception.use.definitions.services

    @property
    def institution(self) -> str:
        return self.call.requester.organization

    @property
    def speech(self) -> Speech:
        return SPEECH[self.lang]

    @property
    def zone(self) -> tzinfo:
        return self.reception.use.zone

    @property
    def operates(self) -> bool:
        """Whether they operate this server as well, and so are told of all of it what is no institution's own."""
        return self.call.requester.user in self.use.settings.operators

    def to(self, path: str, **query: object) -> str:
        """Return a link of the desk. Its query holds nothing of anybody: ids of rows, and sealed searches."""
        given = {name: value for name, value in query.items() if value is not None}
        told = urlencode({**given, **({"lang": self.lang} if self.chosen else {})})
        return DESK + path + (f"?{told}" if told else "")

    def page(self, template: str, at: str, *, status: int = 200, errors: Errors = (), **values: Any) -> Response:
        """Return a page. at: the link to it, without the language."""
        return page(
            f"desk_{template}",
            self.lang,
            status=status,
            errors=errors,
            again=f"{at}{'&' if '?' in at else '?'}",
            signed_in=self.signed.account.name,
            d=self.speech,
            to=self.to,
            form=Form(form_token(self.reception.vault, self.signed.cookie), "", at.partition("?")[0]),
            **values,
        )

    def absent(self) -> Response:
        """Return the page of what does not exist, or is not theirs."""
        return self.page("message", DESK, status=404, title="error_title", text="absent", back=self.to(""))

    def failed(self, text: str) -> Response:
        """Return the page of what cannot be shown."""
        return self.page("message", DESK, status=500, title="error_title", text=text, back=self.to(""))

    def moved(self, target: str) -> Response:
        """Return the way to the page that shows what a form has done."""
        return to(target)

    def fits(self, token: str | None) -> bool:
        """Return whether a form is one that this browser was given."""
        return form_fits(self.reception.vault, self.signed.cookie, token)

    async def done(self, request: Request) -> Answer:
        """Return the answer to a request of theirs."""
        return await perform(self.use, self.call, request, lambda use: request.run(use, self.call, None))

    async def search(self, pairs: Pairs) -> Found:
        """Return what a search of the log finds. Raises Unanswered."""
        answer = await self.done(Request("search-type", "POST", LOG, None, pairs=pairs, posted=True))
        if answer.status != 200:
            raise Unanswered(answer)
        found = parse(answer.body)
        links = {each["relation"]: each["url"] for each in found["link"]}
        parts: dict[str, list[Json]] = defaultdict(list)
        for each in found.get("entry", ()):
            parts[each["search"]["mode"]].append(each["resource"])
        damaged = [_damaged(each) for each in found.get("entry", ()) if each["search"]["mode"] == "outcome"]
        following = links["next"].partition(f"{CURSOR}=")[2] if "next" in links else None
        return Found(parts["match"], names_of(parts["include"]), found.get("total"), following, damaged)

    async def names(self, references: Iterable[str]) -> Names:
        """Return the names of users and institutions, as far as the directory has them."""
        wanted = defaultdict[str, set[str]](set)
        for type, _, id in (each.partition("/") for each in references):
            if type in NAMED and ID.fullmatch(id):
                wanted[type].add(id)
        ids = sorted(frozenset[str]().union(*wanted.values()))[:MOST_NAMES]
        if not ids:
            return {}
        pairs = (("_type", ",".join(sorted(wanted))), ("_id", ",".join(ids)), ("_count", str(2 * MOST_NAMES)))
        answer = await self.done(Request("search-system", "POST", None, None, pairs=pairs, posted=True))
        entries = parse(answer.body).get("entry", ()) if answer.status == 200 else ()
        return names_of(each["resource"] for each in entries if each["search"]["mode"] == "match")

    def sealed(self, pairs: Pairs) -> str:
        """Return a search as the text of a link, which this auditor alone can use."""
        return sealed_cursor(self.use.cursor_key, self.call.requester, Cursor(LOG, pairs, None))

    def opened(self, text: str) -> Pairs | None:
        """Return the search that a link's text stands for, None if it is none of theirs."""
        try:
            return opened_cursor(self.use.cursor_key, self.call.requester, LOG, text).query
        except InvalidSearchValue:
            return None


async def auditor_of(reception: Reception, request: HttpRequest) -> Auditor | Response:
    """Return the auditor who sends a request, or the page for somebody who is none."""
    asked = request.query_params.get("lang")
    lang = language(asked, request.headers.get("accept-language"))
    signed = await reception.signing_in.signed(desk_cookie(reception, request))
    if signed is None or signed.wanting:
        return _message(lang, 401, "not_signed_in", back=ENTER)
    if signed.account.role is not Role.AUDITOR:
        return _message(lang, 403, "not_auditor")
    call = Call(signed.account.requester(SCOPE), reception.use.settings.public_base)
    return Auditor(reception, signed, lang, asked == lang, call)


def _damaged(entry: Json) -> Damaged:
    return Damaged(next((each["url"].rpartition("/")[2] for each in entry.get("link", ())), None), entry["resource"])


def _message(lang: str, status: int, text: str, *, back: str | None = None) -> Response:
    return page("desk_message", lang, status=status, d=SPEECH[lang], to=None, title="error_title", text=text, back=back)
