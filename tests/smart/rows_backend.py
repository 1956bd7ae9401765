"""Requirements on systems without a user."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

from tests.smart.cast import PASSWORD
from tests.smart.keys import CLIENT_ASSERTION, confused, es384, rs384, stating, unsigned
from tests.smart.table import Requirement, at_once, named, refused
from tests.smart.world import World

REGISTERED = "Client Authentication: Asymmetric, Registering a client"
BACKEND = "Backend Services: Obtain access token"
CLAIMS = "Client Authentication: Asymmetric, Authentication JWT"
SIGNATURE = "Client Authentication: Asymmetric, Signature Verification"


def _obtained(client: str) -> Callable[[World], None]:
    """Return a check that a backend client gets a token that opens its own institution's records."""

    def holds(world: World) -> None:
        answer = world.backend(client)
        assert answer.status_code == 200, answer.text
        assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
        said = answer.json()
        assert said["token_type"].lower() == "bearer"
        assert said["scope"] == "system/*.rs"
        assert 0 < said["expires_in"] <= 300
        assert not {"refresh_token", "id_token", "patient"} & set(said)
        found = world.get("Patient", said["access_token"])
        assert found.status_code == 200
        assert len(found.json().get("entry", ())) == (2 if client == "emr" else 0)

    return holds


def _with(**changes: Any) -> Callable[[World], str]:
    """Return what makes the assertion of "emr" with other claims."""
    return lambda world: world.assertion("emr", **{k: v() if callable(v) else v for k, v in changes.items()})


def _headed(**header: Any) -> Callable[[World], str]:
    return lambda world: world.pairs["emr"].sign(stating("emr", world.token_url), **header)


def _in(seconds: float) -> Callable[[], int]:
    return lambda: int(time.time() + seconds)


def _not_taken(make: Callable[[World], str]) -> Callable[[World], None]:
    """Return a check that an assertion is refused as invalid_client."""
    return lambda world: refused(world.backend(assertion=make(world)), "invalid_client")


def _of_a_stranger(world: World) -> str:
    return rs384().sign(stating("emr", world.token_url))


def _of_another_client(world: World) -> str:
    return world.pairs["emr2"].sign(stating("emr", world.token_url))


def _as_another_client(world: World) -> str:
    return world.pairs["emr"].sign(stating("emr2", world.token_url))


def _with_the_key_it_brings(world: World) -> str:
    stranger = rs384()
    return stranger.sign(stating("emr", world.token_url), jwk=stranger.public["keys"][0])


def _signed_with_the_public_key(world: World) -> str:
    key = world.pairs["emr"].key
    return confused(stating("emr", world.token_url), key.as_pem(private=False), str(key.kid))


def _not_signed(world: World) -> str:
    return unsigned(stating("emr", world.token_url), str(world.pairs["emr"].key.kid))


def _cut(world: World) -> str:
    return world.assertion("emr").rsplit(".", 1)[0] + "."


def _changed(world: World) -> str:
    header, _, signature = world.assertion("emr").split(".")
    other = base64.urlsafe_b64encode(json.dumps(stating("emr", world.token_url)).encode()).decode().rstrip("=")
    return f"{header}.{other}.{signature}"


def _once(world: World) -> None:
    assertion = world.assertion("emr")
    assert world.backend(assertion=assertion).status_code == 200
    refused(world.backend(assertion=assertion), "invalid_client")
    again = world.assertion("emr", jti="the-same")
    assert world.backend(assertion=again).status_code == 200
    refused(world.backend(assertion=world.assertion("emr", jti="the-same", exp=_in(100)())), "invalid_client")
    assert world.backend("emr2", assertion=world.assertion("emr2", jti="the-same")).status_code == 200


def _once_in_a_race(world: World) -> None:
    assertion = world.assertion("emr")
    answers = at_once(lambda: world.backend(assertion=assertion), 5)
    assert sorted(each.status_code for each in answers) == [200, 401, 401, 401, 401]


def _keys_at_a_url(world: World) -> None:
    assert world.backend("remote").status_code == 200
    claims = stating("remote", world.token_url)
    assert world.backend(assertion=world.pairs["remote"].sign(claims, jku=world.jwks_uri)).status_code == 200
    other = world.pairs["remote"].sign(stating("remote", world.token_url), jku=f"{world.jwks_uri}?x")
    refused(world.backend(assertion=other), "invalid_client")
    refused(world.backend(assertion=es384("remote-1").sign(stating("remote", world.token_url))), "invalid_client")
    refused(world.backend(assertion=es384("remote-2").sign(stating("remote", world.token_url))), "invalid_client")


def _not_by_secret(world: World) -> None:
    said = {"grant_type": "client_credentials", "scope": "system/*.rs"}
    refused(world.form(said, auth=("portal", PASSWORD)), "unauthorized_client", "invalid_client")
    refused(world.form({**said, "client_id": "emr"}), "invalid_client")
    refused(world.form({**said, "client_id": "emr", "client_secret": "x"}), "invalid_client")


