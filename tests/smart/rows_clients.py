"""Requirements on how apps that can keep something to themselves prove who they are."""

from __future__ import annotations

from typing import Any

import httpx

from tests.smart.cast import PASSWORD
from tests.smart.keys import CLIENT_ASSERTION, es384, stating
from tests.smart.table import named, refused
from tests.smart.world import VERIFIER, World

SYMMETRIC = "Client Authentication: Symmetric"
ASYMMETRIC = "Client Authentication: Asymmetric"


def _a_secret_is_needed(world: World) -> None:
    for changes in ({}, {"client_secret": "wrong"}, {"client_secret": ""}):
        code = world.authorized(client_id="portal")["code"]
        refused(world.exchange(code, client_id="portal", **changes), "invalid_client")


def _a_secret_in_the_header_or_the_form(world: World) -> None:
    code = world.authorized(client_id="portal")["code"]
    assert world.exchange(code, client_id="portal", client_secret=PASSWORD).status_code == 200
    for client_id in (None, "portal"):
        fields = {
            "grant_type": "authorization_code",
            "code": world.authorized(client_id="portal")["code"],
            "redirect_uri": world.redirect,
            "code_verifier": VERIFIER,
            "client_id": client_id,
        }
        assert world.form(fields, auth=("portal", PASSWORD)).status_code == 200


def _a_wrong_secret_in_the_header(world: World) -> None:
    fields = {
        "grant_type": "authorization_code",
        "code": world.authorized(client_id="portal")["code"],
        "redirect_uri": world.redirect,
        "code_verifier": VERIFIER,
    }
    answer = world.form(fields, auth=("portal", "wrong"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].lower().startswith("basic")
    refused(answer, "invalid_client")


def _signed(world: World, **changes: Any) -> httpx.Response:
    said = {"client_assertion_type": CLIENT_ASSERTION, "client_id": None, **changes}
    said.setdefault("client_assertion", world.assertion("signing"))
    return world.exchange(world.authorized(client_id="signing")["code"], **said)


def _an_app_signs(world: World) -> None:
    assert _signed(world).status_code == 200
    assert _signed(world, client_id="signing").status_code == 200


def _what_an_app_signs_is_checked(world: World) -> None:
    stranger = es384("signing")
    assertion = stranger.sign(stating("signing", world.token_url))
    for changes in (
        {"client_assertion": assertion},
        {"client_assertion": world.assertion("emr")},
        {"client_id": "chart"},
        {"client_assertion": None, "client_assertion_type": None, "client_id": "signing"},
    ):
        refused(_signed(world, **changes), "invalid_client", "invalid_grant", "unauthorized_client")


_row = named("token")

ROWS = (
    _row("secret", SYMMETRIC, "an app with a secret sends it", _a_secret_is_needed),
    _row("secret-sent", SYMMETRIC, "in the header or the form", _a_secret_in_the_header_or_the_form),
    _row("secret-wrong", SYMMETRIC, "a wrong one in the header is status 401", _a_wrong_secret_in_the_header),
    _row("signed", ASYMMETRIC, "an app with a key signs an assertion", _an_app_signs),
    _row(
        "signed-checked",
        ASYMMETRIC,
        "another's key, another's assertion or none is refused",
        _what_an_app_signs_is_checked,
    ),
)
