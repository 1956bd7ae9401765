"""Requirements on refreshing and revoking."""

from __future__ import annotations

from typing import Any

import httpx

from tests.smart.table import at_once, named, refused
from tests.smart.world import World

REFRESH = "App Launch: Refresh access token"
REVOKE = "RFC 7009: OAuth 2.0 Token Revocation"


def _refresh(world: World, token: str, **changes: str | None) -> httpx.Response:
    return world.form({"grant_type": "refresh_token", "refresh_token": token, **changes})


def _lasting(world: World, **changes: str) -> dict[str, Any]:
    """Return a token response with a refresh token. Public apps may leave their client_id out when they refresh."""
    return world.granted(scope="launch/patient patient/Patient.rs patient/Observation.rs offline_access", **changes)


def _refreshed(world: World) -> None:
    first = _lasting(world)
    answer = _refresh(world, first["refresh_token"])
    assert answer.status_code == 200, answer.text
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    second = answer.json()
    assert (second["scope"], second["patient"]) == (first["scope"], "p1")
    assert second["refresh_token"] != first["refresh_token"]
    assert world.get("Patient/p1", second["access_token"]).status_code == 200


def _a_used_refresh_token_ends_all(world: World) -> None:
    first = _lasting(world)
    second = _refresh(world, first["refresh_token"]).json()
    refused(_refresh(world, first["refresh_token"]), "invalid_grant")
    refused(_refresh(world, second["refresh_token"]), "invalid_grant")
    for each in (first, second):
        assert world.get("Patient/p1", each["access_token"]).status_code == 401


def _a_refresh_token_counts_once_in_a_race(world: World) -> None:
    first = _lasting(world)
    given = [each for each in at_once(lambda: _refresh(world, first["refresh_token"])) if each.status_code == 200]
    assert len(given) <= 1
    for said in (first, *(each.json() for each in given)):
        assert world.get("Patient/p1", said["access_token"]).status_code == 401
        refused(_refresh(world, said["refresh_token"]), "invalid_grant")


def _refreshing_can_narrow(world: World) -> None:
    first = _lasting(world)
    narrow = _refresh(world, first["refresh_token"], scope="patient/Patient.rs").json()
    assert narrow["scope"] == "patient/Patient.rs"
    assert world.get("Patient/p1", narrow["access_token"]).status_code == 200
    assert world.get("Observation/laboratory-1", narrow["access_token"]).status_code in (403, 404)


def _refreshing_cannot_widen(world: World) -> None:
    for scope in (
        "patient/*.rs",
        "patient/Patient.cruds",
        "user/Patient.rs",
        "patient/Encounter.rs patient/Patient.rs",
    ):
        answer = _refresh(world, _lasting(world)["refresh_token"], scope=scope)
        if answer.status_code == 200:
            assert set(answer.json()["scope"].split()) <= {"patient/Patient.rs"}
        else:
            refused(answer, "invalid_scope")


def _a_refresh_token_is_bound(world: World) -> None:
    refused(_refresh(world, _lasting(world)["refresh_token"], client_id="other"), "invalid_grant", "invalid_client")
    refused(_refresh(world, "unknown"), "invalid_grant", "invalid_client")


def _who_is_disabled_has_no_access(world: World) -> None:
    said = _lasting(world, login="doctor8")
    world.command("user", "disable", "doctor8")
    refused(_refresh(world, said["refresh_token"]), "invalid_grant")
    assert world.get("Patient/p1", said["access_token"]).status_code == 401


def _no_refresh_without_the_scope(world: World) -> None:
    assert "refresh_token" not in world.granted(scope="launch/patient patient/Patient.rs")


def _revoked(world: World) -> None:
    said = _lasting(world)
    url = world.configuration["revocation_endpoint"]
    answer = world.form({"token": said["refresh_token"], "client_id": "chart"}, url)
    assert answer.status_code == 200, answer.text
    assert world.get("Patient/p1", said["access_token"]).status_code == 401
    refused(_refresh(world, said["refresh_token"]), "invalid_grant")


def _an_access_token_can_be_revoked(world: World) -> None:
    said = world.granted()
    url = world.configuration["revocation_endpoint"]
    fields = {"token": said["access_token"], "token_type_hint": "access_token", "client_id": "chart"}
    assert world.form(fields, url).status_code == 200
    assert world.get("Patient/p1", said["access_token"]).status_code == 401


def _others_do_not_revoke(world: World) -> None:
    said = _lasting(world)
    url = world.configuration["revocation_endpoint"]
    for token in (said["access_token"], said["refresh_token"], "unknown"):
        assert world.form({"token": token, "client_id": "other"}, url).status_code in (200, 400, 401)
    assert world.get("Patient/p1", said["access_token"]).status_code == 200
    assert _refresh(world, said["refresh_token"]).status_code == 200


_row = named("token")

ROWS = (
    _row("refresh", REFRESH, "refreshing gives the same scope and context, and another refresh token", _refreshed),
    _row(
        "refresh-reuse",
        REFRESH,
        "a refresh token counts once; a second use ends the grant",
        _a_used_refresh_token_ends_all,
    ),
    _row(
        "refresh-race", REFRESH, "so it does when it comes many times at once", _a_refresh_token_counts_once_in_a_race
    ),
    _row("refresh-narrow", REFRESH, "refreshing can ask for less", _refreshing_can_narrow),
    _row("refresh-wide", REFRESH, "and not for more", _refreshing_cannot_widen),
    _row("refresh-bound", REFRESH, "a refresh token counts for its client", _a_refresh_token_is_bound),
    _row("refresh-unasked", REFRESH, "there is none without the scope", _no_refresh_without_the_scope),
    _row("disabled", REFRESH, "an account that is disabled ends its apps' access", _who_is_disabled_has_no_access),
    _row("revoke", REVOKE, "revoking a refresh token ends its grant at once", _revoked),
    _row("revoke-access", REVOKE, "an access token can be revoked", _an_access_token_can_be_revoked),
    _row("revoke-others", REVOKE, "only by its client", _others_do_not_revoke),
)