def _the_type_is_said(world: World) -> None:
    said = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_assertion": world.assertion("emr")}
    refused(world.form(said), "invalid_client", "invalid_request")
    refused(world.form({**said, "client_assertion_type": "urn:x"}), "invalid_client", "invalid_request")


def _one_client_is_meant(world: World) -> None:
    said = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_assertion_type": CLIENT_ASSERTION}
    refused(world.form({**said, "client_assertion": world.assertion("emr"), "client_id": "emr2"}), "invalid_client")
    assert world.form({**said, "client_assertion": world.assertion("emr"), "client_id": "emr"}).status_code == 200


def _nothing_to_grant(world: World) -> None:
    for scope in ("", "patient/*.rs", "user/*.cruds openid", "system/*.x", "everything"):
        refused(world.backend(scope=scope), "invalid_scope", "invalid_request")


def _an_institution_writes_as_itself(world: World) -> None:
    token = world.backend_token("emr2", "system/*.cruds")
    headers = {"Authorization": f"Bearer {token}"}
    body = {"resourceType": "Patient", "id": "p1", "name": [{"text": "x"}]}
    answer = world.http.put(f"{world.base}/Patient/p1", json=body, headers=headers)
    assert answer.status_code in (403, 404, 409, 412), answer.text
    assert world.get("Patient/p1", world.backend_token()).json()["meta"]["versionId"] == "1"


_row = named("backend")


def _claim(name: str, says: str, make: Callable[[World], str]) -> Requirement:
    return _row(f"claim-{name}", CLAIMS, says, _not_taken(make))


ROWS = (
    _row("rs384", BACKEND, "a system with an RS384 key gets a short token, and no refresh token", _obtained("emr")),
    _row("es384", BACKEND, "and one with an ES384 key; it sees its own institution's records", _obtained("emr2")),
    _row(
        "jwks-url", REGISTERED, "a client's keys may be at a URL, to which jku, if given, has to point", _keys_at_a_url
    ),
    _row("no-secret", BACKEND, "not with a secret, nor with a name alone", _not_by_secret),
    _row("type", BACKEND, "client_assertion_type is fixed", _the_type_is_said),
    _row("client-id", SIGNATURE, "a client_id beside the assertion is the same client", _one_client_is_meant),
    _row("no-scope", BACKEND, "without a system scope there is no token", _nothing_to_grant),
    _row(
        "own-records",
        "This server: an EMR writes only as its own custodian",
        "another institution's record is not changed",
        _an_institution_writes_as_itself,
    ),
    _claim("iss", "iss is the client", _with(iss="nobody")),
    _claim("iss-missing", "iss is there", _with(iss=None)),
    _claim("sub", "sub is the client too", _with(sub="emr2")),
    _claim("sub-missing", "sub is there", _with(sub=None)),
    _claim("aud", "aud is the token URL", _with(aud="https://other.example.org/token")),
    _claim("aud-missing", "aud is there", _with(aud=None)),
    _claim("exp", "an expired assertion is refused", _with(exp=_in(-120))),
    _claim("exp-missing", "exp is there", _with(exp=None)),
    _claim("exp-long", "exp is at most five minutes away", _with(exp=_in(900))),
    _claim("exp-text", "exp is a number", _with(exp="tomorrow")),
    _claim("iat", "iat is not in the future", _with(iat=_in(900))),
    _claim("nbf", "nbf is not in the future", _with(nbf=_in(900))),
    _claim("jti-missing", "jti is there", _with(jti=None)),
    _claim("jti-number", "jti is a text", _with(jti=7)),
    _row("jti", SIGNATURE, "a jti counts once for its client", _once),
    _row("jti-race", SIGNATURE, "also when it comes many times at once", _once_in_a_race),
    _claim("kid-missing", "kid is there", _headed(kid=None)),
    _claim("kid-unknown", "kid is that of a registered key", _headed(kid="unknown")),
    _claim("jku", "jku is the registered URL", _headed(jku="https://evil.example.org/jwks")),
    _claim("alg-weaker", "an algorithm that SMART does not name is refused", _headed(alg="RS256")),
    _claim("stranger", "a key of a stranger with the same kid is refused", _of_a_stranger),
    _claim("other-key", "the key of another client is refused", _of_another_client),
    _claim("other-client", "a client does not sign for another", _as_another_client),
    _claim("own-key", "a key that the assertion brings does not count", _with_the_key_it_brings),
    _claim("confused", "the public key is no secret (HS256)", _signed_with_the_public_key),
    _claim("none", "alg none is refused", _not_signed),
    _claim("cut", "a missing signature is refused", _cut),
    _claim("changed", "changed claims are refused", _changed),
    _claim("garbage", "what is no JWT is refused", lambda world: "a.b.c"),
)
