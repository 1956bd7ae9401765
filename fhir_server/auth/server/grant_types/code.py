"""grant_type=authorization_code — RFC 6749, 4.1.3; RFC 7636, 4.5 and 4.6; SMART App Launch 2.2, "Obtain access token"."""

from __future__ import annotations

from typing import Any

from authlib.oauth2.rfc7636.challenge import (  # type: ignore[import-untyped]
    CODE_VERIFIER_PATTERN,
    create_s256_code_challenge,
)

from fhir_server.auth.server.authentication import Caller, same
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.form import Form
from fhir_server.auth.server.grants import Code
from fhir_server.auth.server.problems import OAuthProblem, invalid_grant
from fhir_server.errors import Conflict
from fhir_server.store.commit import Unit

NO_CODE = (
    "The code is unknown or too old, was used before, or was issued to another app: start anew at the authorization"
    " endpoint."
)


async def answer(use: Authority, caller: Caller, form: Form) -> dict[str, Any]:
    """Return the tokens for a code. A code that comes a second time ends all that the first one brought."""
    code = await use.grants.code(form.needed("code"))
    redirect_uri, verifier = form.needed("redirect_uri"), form.needed("code_verifier")
    if code is None or code.client != caller.client.id:
        raise invalid_grant(NO_CODE)
    if code.used:
        raise await _used_again(use, code)
    if use.now() >= code.expires:
        raise invalid_grant(NO_CODE)
    if redirect_uri != code.redirect_uri:
        raise invalid_grant("redirect_uri is not the one of the authorization request.")
    if not answers(verifier, code.challenge):
        raise invalid_grant("code_verifier does not fit the code_challenge of the authorization request.")
    return await _redeemed(use, code)


def answers(verifier: str, challenge: str) -> bool:
    """Return whether a PKCE verifier is the one that a challenge was made of, by S256."""
    return bool(CODE_VERIFIER_PATTERN.fullmatch(verifier)) and same(create_s256_code_challenge(verifier), challenge)


async def _redeemed(use: Authority, code: Code) -> dict[str, Any]:
    grant = await use.grants.grant(code.grant)
    if grant is None or grant.revoked:
        raise invalid_grant(NO_CODE)
    unit = Unit()
    use.grants.use_code(code, unit)
    if grant.refreshable:
        grant = use.grants.turned(grant, unit)
    access = await use.minting.of_grant(grant, str(grant.granted.claims["scope"]))
    said = {**access.answer, **grant.granted.context}
    if "openid" in grant.scopes:
        said["id_token"] = await use.minting.identity(grant, access, nonce=code.nonce)
    if grant.refreshable:
        said["refresh_token"] = use.grants.refresh_token(grant)
    await use.recorder.add("token", access.requester, unit)
    try:
        await use.committer.commit(unit)
    except Conflict:
        raise await _used_again(use, code) from None
    return said


async def _used_again(use: Authority, code: Code) -> OAuthProblem:
    grant = await use.grants.grant(code.grant)
    if grant is not None and not grant.revoked:
        await use.end([grant], "reuse")
    return invalid_grant(NO_CODE)
