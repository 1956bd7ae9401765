"""GET [origin]/consent-prompt?request=…: the page; POST …/answer: what the patient does on it, then a redirect (303).

No script, no pop-up, one cookie of the same site: it works in the web view of a mini-program as in a browser. Whoever goes
back after answering finds the answer. Until somebody has signed in, nothing on the page tells whom it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from fhir_server.audit.event import Happening, Outcome
from fhir_server.auth.accounts.reception import Errors, Reception
from fhir_server.auth.accounts.steps import Step
from fhir_server.auth.server.authority import Authority
from fhir_server.consenting.words import terms
from fhir_server.pages.my.acting import ROLES
from fhir_server.pages.my.visiting import LANG, Visit, name_of, sent_to, to, visit_of
from fhir_server.pages.my.words import WORDS
from fhir_server.pages.prompt.answering import Answering, Done
from fhir_server.pages.prompt.framing import framed
from fhir_server.pages.prompt.prompts import Kept, Prompts
from fhir_server.pages.rendering import page
from fhir_server.pages.words import LANGUAGES

PATH, ANSWER = "/consent-prompt", "/consent-prompt/answer"
# The pages beside the question itself, by the parameter "step".
SIGN_IN, SMS = "sign-in", "sms"
LONGEST_WAIT = 3  # digits of a number of seconds


class PromptPage:
    """The page, and what is done on it."""

    def __init__(self, desk: Reception, authority: Authority, prompts: Prompts) -> None:
        self._desk = desk
        self._prompts = prompts
        self._answering = Answering(desk, authority, prompts)

    async def get(self, request: Request) -> Response:
        """Show where a prompt has come to."""
        visit = await self._visit(request, kept := await self._prompts.of(request.query_params.get("request")))
        if kept is None:
            return await self._gone(visit)
        said = self._said(visit, kept, request.query_params)
        step = request.query_params.get("step")
        if kept.progress.result:
            return await self._page("prompt_done", visit, kept)
        if visit.signed and visit.signed.wanting is Step.CODE and visit.signed.account.role in ROLES:
            return await self._page("code", visit, kept, said)
        if step == SMS and kept.progress.way == SMS:
            return await self._page("prompt_code", visit, kept, said)
        if step == SIGN_IN and not visit.is_in:
            return await self._page("prompt_sign_in", visit, kept, said)
        return await self._page("prompt_ask", visit, kept, said)

    async def post(self, request: Request) -> Response:
        """Take a form of the page."""
        visit = await visit_of(self._desk, request)
        form, ours = await sent_to(self._desk, request, visit)
        if name_of(self._desk.secure) not in request.cookies:
            return self._message(visit, "prompt_no_cookie", 400)
        kept = await self._prompts.of(form.values.get("flow"))
        if kept is None:
            return await self._gone(visit)
        if not ours:  # such as after somebody has signed in in another window
            return visit.answered(to(f"{PATH}?{urlencode({'request': kept.token, 'said': 'form_expired'})}"))
        done = Done(visit, kept)
        if not kept.progress.result:
            done = await self._answering.take(visit, kept, dict(form.values))
        if done.kept.progress.result and form.values.get("step") != "leave":
            return done.visit.answered(to(done.kept.back))
        query = {"request": kept.token, **({"step": done.step} if done.step else {}), **done.said}
        return done.visit.answered(to(f"{PATH}?{urlencode(query)}"))

    async def _visit(self, request: Request, kept: Kept | None) -> Visit:
        """Return the visit, in the language that the caller named where the browser has not chosen one."""
        visit = await visit_of(self._desk, request)
        chosen = request.query_params.get("lang") in LANGUAGES or LANG in request.cookies
        return visit if kept is None or chosen else visit.speaking(kept.prompt.lang)

    def _said(self, visit: Visit, kept: Kept, query: Mapping[str, str]) -> Errors:
        """Return what is told of the last attempt: one of our own texts, named in the URL, or what the prompt keeps."""
        key, wait = query.get("said", ""), query.get("wait", "")
        if key == "waiting" and wait.isascii() and wait.isdigit() and len(wait) <= LONGEST_WAIT:
            return ((None, LANGUAGES[visit.lang]("waiting", seconds=wait)),)
        if key == "told" and kept.progress.told and visit.lang == "zh":
            return (("code", kept.progress.told),)
        texts = WORDS[visit.lang].texts
        return ((None, texts[f"said_{key}"]),) if f"said_{key}" in texts else ()

    async def _gone(self, visit: Visit) -> Response:
        """Return the page of a link that has ended, or that nobody was given; recorded, as all that nobody known tries."""
        refused = Happening("operation", Outcome.REFUSED, 404, note="consent prompt: link")
        await self._desk.use.audit.record(refused, None, at=self._desk.use.now())
        return self._message(visit, "prompt_gone", 404)

    def _message(self, visit: Visit, key: str, status: int) -> Response:
        text = WORDS[visit.lang](key)
        return page("message", visit.lang, status=status, title="error_title", text=text, back=None)

    async def _page(self, template: str, visit: Visit, kept: Kept, errors: Errors = ()) -> Response:
        prompt, settings = kept.prompt, self._desk.use.settings
        words, zone = WORDS[visit.lang], self._desk.use.zone
        who = await self._answering.institution(kept)
        made = page(
            template,
            visit.lang,
            leads_to=[prompt.return_url],
            m=words,
            terms=terms(prompt.request("app", zone), who, zone=zone, lang=visit.lang),
            who=who,
            result=kept.progress.result,
            back=kept.back,
            errors=errors,
            form=visit.form(self._desk, ANSWER, kept.token),
            signed_in=visit.name,
            again=f"?{urlencode({'request': kept.token})}&",
            app=None,
            login="",
        )
        origins = next(
            (each.frame_origins for each in settings.consent_prompt_clients if each.client_id == prompt.asks["client"]),
            (),
        )
        return visit.answered(framed(made, origins))
