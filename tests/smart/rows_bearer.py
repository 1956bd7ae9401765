"""Requirements on tokens that are no good."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_server.auth.server.authority import Authority
from tests.smart.keys import confused, unsigned
from tests.smart.table import named
from tests.smart.world import World

ACCESS = "App Launch: Access FHIR API"
BEARER = "RFC 6750, 3; RFC 9068, 4; RFC 8725, 3"


def _unauthorized(world: World, token: str) -> httpx.Response:
    answer = world.get("Patient/p1", token)
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"].startswith("Bearer")
    return answer


def _without_a_token(world: World) -> None:
    answer = world.http.get(f"{world.base}/Patient/p1")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "error=" not in answer.headers["www-authenticate"]


def _a_token_in_the_url_does_not_count(world: World) -> None:
    token = world.granted()["access_token"]
    assert world.http.get(f"{world.base}/Patient/p1", params={"access_token": token}).status_code == 401


def _claims(world: World, **changes: Any) -> dict[str, Any]:
    """Return the claims of a good token of this server, changed."""
    token = world.granted()["access_token"]
    return {**_told(token), **changes}


def _told(token: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(_decoded(token.split(".")[1]))
    return said


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _signing_keys(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = world.http.get(world.configuration["jwks_uri"]).json()["keys"]
    return found


def _unsigned_is_refused(world: World) -> None:
    for key in _signing_keys(world):
        _unauthorized(world, unsigned(_claims(world), key["kid"]))


def _a_public_key_is_no_secret(world: World) -> None:
    claims = _claims(world)
    for jwk in _signing_keys(world):
        forms = [jwk["n"].encode()] if "n" in jwk else [jwk["x"].encode()]
        if jwk["kty"] == "EC":
            key = ECKey.import_key(jwk)
            forms += [key.as_pem(private=False), key.as_pem(private=False).strip(), key.as_der(private=False)]
        for secret in forms:
            _unauthorized(world, confused(claims, secret, jwk["kid"], "at+jwt"))


def _a_stranger_does_not_sign(world: World) -> None:
    claims = _claims(world)
    for jwk in _signing_keys(world):
        stranger = ECKey.generate_key("P-256", {"kid": jwk["kid"]})
        for header in (
            {"kid": jwk["kid"]},
            {"kid": "unknown"},
            {},
            {"kid": jwk["kid"], "jwk": stranger.as_dict(private=False)},
        ):
            _unauthorized(world, jwt.encode({"alg": "ES256", "typ": "at+jwt", **header}, claims, stranger))


def _minted(world: World, ahead: float) -> str:
    """Return a token that this server issues with a clock that is so many seconds ahead."""
    claims = {name: value for name, value in _claims(world).items() if name not in ("iss", "aud", "iat", "exp", "jti")}
    subject, client, grant = (claims.pop(name) for name in ("sub", "client_id", "grant"))

    async def mint(authority: Authority) -> str:
        return (await authority.minting.access(claims, subject=subject, client=client, grant=grant)).text

    return world.shifted(ahead, mint)


def _expired_is_refused(world: World) -> None:
    lifetime = world.live.settings.access_token_seconds
    assert world.get("Patient/p1", _minted(world, 30 - lifetime)).status_code == 200
    _unauthorized(world, _minted(world, -lifetime - 1))


def _from_the_future_is_refused(world: World) -> None:
    _unauthorized(world, _minted(world, 600))


def _new_keys_sign(world: World) -> None:
    before = world.granted()["access_token"]
    world.command("keys", "rotate")
    after = world.granted()["access_token"]
    kids = [json.loads(_decoded(token.split(".")[0]))["kid"] for token in (before, after)]
    assert len({*kids}) == 2
    assert {*kids} <= {key["kid"] for key in _signing_keys(world)}
    assert [world.get("Patient/p1", token).status_code for token in (before, after)] == [200, 200]


def _garbage_is_refused(world: World) -> None:
    good = world.granted()["access_token"]
    for token in (
        "x",
        "a.b.c",
        good[:-4],
        good + "x",
        good.replace(".", ""),
        "." * 2,
        good.split(".")[0] + ".." + good.split(".")[2],
    ):
        _unauthorized(world, token)


def _the_answer_tells_nothing(world: World) -> None:
    answers = {_unauthorized(world, token).text for token in ("x", unsigned({"iss": "x"}, "k"))}
    assert len(answers) == 1


_row = named("scope")

ROWS = (
    _row("no-token", BEARER, "without a token: 401, and how to authenticate", _without_a_token),
    _row("token-in-url", BEARER, "a token in the URL does not count", _a_token_in_the_url_does_not_count),
    _row("token-unsigned", BEARER, "a token with alg none is refused", _unsigned_is_refused),
    _row("token-confused", BEARER, "a public key is not taken for a secret (HS256)", _a_public_key_is_no_secret),
    _row("token-foreign", BEARER, "nor a key that the token brings, or that of a stranger", _a_stranger_does_not_sign),
    _row("token-expired", ACCESS, "an expired token is refused", _expired_is_refused),
    _row("token-future", BEARER, "a token from the future is refused", _from_the_future_is_refused),
    _row(
        "token-keys", BEARER, "after the keys change, tokens of both are good, and both keys published", _new_keys_sign
    ),
    _row("token-garbage", BEARER, "what is damaged is refused", _garbage_is_refused),
    _row("token-silent", BEARER, "why a token is refused is not told", _the_answer_tells_nothing),
)
