"""grant_type=refresh_token — RFC 6749, section 6; RFC 9700, 4.14 (rotation, and what a second use of a token means)."""

from __future__ import annotations

from typing import Any

from fhir_server.auth.scopes import narrowed
from fhir_server.auth.server.authentication import Caller
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.form import Form
from fhir_server.auth.server.grants import Grant
from fhir_server.auth.server.problems import OAuthProblem, invalid_grant, invalid_scope
from fhir_server.errors import Conflict
from fhir_server.store.commit import Unit

NO_TOKEN = (
    "The refresh token is unknown, too old, revoked, used before, or was issued to another app: the user has to approve"
    " the app anew."
)


async def answer(use: Authority, caller: Caller, form: Form) -> dict[str, Any]:
    """Return new tokens; the refresh token is used up. One that comes a second time ends the whole grant."""
    said = use.grants.read_refresh_token(form.needed("refresh_token"))
    grant = await use.grants.grant(said[0]) if said else None
    if said is None or grant is None or grant.client != caller.client.id or grant.revoked or grant.until <= use.now():
        raise invalid_grant(NO_TOKEN)
    if said[1] != grant.turn:
        raise await _used_again(use, grant)
    scope = wanted(form.get("scope"), grant, caller)
    unit = Unit()
    after = use.grants.turned(grant, unit)
    access = await use.minting.of_grant(after, scope)
    await use.recorder.add("token", access.requester, unit, note="refresh")
    answered = {**access.answer, **grant.granted.context, "refresh_token": use.grants.refresh_token(after)}
    if "openid" in scope.split():
        answered["id_token"] = await use.minting.identity(after, access, nonce=None)
    try:
        await use.committer.commit(unit)
    except Conflict:
        raise await _used_again(use, grant) from None
    return answered


def wanted(asked: str | None, grant: Grant, caller: Caller) -> str:
    """Return the scopes of the new access token: never more than was granted, and than the client may have by now.

    Raises invalid_scope.
    """
    granted = str(grant.granted.claims["scope"])
    scope = narrowed(asked, granted) if asked is not None else granted
    if asked is not None and set(scope.split()) != set(asked.split()):
        raise invalid_scope("More is asked for than was granted.")
    scope = narrowed(scope, " ".join(caller.client.scopes))
    if not scope:
        raise invalid_scope("Nothing of what was granted may be had by this app any more.")
    return scope


async def _used_again(use: Authority, grant: Grant) -> OAuthProblem:
    await use.end([grant], "reuse")
    return invalid_grant(NO_TOKEN)
