"""GET [origin]/auth/provider and /auth/callback: to an institution's provider, and back with who somebody is there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fhir_server.auth.accounts.account import PURPOSES, Account, InvalidAccount, checked
from fhir_server.auth.accounts.browser import cookie_of, error, with_cookie
from fhir_server.auth.accounts.flows import Flow
from fhir_server.auth.accounts.provider import Provider
from fhir_server.auth.accounts.providers import ProviderFailed
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.accounts.sessions import PROVIDER, SEVERAL, new_token
from fhir_server.auth.accounts.signing_in import Failed
from fhir_server.auth.accounts.users import Kept
from fhir_server.auth.own import is_department, stored_by
from fhir_server.auth.requester import ID
from fhir_server.auth.server.authority import Authority
from fhir_server.pages.words import language
from fhir_server.store.resources import Ungated

log = logging.getLogger(__name__)

NOWHERE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


class Federation:
    """The way to a provider and back."""

    def __init__(self, desk: Reception, authority: Authority) -> None:
        self._desk = desk
        self._authority = authority

    async def leave(self, request: Request) -> Response:
        """Send the user to a provider."""
        cookie = cookie_of(request, self._desk.origin)
        flow = await self._desk.flows.of(cookie, request.query_params.get("flow"))
        provider = self._desk.providers.get(request.query_params.get("provider", ""))
        if cookie is None or flow is None or provider is None:
            return error("error_flow", _lang(request, flow))
        try:
            # What stands for a flow that is not stored is longer than providers take it back.
            flow = replace(flow, token=new_token())
            away = await self._desk.providers.leave(provider, flow.token)
        except ProviderFailed as failed:
            return await self._failed(flow, str(failed))
        await self._desk.flows.keep(replace(flow, provider=away.kept), cookie)
        return RedirectResponse(away.url, 303, headers=NOWHERE)

    async def back(self, request: Request) -> Response:
        """Take the code that a provider sent the user back with."""
        given = request.query_params
        cookie, state = cookie_of(request, self._desk.origin), given.get("state", "")
        flow = await self._desk.flows.of(cookie, state.partition(".")[0])
        provider = self._desk.providers.get(flow.provider.get("id", "")) if flow else None
        if cookie is None or flow is None or provider is None or flow.provider["state"] != state:
            return error("error_flow", _lang(request, flow))
        kept = flow.provider
        flow = await self._desk.flows.keep(replace(flow, provider={}), cookie)
        if not given.get("code") or "error" in given or given.get("iss", provider.issuer) != provider.issuer:
            return await self._failed(flow, f"{provider.id}: it sent the user back without a code")
        try:
            account = await self._account(provider, await self._desk.providers.back(provider, given["code"], kept))
        except ProviderFailed as failed:
            return await self._failed(flow, str(failed))
        if account is None:
            await self._desk.signing_in.record(None, "provider", done=False)
            return error("error_account", flow.lang, status=403)
        return await self._entered(flow, account, provider)

    async def _entered(self, flow: Flow, kept: Kept, provider: Provider) -> Response:
        factors = frozenset({PROVIDER, SEVERAL} if provider.second_factor else {PROVIDER})
        signed = await self._desk.signing_in.enter(kept, factors)
        if isinstance(signed, Failed):
            return error("error_account", flow.lang, status=403)
        await self._desk.flows.keep(flow.begun_anew(), signed.cookie)
        response = RedirectResponse(f"/auth/authorize?flow={quote(flow.token)}", 303, headers=NOWHERE)
        return with_cookie(response, signed.cookie, secure=self._desk.secure)

    async def _account(self, provider: Provider, claims: Mapping[str, Any]) -> Kept | None:
        """Return the account of whoever a provider names: a mapped one, or one that is made. None if there is none."""
        users, subject = self._desk.users, (provider.issuer, claims["sub"])
        kept = await users.by_subject(*subject)
        if kept is not None:
            good = not kept.disabled and kept.account.organization == provider.organization
            return await self._as_told(provider, kept, claims) if good else None
        if not provider.create:
            return None
        try:
            account = checked(await self._described(provider, claims))
            if await self._of_another(account):
                return None
            return Kept(await users.add(account, subject=subject), federated=True)
        except InvalidAccount as problem:
            log.warning("provider %s: no account can be made of its claims: %s", provider.id, problem)
            return None

    async def _as_told(self, provider: Provider, kept: Kept, claims: Mapping[str, Any]) -> Kept | None:
        """Return an account as its provider tells of it now, if the provider made it; None if that cannot be.

        What apps were granted under what was told before ends. A mapped account is as the operator has made it.
        """
        told = await self._described(provider, claims)
        now = replace(told, id=kept.account.id, purposes=kept.account.purposes, phone=kept.account.phone)
        if now.login != kept.account.login:
            return kept
        try:
            if await self._of_another(checked(now)):
                return None
        except InvalidAccount:
            return None
        if now == kept.account:
            return kept
        await self._desk.users.change(now)
        await self._authority.end_all("revocation", account=now.id)
        return replace(kept, account=now)

    async def _described(self, provider: Provider, claims: Mapping[str, Any]) -> Account:
        """Return the account that a provider describes, without a department or role that is not its institution's own.

        Consents name both: with another institution's, its users would see what was granted to that one.
        """
        told, of = described(provider, claims), (self._authority.database, self._authority.marks)
        if told.department and not await is_department(*of, told.department, told.organization):
            told = replace(told, department=None)
        if told.practitioner_role and not await stored_by(*of, told.practitioner_role, told.organization):
            told = replace(told, practitioner_role=None)
        return told

    async def _of_another(self, account: Account) -> bool:
        """Return whether the resource that is to stand for a user is kept by another institution than the provider's.

        A provider speaks for its own people: it cannot make anybody another institution's doctor.
        """
        type, _, id = account.user.partition("/")
        found = await self._desk.use.resources.many(type, [id], Ungated("whose user a provider speaks for"))
        self._desk.use.resources.check(type, found.values())
        return any(each["org"] != account.organization for each in found.values())

    async def _failed(self, flow: Flow, why: str) -> Response:
        log.warning("sign-in at a provider failed: %s", why)
        await self._desk.signing_in.record(None, "provider", done=False)
        return error("error_provider", flow.lang)


def described(provider: Provider, claims: Mapping[str, Any]) -> Account:
    """Return the account that the claims of a provider describe; what cannot be read of it is left out."""
    names = provider.claims
    role = claims.get(names.practitioner_role)
    department = claims.get(names.department)
    return Account(
        id="",
        login=f"{provider.id}:{claims['sub']}"[:128],
        name=str(claims.get(names.name) or provider.name)[:100],
        role=provider.role,
        user="/".join(str(claims.get(names.user, "")).split("/")[-2:]),
        organization=provider.organization,
        purposes=provider.purposes or PURPOSES[provider.role],
        department=department if isinstance(department, str) and ID.fullmatch(department) else None,
        practitioner_role=role if isinstance(role, str) and role.startswith("PractitionerRole/") else None,
    )


def _lang(request: Request, flow: Flow | None) -> str:
    return flow.lang if flow else language(None, request.headers.get("accept-language"))
