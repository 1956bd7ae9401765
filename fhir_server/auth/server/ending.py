"""POST /auth/revoke — RFC 7009. A token of a user's grant ends the grant, with every token that stands on it."""

from __future__ import annotations

from fhir_server.auth.bearer import Bearer, requester_of
from fhir_server.auth.server.authentication import Caller
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.revocation import revoke_token
from fhir_server.store.commit import Unit


async def revoke(use: Authority, bearer: Bearer, caller: Caller, token: str) -> None:
    """End a refresh or access token of this client; every other text is left as it is, and nobody is told."""
    refresh = use.grants.read_refresh_token(token)
    claims = None if refresh else await bearer.claims(token)
    if claims is not None and claims["client_id"] != caller.client.id:
        return
    id = refresh[0] if refresh else str(claims["grant"]) if claims else ""
    grant = await use.grants.grant(id)
    if grant is not None:
        if grant.client == caller.client.id and not grant.revoked:
            await use.end([grant], "revocation")
    elif claims is not None:
        unit = Unit()
        revoke_token(claims["jti"], unit)
        await use.recorder.add("revocation", requester_of(claims), unit)
        await use.committer.commit(unit)
