"""POST /auth/introspect — RFC 7662; SMART App Launch 2.2, "Token introspection".

Only confidential clients may ask, and they learn of tokens of their own and of their own institution; all other tokens
are answered as if they did not exist.
"""

from __future__ import annotations

from typing import Any

from fhir_server.auth.bearer import Bearer, requester_of
from fhir_server.auth.server.authentication import Caller
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.form import Form
from fhir_server.auth.server.problems import invalid_client, unauthorized_client
from fhir_server.auth.server.recording import of_grant

Json = dict[str, Any]

INACTIVE: Json = {"active": False}
SHOWN = ("scope", "client_id", "iss", "sub", "aud", "exp", "iat", "jti", "role", "org", "purpose", "auth_time")


async def caller(use: Authority, bearer: Bearer, form: Form, authorization: str | None) -> Caller:
    """Return who asks: a client that proves it, or that bears a token of its own (SMART App Launch 2.2).

    Raises OAuthProblem.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer":
        return await use.authentication.caller(form, authorization)
    claims = await active(use, bearer, token.strip())
    client = await use.clients.get(claims["client_id"]) if claims else None
    if client is None:
        raise invalid_client("The bearer token is not one of a registered client, or is valid no longer.")
    return Caller(client)


async def active(use: Authority, bearer: Bearer, token: str) -> Json | None:
    """Return what an access token of this server says if it is neither expired nor revoked."""
    claims = await bearer.claims(token)
    if claims is None or await use.revocations.revoked(grant=claims["grant"], jti=claims["jti"]):
        return None
    return claims


async def introspected(use: Authority, bearer: Bearer, caller: Caller, token: str) -> dict[str, Any]:
    """Return what a token says if it is active. Raises unauthorized_client."""
    if not caller.client.confidential:
        raise unauthorized_client("Only clients that prove who they are may introspect tokens.")
    if refresh := use.grants.read_refresh_token(token):
        return await _refresh_token(use, caller, *refresh)
    claims = await active(use, bearer, token)
    if claims is None:
        return INACTIVE
    client = caller.client
    if claims["client_id"] != client.id and (client.organization is None or claims["org"] != client.organization):
        return INACTIVE
    grant = await use.grants.grant(claims["grant"])
    context = dict(grant.granted.context) if grant else {}
    if "patient" in claims:
        context.setdefault("patient", claims["patient"].partition("/")[2])
    said = {name: claims[name] for name in SHOWN if name in claims}
    await use.recorder.told("introspection", requester_of(claims), client)
    return {**context, **said, "active": True, "token_type": "Bearer", "fhirUser": f"{use.base}/{claims['fhirUser']}"}


async def _refresh_token(use: Authority, caller: Caller, id: str, turn: int) -> dict[str, Any]:
    grant = await use.grants.grant(id)
    who = of_grant(grant) if grant else None
    if grant is None or who is None or grant.client != caller.client.id or grant.revoked or grant.turn != turn:
        return INACTIVE
    if grant.until <= use.now():
        return INACTIVE
    await use.recorder.told("introspection", who, caller.client)
    scope, exp = grant.granted.claims["scope"], int(grant.until)
    return {"active": True, "client_id": grant.client, "scope": scope, "exp": exp, "iss": use.origin}
