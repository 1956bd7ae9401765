"""Requirements on introspection."""

from __future__ import annotations

import time
from typing import Any

from tests.smart.keys import CLIENT_ASSERTION, unsigned
from tests.smart.table import Requirement
from tests.smart.world import World

INTROSPECT = "Token Introspection"


def _introspected(world: World, token: str, by: str = "emr") -> dict[str, Any]:
    fields = {"token": token, "client_assertion_type": CLIENT_ASSERTION, "client_assertion": world.assertion(by)}
    answer = world.form(fields, world.configuration["introspection_endpoint"])
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def _what_is_told_of_a_token(world: World) -> None:
    launch = world.launch(intent="reconcile-medications").json()["launch"]
    said = world.granted(scope="launch openid fhirUser patient/Patient.rs", launch=launch)
    told = _introspected(world, said["access_token"])
    assert told["active"] is True
    assert told["client_id"] == "chart"
    assert told["scope"].split() == said["scope"].split()
    assert abs(told["exp"] - time.time() - said["expires_in"]) < 60
    assert (told["patient"], told["encounter"], told["intent"]) == ("p1", "e1", "reconcile-medications")
    assert told["iss"] == world.configuration["issuer"]
    assert told["sub"]
    assert told["fhirUser"].endswith("Practitioner/d1")


def _with_a_bearer_token(world: World) -> None:
    token = world.granted()["access_token"]
    headers = {"Authorization": f"Bearer {world.backend_token()}"}
    answer = world.form({"token": token}, world.configuration["introspection_endpoint"], headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["active"] is True


def _nothing_is_told_of_others(world: World) -> None:
    token = world.granted()["access_token"]
    for each in ("x", "a.b.c", token + "x", unsigned({"iss": world.origin, "exp": 2**40}, "k")):
        assert _introspected(world, each) == {"active": False}
    assert _introspected(world, token, by="emr2") == {"active": False}


def _a_revoked_token_is_inactive(world: World) -> None:
    token = world.granted()["access_token"]
    world.form({"token": token, "client_id": "chart"}, world.configuration["revocation_endpoint"])
    assert _introspected(world, token) == {"active": False}


def _strangers_ask_in_vain(world: World) -> None:
    token = world.granted()["access_token"]
    url = world.configuration["introspection_endpoint"]
    answers = (
        world.form({"token": token}, url),
        world.form({"token": token, "client_id": "chart"}, url),
        world.form({"token": token, "client_id": "portal", "client_secret": "wrong"}, url),
        world.form({"token": token}, url, headers={"Authorization": "Bearer x"}),
    )
    for answer in answers:
        assert answer.status_code in (400, 401, 403)
        assert "active" not in answer.json()
        assert "patient" not in answer.text


ROWS = (
    Requirement(
        "introspect",
        INTROSPECT,
        "active, scope, client_id, exp, launch context, iss, sub and fhirUser are told",
        _what_is_told_of_a_token,
    ),
    Requirement(
        "introspect-bearer", INTROSPECT, "a permitted client may ask with its bearer token", _with_a_bearer_token
    ),
    Requirement(
        "introspect-unknown",
        INTROSPECT,
        "of what is no token here, or another institution's, only active=false",
        _nothing_is_told_of_others,
    ),
    Requirement("introspect-revoked", INTROSPECT, "a revoked token is inactive", _a_revoked_token_is_inactive),
    Requirement(
        "introspect-stranger", INTROSPECT, "nothing is told to who does not authenticate", _strangers_ask_in_vain
    ),
)
