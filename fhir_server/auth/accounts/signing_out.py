"""GET and POST [origin]/auth/sign-out: the session ends, and what apps were allowed for as long as it lasted.

Source: OpenID Connect RP-Initiated Logout 1.0. Whoever comes with an id token of the one who is signed in is not asked;
everybody else is, so that no other site can sign anybody out.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.auth.accounts.browser import cookie_of, form_of, with_cookie, without_cookie
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.accounts.sessions import form_fits, form_token
from fhir_server.auth.accounts.showing import Form
from fhir_server.auth.accounts.steps import Signed
from fhir_server.auth.server.asking import with_query
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.signing import ALGORITHMS, Use
from fhir_server.pages.rendering import page
from fhir_server.pages.words import LANGUAGES, language

PATH = "/auth/sign-out"
KEPT = ("client_id", "post_logout_redirect_uri", "state")


class SignOut:
    """The end of sessions."""

    def __init__(self, desk: Reception, authority: Authority) -> None:
        self._desk = desk
        self._authority = authority

    async def get(self, request: Request) -> Response:
        """Sign out whoever an id token names, or ask."""
        given = dict(request.query_params)
        cookie = cookie_of(request, self._desk.origin)
        signed = await self._desk.signing_in.signed(cookie)
        client, account = await self._hinted(given)
        if signed is None:
            return await self._left(request, {**given, "client_id": client or ""})
        if account == signed.account.id:
            await self._end(signed)
            return await self._left(request, {**given, "client_id": client or ""})
        return await self._question(request, signed, {**given, "client_id": client or given.get("client_id", "")})

    async def post(self, request: Request) -> Response:
        """Take the form of the question, or an app's request that comes as a form, from another site without a cookie."""
        form, _ = await form_of(request)
        if "step" not in form.values:
            client, _ = await self._hinted(form.values)
            kept = {name: form.values[name] for name in KEPT if form.values.get(name)}
            return _to(f"{PATH}?{urlencode({**kept, **({'client_id': client} if client else {})})}")
        cookie = cookie_of(request, self._desk.origin)
        signed = await self._desk.signing_in.signed(cookie)
        if signed is not None:
            if not form_fits(self._desk.vault, cookie, form.values.get("form")):
                return await self._question(request, signed, form.values, expired=True)
            await self._end(signed)
        return await self._left(request, form.values)

    async def _end(self, signed: Signed) -> None:
        await self._desk.signing_in.leave(signed)
        await self._authority.end_all("sign-out", session=signed.session.id)

    async def _left(self, request: Request, given: Mapping[str, str]) -> Response:
        """Return the way back to the app, if it has registered it, else a page."""
        target = await self._target(given)
        if target:
            state = given.get("state") or None
            return without_cookie(_to(with_query(target, state=state)), secure=self._desk.secure)
        lang = _lang(request)
        text = LANGUAGES[lang]("signed_out_lead")
        shown = page("message", lang, title="signed_out_title", text=text, back="/auth/sign-in")
        return without_cookie(shown, secure=self._desk.secure)

    async def _question(
        self, request: Request, signed: Signed, given: Mapping[str, str], *, expired: bool = False
    ) -> Response:
        target, lang = await self._target(given), _lang(request)
        shown = page(
            "home",
            lang,
            leads_to=[target] if target else [],
            errors=((None, LANGUAGES[lang]("form_expired")),) if expired else (),
            signed_in=signed.account.name,
            home=False,
            form=Form(form_token(self._desk.vault, signed.cookie), "", PATH),
            kept=[(name, given[name]) for name in KEPT if given.get(name)],
        )
        return with_cookie(shown, signed.cookie, secure=self._desk.secure)

    async def _target(self, given: Mapping[str, str]) -> str | None:
        """Return where the app wants its user back, if the app is known and has registered it."""
        client = await self._authority.clients.get(given.get("client_id", ""))
        wanted = given.get("post_logout_redirect_uri", "")
        return wanted if client and wanted in client.post_logout_redirect_uris else None

    async def _hinted(self, given: Mapping[str, str]) -> tuple[str | None, str | None]:
        """Return client and account that an id token of ours names; it may have expired, as the standard allows."""
        keys = await self._authority.keys.verifying(Use.IDENTITY)
        for key in keys.values():
            try:
                claims = jwt.decode(
                    given.get("id_token_hint", ""), key.key, algorithms=[ALGORITHMS[Use.IDENTITY]]
                ).claims
                client, account = str(claims["aud"]), str(claims["sub"])
            except (JoseError, ValueError, KeyError, TypeError):
                continue
            known = claims.get("iss") == self._desk.origin and given.get("client_id", client) == client
            return (client, account) if known else (None, None)
        return None, None


def _to(location: str) -> Response:
    return RedirectResponse(location, 303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


def _lang(request: Request) -> str:
    asked = request.query_params.get("lang") or (request.query_params.get("ui_locales") or "").split("-")[0]
    return language(asked, request.headers.get("accept-language"))
