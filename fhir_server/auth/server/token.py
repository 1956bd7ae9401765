"""POST /auth/token — RFC 6749, 3.2; SMART App Launch 2.2, "Obtain access token"."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fhir_server.auth.bearer import InvalidClaims
from fhir_server.auth.server.authentication import Caller
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.clients import ASSERTION, CODE, CREDENTIALS, REFRESH
from fhir_server.auth.server.form import Form
from fhir_server.auth.server.grant_types import assertion, code, credentials, refresh
from fhir_server.auth.server.problems import (
    OAuthProblem,
    invalid_grant,
    unauthorized_client,
    unsupported_grant_type,
)

# Grant types of clients that authenticate first. An assertion of an EMR is its authentication itself.
GRANT_TYPES: Mapping[str, Callable[[Authority, Caller, Form], Awaitable[dict[str, Any]]]] = {
    CODE: code.answer,
    REFRESH: refresh.answer,
    CREDENTIALS: credentials.answer,
}
OFFERED = (*GRANT_TYPES, ASSERTION)


async def answer(use: Authority, form: Form, authorization: str | None) -> dict[str, Any]:
    """Return the token response. Raises OAuthProblem."""
    grant_type = form.needed("grant_type")
    if grant_type not in OFFERED:
        raise unsupported_grant_type(f"grant_type has to be one of {', '.join(OFFERED)}.")
    if grant_type == ASSERTION:
        proven = authorization is not None or not form.keys().isdisjoint(("client_secret", "client_assertion"))
        caller = await use.authentication.caller(form, authorization) if proven else None
        return await assertion.answer(use, caller, form)
    caller = await _unnamed(use, grant_type, form, authorization) or await use.authentication.caller(
        form, authorization
    )
    try:
        if grant_type not in caller.client.grant_types:
            raise unauthorized_client(f"This client may use {', '.join(sorted(caller.client.grant_types))}.")
        return await GRANT_TYPES[grant_type](use, caller, form)
    except InvalidClaims as problem:
        raise await _recorded(use, caller, invalid_grant(f"What was granted cannot be used: {problem}.")) from None
    except OAuthProblem as problem:
        raise await _recorded(use, caller, problem) from None


async def _unnamed(use: Authority, grant_type: str, form: Form, authorization: str | None) -> Caller | None:
    """Return the public client that refreshes without its client_id: its refresh token is bound to it (RFC 6749, 6)."""
    named = authorization is not None or not form.keys().isdisjoint(("client_id", "client_secret", "client_assertion"))
    if grant_type != REFRESH or named:
        return None
    said = use.grants.read_refresh_token(form.needed("refresh_token"))
    grant = await use.grants.grant(said[0]) if said else None
    client = await use.clients.get(grant.client) if grant else None
    return Caller(client) if client and not client.confidential else None


async def _recorded(use: Authority, caller: Caller, problem: OAuthProblem) -> OAuthProblem:
    await use.recorder.refused("token", caller.client, problem.status, problem.error)
    return problem
