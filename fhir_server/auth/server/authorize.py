"""GET and POST [origin]/auth/authorize: from an app's request, page by page, to a code or a refusal.

Source: RFC 6749, 3.1 and 4.1; SMART App Launch 2.2, "Obtain authorization code"; RFC 9700, 4.12 (303 after a form).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.auth.accounts import showing
from fhir_server.auth.accounts.account import REASONED
from fhir_server.auth.accounts.browser import cookie_of, error, form_of, new_cookie, source_of, with_cookie
from fhir_server.auth.accounts.codes import new_secret
from fhir_server.auth.accounts.flows import NEXT, Flow
from fhir_server.auth.accounts.reception import Errors, Reception, Visit
from fhir_server.auth.accounts.sessions import form_fits
from fhir_server.auth.accounts.steps import NO_ENCOUNTER, UNASKED, Step
from fhir_server.auth.accounts.taking import TAKES, Form, Taken
from fhir_server.auth.server.asking import Asked, Refused, Rejected
from fhir_server.auth.server.authorizations import Granted, for_role
from fhir_server.pages.words import LANGUAGES, language

MOST_PAIRS = 50


class Authorize:
    """The authorization endpoint."""

    def __init__(self, desk: Reception) -> None:
        self._desk = desk

    async def get(self, request: Request) -> Response:
        """Begin with an app's request, or go on with a flow that began in this browser."""
        pairs = _pairs(request.url.query)
        given = dict(pairs)
        cookie = cookie_of(request, self._desk.origin) or new_cookie()
        if "flow" in given:
            flow = await self._desk.flows.of(cookie, given["flow"])
            if flow is None:
                return error("error_flow", _lang(request))
            flow = await self._desk.flows.spoken(flow, cookie, language(given.get("lang"), flow.lang))
            return await self._go_on(request, cookie, flow)
        return await self._begin(request, cookie, pairs)

    async def home(self, request: Request) -> Response:
        """GET [origin]/auth/sign-in: sign in without an app; next: for which pages (flows.NEXT)."""
        wanted = request.query_params.get("next")
        cookie = cookie_of(request, self._desk.origin) or new_cookie()
        return await self._begin(request, cookie, (), wanted if wanted in NEXT else None)

    async def post(self, request: Request) -> Response:
        """Take a form of one of the pages, or an app's request that comes as a form."""
        cookie = cookie_of(request, self._desk.origin)
        form, pairs = await form_of(request)
        if "step" not in form.values:
            return _as_query(pairs)
        flow = await self._desk.flows.of(cookie, form.values.get("flow"))
        if cookie is None or flow is None:
            return error("error_flow", _lang(request))
        if not form_fits(self._desk.vault, cookie, form.values.get("form")):
            return await self._go_on(request, cookie, flow, form_error=True)
        return await self._go_on(request, cookie, flow, form=form)

    async def _begin(
        self, request: Request, cookie: str, pairs: Sequence[tuple[str, str]], next: str | None = None
    ) -> Response:
        asked, answer = await self._asked(request, pairs)
        if answer is not None:
            return answer
        flow = self._desk.flows.begin(cookie, tuple(pairs), _lang(request), next)
        signed = await self._desk.signing_in.signed(cookie)
        return await self._advanced(Taken(Visit(cookie, flow, asked, signed, source_of(request))))

    async def _go_on(
        self, request: Request, cookie: str, flow: Flow, *, form: Form | None = None, form_error: bool = False
    ) -> Response:
        asked, answer = await self._asked(request, flow.pairs)
        if answer is not None:
            return answer
        visit = Visit(cookie, flow, asked, await self._desk.signing_in.signed(cookie), source_of(request))
        if form is None:
            errors: Errors = ((None, LANGUAGES[flow.lang]("form_expired")),) if form_error else ()
            return await self._advanced(Taken(visit, errors))
        button = form.values["step"]
        if button in ("cancel", "deny"):
            return await self._denied(visit)
        if button == "allow":
            return await self._allowed(visit, form)
        taken = await TAKES[button](self._desk, visit, form) if button in TAKES else Taken(visit)
        return await self._advanced(taken)

    async def _asked(self, request: Request, pairs: Sequence[tuple[str, str]]) -> tuple[Asked | None, Response | None]:
        """Return what an app asks for, None without an app; or the answer to one that cannot be granted."""
        if not pairs and request.url.path != showing.ACTION:
            return None, None
        if not pairs and request.method == "GET" and "flow" not in request.query_params:
            return None, error("error_client", _lang(request), why="client_id")
        if not pairs:
            return None, None
        try:
            return await self._desk.authorizations.read(pairs), None
        except Rejected as rejected:
            return None, error("error_client", _lang(request), why=str(rejected))
        except Refused as refused:
            return None, _to(refused.location)

    async def _advanced(self, taken: Taken) -> Response:
        """Return the page of the next step; steps that need nobody are taken at once."""
        visit, errors, searched = taken
        while True:
            step = visit.step(self._desk)
            moved = await self._by_itself(visit, step)
            if isinstance(moved, Response):
                return moved
            if moved is None and visit.asked and "none" in visit.asked.prompt:
                return await self._refused(visit, UNASKED[step], "prompt is none, but the user has to be asked.")
            if moved is None:
                shown = await showing.show(self._desk, visit, step, errors=errors, searched=searched)
                return self._answer(visit, shown)
            visit = moved

    async def _by_itself(self, visit: Visit, step: Step) -> Visit | Response | None:
        """Return the visit after a step that needs nobody, the answer to one that fails, None if it needs somebody."""
        desk = self._desk
        if step is Step.ENROL and visit.flow.secret is None:
            return await visit.kept(desk, secret=new_secret())
        if step is Step.HOME and (place := NEXT.get(visit.flow.next or "")):
            return self._answer(visit, _to(place))
        if step is Step.PURPOSE and visit.signed:
            purposes = visit.signed.account.purposes
            alone = len(purposes) == 1 and not REASONED.intersection(purposes)
            return await visit.kept(desk, purpose=purposes[0]) if alone else None
        if step is Step.LAUNCH:
            return await self._launched(visit)
        if step is Step.APPROVE and visit.asked and visit.signed:
            left = for_role(visit.asked.scope, visit.signed.account.role)
            return (
                None if left else await self._refused(visit, "invalid_scope", "This user can grant none of the scopes.")
            )
        if step is Step.PATIENT and not visit.picking(desk).searches:
            own = await visit.picking(desk).own()
            return await visit.kept(desk, patient=own[0].id) if len(own) == 1 else None
        return None

    async def _launched(self, visit: Visit) -> Visit | Response:
        """Return the visit with the EMR's context. It is taken whatever comes of it: nobody tries it twice."""
        assert visit.asked
        assert visit.asked.launch
        assert visit.signed
        launch = await self._desk.launches.take(visit.asked.launch)
        if launch is None or not launch.fits(visit.signed.account, visit.asked.client.id):
            await self._desk.signing_in.record(visit.signed.account, "context", done=False, what="launch")
            return await self._refused(visit, "invalid_request", "There is no such launch for this user and app.")
        await self._desk.signing_in.record(visit.signed.account, f"client {visit.asked.client.id}", what="launch")
        found = {name: value for name, value in asdict(launch).items() if value and name in ("patient", "encounter")}
        context = {**launch.context(), **found}
        return await visit.kept(
            self._desk, launched=context, patient=found.get("patient"), encounter=found.get("encounter")
        )

    async def _allowed(self, visit: Visit, form: Form) -> Response:
        if visit.step(self._desk) is not Step.APPROVE:
            return await self._advanced(Taken(visit))
        assert visit.asked
        assert visit.signed
        offered = for_role(visit.asked.scope, visit.signed.account.role).split()
        scopes = [each for each in offered if each in showing.FIXED or each in form.scopes]
        if not set(scopes) - showing.FIXED:
            nothing = ((None, LANGUAGES[visit.flow.lang]("approve_nothing")),)
            return await self._advanced(Taken(visit, nothing))
        if not await self._desk.flows.end(visit.flow):
            return error("error_flow", visit.flow.lang)
        try:
            granted = _granted(visit, scopes)
            location = await self._desk.authorizations.grant(visit.asked, granted, stands=partial(self._stands, visit))
        except Refused as refused:
            location = refused.location
        return self._answer(visit, _to(location))

    async def _stands(self, visit: Visit) -> bool:
        """Return whether who has allowed it is still signed in, as the account that they were."""
        now = await self._desk.signing_in.signed(visit.cookie)
        return now is not None and visit.signed is not None and now.account == visit.signed.account

    async def _denied(self, visit: Visit) -> Response:
        if visit.asked is None:  # somebody who is at home here starts again
            return self._answer(visit, _to("/auth/sign-in"))
        account = visit.signed.account if visit.signed else None
        await self._desk.signing_in.record(account, f"denied; client {visit.asked.client.id}", done=False)
        return await self._refused(visit, "access_denied", "The user did not allow it.")

    async def _refused(self, visit: Visit, code: str, description: str) -> Response:
        assert visit.asked
        await self._desk.flows.end(visit.flow)
        return self._answer(visit, _to(self._desk.authorizations.refuse(visit.asked, code, description)))

    def _answer(self, visit: Visit, response: Response) -> Response:
        return with_cookie(response, visit.cookie, secure=self._desk.secure)


