"""[origin]/my/authorizations: what a patient has authorized and is asked for; they answer, and revoke.

Source of what is told before somebody agrees: PIPL (个人信息保护法), articles 14, 15, 17 and 23: who, what for, which data,
until when, how to take it back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from starlette.requests import Request as Asked
from starlette.responses import Response

from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.requester import ID
from fhir_server.consenting.asked import Request, State
from fhir_server.consenting.words import Terms, terms
from fhir_server.interactions.call import Services
from fhir_server.pages.my.acting import Acting
from fhir_server.pages.my.consents import GROUPS, Shown, listed, shown
from fhir_server.pages.my.entering import HOME, SIGN_IN, SIGN_OUT
from fhir_server.pages.my.visiting import Visit, sent_to, to, visit_of
from fhir_server.pages.my.words import WORDS, day
from fhir_server.pages.rendering import page
from fhir_server.pages.words import LANGUAGES

# By the value of a button: the operation on the Consent, and what the page says when it is done.
STEPS: Mapping[str, tuple[str, str]] = {
    "agree": ("confirm", "agreed"),
    "decline": ("decline", "declined"),
    "revoke": ("revoke", "revoked"),
}
SAID = {*(said for _, said in STEPS.values())}


class Group(NamedTuple):
    """Authorizations that stand under one heading. title: key of its text."""

    title: str
    rows: list[Shown]


class Authorizations:
    """The list, the details, the steps."""

    def __init__(self, desk: Reception) -> None:
        self._desk = desk

    @property
    def _use(self) -> Services:
        return self._desk.use

    async def all(self, request: Asked) -> Response:
        visit = await visit_of(self._desk, request)
        if not visit.is_in:
            return visit.answered(to(SIGN_IN))
        acting = visit.acting(self._desk)
        patient = await acting.patient()
        consents = await acting.consents(patient) if patient else []
        found = listed(consents, at=self._desk.clock(), zone=self._use.zone)
        groups = [Group(title, [each for each in found if each.group == title]) for title in GROUPS]
        return await self._page("my_list", visit, acting, found, groups=groups, patient=patient)

    async def detail(self, request: Asked) -> Response:
        visit = await visit_of(self._desk, request)
        if not visit.is_in:
            return visit.answered(to(SIGN_IN))
        said = request.query_params.get("done")
        return await self._detail(visit, request.path_params["id"], said if said in SAID else None)

    async def ask(self, request: Asked) -> Response:
        """Ask whether an authorization is really to be revoked."""
        visit = await visit_of(self._desk, request)
        if not visit.is_in:
            return visit.answered(to(SIGN_IN))
        acting = visit.acting(self._desk)
        found = await self._found(acting, request.path_params["id"])
        if found is None:
            return await self._absent(visit, acting)
        if not found.ends:
            return visit.answered(to(_place(found.id)))
        return await self._page("my_revoke", visit, acting, [found], each=found)

    async def post(self, request: Asked) -> Response:
        """Take a step, and go back to where its result is shown."""
        visit = await visit_of(self._desk, request)
        form, ours = await sent_to(self._desk, request, visit)
        id = request.path_params["id"]
        if not visit.is_in:
            return visit.answered(to(SIGN_IN))
        if not ours:
            return await self._detail(visit, id, error="form_expired")
        if form.values.get("step") not in STEPS or not ID.fullmatch(id):
            return visit.answered(to(_place(id) if ID.fullmatch(id) else HOME))
        operation, said = STEPS[form.values["step"]]
        answer = await visit.acting(self._desk).step(id, operation)
        if answer.status >= 400:
            return await self._detail(visit, id, error="not_done", status=409)
        return visit.answered(to(f"{_place(id)}?done={said}"))

    async def _detail(
        self, visit: Visit, id: str, said: str | None = None, *, error: str | None = None, status: int = 400
    ) -> Response:
        acting = visit.acting(self._desk)
        found = await self._found(acting, id)
        if found is None:
            return await self._absent(visit, acting)
        texts = {**LANGUAGES[visit.lang].texts, **WORDS[visit.lang].texts}
        values = {
            "each": found,
            "steps": self._steps(await acting.versions(id)),
            "said": said,
            "errors": ((None, texts[error]),) if error else (),
        }
        asking = found.asked if found.waits else None
        shown_as = status if error else 200
        return await self._page("my_detail", visit, acting, [found], status=shown_as, asking=asking, **values)

    def _steps(self, versions: Iterable[Mapping[str, Any]]) -> list[tuple[str | None, State]]:
        """Return the day of each version of a Consent, and the state that it brought."""
        zone, found = self._use.zone, []
        for each in versions:
            stored = each["meta"]["lastUpdated"]
            if then := shown(each, at=datetime.fromisoformat(stored), zone=zone):
                found.append((day(stored, zone), then.state))
        return found

    async def _found(self, acting: Acting, id: str) -> Shown | None:
        consent = await acting.consent(id)
        return shown(consent, at=self._desk.clock(), zone=self._use.zone) if consent else None

    async def _absent(self, visit: Visit, acting: Acting) -> Response:
        return await self._page("my_absent", visit, acting, (), status=404)

    async def _page(
        self,
        template: str,
        visit: Visit,
        acting: Acting,
        found: Iterable[Shown],
        *,
        status: int = 200,
        asking: Request | None = None,
        **values: Any,
    ) -> Response:
        """Return a page of authorizations, with the names of everybody who is named in them. asking: told in sentences."""
        words = WORDS[visit.lang]
        named = await acting.names(frozenset[str]().union(*(each.references for each in found)))
        made = page(
            template,
            visit.lang,
            status=status,
            m=words,
            terms=self._terms(asking, named, visit.lang) if asking else None,
            names={acting.account.user: words("yourself"), **named},
            day=lambda text: day(text, self._use.zone),
            place=_place,
            for_another=acting.for_another,
            signed_in=visit.name,
            again="?",
            form=visit.form(self._desk, ""),
            leaving=visit.form(self._desk, SIGN_OUT),
            **values,
        )
        return visit.answered(made)

    def _terms(self, asked: Request, names: Mapping[str, str], lang: str) -> Terms:
        who = WORDS[lang].someone(f"Organization/{asked.organization}", names)
        return terms(asked, who, zone=self._use.zone, lang=lang)


def _place(id: str) -> str:
    return f"{HOME}/{id}"