def _granted(visit: Visit, scopes: Sequence[str]) -> Granted:
    """Return what the user granted: who they are, for what, about whom, and which scopes."""
    assert visit.signed
    flow, account = visit.flow, visit.signed.account
    claims = {**account.claims(flow.purpose or "", flow.reason), "scope": " ".join(scopes)}
    context = {name: value for name, value in (flow.launched or {}).items() if name not in ("patient", "encounter")}
    if flow.patient:
        claims["patient"] = f"Patient/{flow.patient}"
        context["patient"] = flow.patient
    if flow.encounter and flow.encounter != NO_ENCOUNTER:
        context["encounter"] = flow.encounter
    return Granted(account.id, visit.signed.session.at, claims, context, visit.signed.session.id)


def _as_query(pairs: Sequence[tuple[str, str]]) -> Response:
    """Return the way back with an app's request as a query: a form from another site comes without the cookie.

    A login_hint is left out: it may tell who the user is, which does not belong in a URL.
    """
    kept = [(name, value) for name, value in pairs if name != "login_hint"]
    return _to(f"{showing.ACTION}?{urlencode(kept)}")


def _to(location: str) -> Response:
    return RedirectResponse(location, 303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


def _pairs(query: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_PAIRS))
    except ValueError:
        return ()


def _lang(request: Request) -> str:
    asked = request.query_params.get("lang") or (request.query_params.get("ui_locales") or "").split("-")[0]
    return language(asked, request.headers.get("accept-language"))
