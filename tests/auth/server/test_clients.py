"""What can be registered, and what of it can be read in the store: RFC 7591, section 2; RFC 8252; RFC 9700, 2.1."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from typer.testing import CliRunner

from fhir_server.auth.server.authentication import pause_after
from fhir_server.auth.server.clients import Client, InvalidClient, Kind, checked, client_of, origin_of
from fhir_server.cli import app as command_line
from tests.auth.server.apps import BACK, KEYS, App, Desk, app, public

APP = Client("app", "小助手", Kind.PUBLIC, redirect_uris=(BACK,), scopes=("patient/*.rs",))
JWKS = {"keys": [public(KEYS["ES384"])]}
SYSTEM = Client(
    "emr", "电子病历", Kind.BACKEND, scopes=("system/*.rs",), jwks=JWKS, organization="A", system_user="Device/a"
)

GOOD = {
    "an app": APP,
    "an app on this machine": replace(APP, redirect_uris=("http://127.0.0.1:8000/back", "http://localhost/back", "http://[::1]:1/b")),
    "a confidential app": replace(APP, kind=Kind.SYMMETRIC),
    "an app with keys": replace(APP, kind=Kind.ASYMMETRIC, jwks=JWKS),
    "an app with keys elsewhere": replace(APP, kind=Kind.ASYMMETRIC, jwks_uri="https://app.example.org/keys"),
    "a system": SYSTEM,
    "an EMR": replace(SYSTEM, may_assert=True, may_launch=True, purposes=("TREAT", "ETREAT")),
}  # fmt: skip

BAD = {
    "no redirect": (replace(APP, redirect_uris=()), "redirect"),
    "http": (replace(APP, redirect_uris=("http://app.example.org/back",)), "loopback"),
    "another scheme": (replace(APP, redirect_uris=("javascript:alert(1)",)), "absolute URL"),
    "an app's own scheme": (replace(APP, redirect_uris=("org.example.app://back",)), "http"),
    "a relative URL": (replace(APP, redirect_uris=("/back",)), "absolute URL"),
    "a fragment": (replace(APP, redirect_uris=(f"{BACK}#x",)), "fragment"),
    "an empty fragment": (replace(APP, redirect_uris=(f"{BACK}#",)), "fragment"),
    "a wildcard": (replace(APP, redirect_uris=("https://*.example.org/back",)), "wildcard"),
    "a user in the URL": (replace(APP, redirect_uris=("https://app.example.org@evil.test/",)), "user"),
    "a launch URL by http": (replace(APP, launch_uri="http://app.example.org/launch"), "loopback"),
    "a sign-out URL by http": (replace(APP, post_logout_redirect_uris=("http://app.example.org/",)), "loopback"),
    "an origin with a path": (replace(APP, web_origins=("https://app.example.org/x",)), "origin"),
    "an id with a slash": (replace(APP, id="a/b"), "client id"),
    "no name": (replace(APP, name=" "), "name"),
    "no scopes": (replace(APP, scopes=()), "scopes"),
    "keys of a public app": (replace(APP, jwks=JWKS), "no keys"),
    "a system without keys": (replace(SYSTEM, jwks=None), "public keys"),
    "keys in two places": (replace(SYSTEM, jwks_uri="https://a.cn/k"), "public keys"),
    "keys by http": (replace(SYSTEM, jwks=None, jwks_uri="http://a.cn/keys"), "loopback"),
    "a private key": (replace(SYSTEM, jwks={"keys": [KEYS["ES384"].as_dict(private=True)]}), "private"),
    "no usable key": (replace(SYSTEM, jwks={"keys": [{"kty": "oct", "k": "AAAA"}]}), "no RSA key"),
    "an empty key set": (replace(SYSTEM, jwks={"keys": []}), "no RSA key"),
    "no key set": (replace(SYSTEM, jwks={"x": 1}), "keys"),
    "a broken key": (replace(SYSTEM, jwks={"keys": [{"kty": "RSA", "n": "?" * 400, "e": 1}]}), "cannot be read"),
    "a weak key": (replace(SYSTEM, jwks={"keys": [{"kty": "RSA", "n": "w" * 171, "e": "AQAB"}]}), "2048"),
    "a system of nobody": (replace(SYSTEM, organization=None), "Organization"),
    "a system that is a person": (replace(SYSTEM, system_user="Practitioner/a"), "system user"),
    "a system with a redirect": (replace(SYSTEM, redirect_uris=(BACK,)), "redirect"),
    "an EMR without keys": (replace(APP, may_assert=True, organization="A"), "signs"),
    "an unknown purpose": (replace(SYSTEM, purposes=("NONSENSE",)), "NONSENSE"),
    "no purpose": (replace(SYSTEM, purposes=()), "purpose"),
}  # fmt: skip


@pytest.mark.parametrize("client", GOOD.values(), ids=GOOD.keys())
def test_what_can_be_registered_comes_back_as_it_was(client: Client) -> None:
    assert client_of(json.loads(json.dumps(checked(client).stored()))) == client


@pytest.mark.parametrize(("client", "why"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_registered_is_refused_with_the_reason(client: Client, why: str) -> None:
    with pytest.raises(InvalidClient, match=re.escape(why)):
        checked(client)


def test_an_id_is_registered_once(desk: Desk, public_app: App) -> None:
    with pytest.raises(InvalidClient, match="already"):
        desk.register(public_app.client)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert [origin_of(url) for url in ("https://A.cn/x?y", "http://[::1]:8/")] == ["https://a.cn", "http://[::1]:8"]


def test_nothing_of_a_client_a_user_or_a_token_can_be_read_in_the_store(desk: Desk, mongo_uri: str) -> None:
    client = app(desk, Kind.SYMMETRIC)
    code = client.code()
    said = client.redeem(code).json()
    system = app(desk, Kind.BACKEND)
    statement = system.assertion(jti="statement-4711")
    assert system.backend(client_assertion=statement).status_code == 200
    tokens = [str(client.secret), code, said["access_token"], said["refresh_token"], "statement-4711"]
    persons = ["dr-zhang", "account-1", "心电图", BACK, "Patient/p1", '"d"']
    with MongoClient[dict[str, Any]](mongo_uri) as mongo:
        database = mongo[desk.server.settings.database]
        names = [name for name in database.list_collection_names() if name.startswith("auth_")]
        assert {"auth_clients", "auth_grants", "auth_codes", "auth_assertions", "auth_keys"} <= set(names)
        rows = [row for name in names for row in database[name].find()]
    text = "\n".join(map(readable, rows))
    assert client.client.id in text  # so that it is known what would be found
    assert [each for each in (*tokens, *persons) if each in text] == []


def readable(row: dict[str, Any]) -> str:
    return " ".join(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in (*row, *row.values()))


def test_what_passes_is_dropped_in_time(desk: Desk, mongo_uri: str) -> None:
    with MongoClient[dict[str, Any]](mongo_uri) as mongo:
        database = mongo[desk.server.settings.database]
        for name in ("auth_grants", "auth_codes", "auth_assertions", "auth_revoked", "auth_keys", "auth_failures"):
            assert database[name].index_information()["until"]["expireAfterSeconds"] == 0


def test_guesses_at_a_secret_are_counted_and_slow_down_until_the_right_one_comes(desk: Desk, mongo_uri: str) -> None:
    client = app(desk, Kind.SYMMETRIC)
    form = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": client.client.id}
    with MongoClient[dict[str, Any]](mongo_uri) as mongo:
        rows = mongo[desk.server.settings.database]["auth_failures"]
        before = rows.count_documents({})
        for _ in range(3):
            assert desk.post("token", {**form, "client_secret": "guess"}).status_code == 401
        assert rows.count_documents({"n": 3}) >= 1
        assert rows.count_documents({}) == before + 1
        assert desk.post("token", {**form, "client_secret": client.secret}).status_code == 400
        assert rows.count_documents({}) == before
    pauses = [pause_after(count) for count in range(1, 40)]
    assert pauses == sorted(pauses)
    assert (pauses[0], max(pauses)) == (0.0, 4.0)


def command(desk: Desk, mongo_uri: str, *words: str) -> Any:
    settings = desk.server.settings
    env = {"FHIR_MONGODB_URI": mongo_uri, "FHIR_DATABASE": settings.database, "FHIR_ZONE": settings.zone}
    return CliRunner().invoke(command_line, [*words, "--data", str(settings.data)], env=env)


def test_the_operator_registers_shows_and_removes_clients(desk: Desk, mongo_uri: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(JWKS))
    made = command(
        desk, mongo_uri, "client", "add", "emr-a", "--kind", "backend", "--name", "甲医院电子病历",
        "--scope", "system/*.cruds",
        "--jwks", str(keys), "--organization", "org1", "--system-user", "Device/emr-a", "--may-assert",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    added = command(
        desk, mongo_uri, "client", "add", "app-b", "--kind", "confidential-symmetric", "--name", "小助手",
        "--scope", "openid patient/*.rs offline_access", "--redirect", BACK,
    )  # fmt: skip
    assert added.exit_code == 0, added.output
    (secret,) = re.findall(r"shown only now: (\S+)", added.output)
    assert len(secret) >= 43
    listed = command(desk, mongo_uri, "client", "list").output
    assert "emr-a\tbackend\torg1\t甲医院电子病历" in listed
    shown = command(desk, mongo_uri, "client", "show", "app-b").output
    assert json.loads(shown)["redirect_uris"] == [BACK]
    assert secret not in shown
    assert "argon2" not in shown
    client = App(desk, client_of(json.loads(shown)), secret)
    assert client.signed_in()["refresh_token"]
    (new,) = re.findall(r"shown only now: (\S+)", command(desk, mongo_uri, "client", "secret", "app-b").output)
    assert client.redeem(client.code()).status_code == 401
    assert App(desk, client.client, new).signed_in()["refresh_token"]
    assert command(desk, mongo_uri, "client", "remove", "app-b").exit_code == 0
    assert isinstance(command(desk, mongo_uri, "client", "show", "app-b").exception, InvalidClient)
    assert isinstance(command(desk, mongo_uri, "client", "secret", "emr-a").exception, InvalidClient)


def test_the_operator_rotates_keys(desk: Desk, mongo_uri: str, backend: App) -> None:
    token = backend.backend().json()["access_token"]
    before = command(desk, mongo_uri, "keys", "list").output.splitlines()
    assert command(desk, mongo_uri, "keys", "rotate").exit_code == 0
    after = command(desk, mongo_uri, "keys", "list").output.splitlines()
    assert len(after) == len(before) + 2
    assert sum(line.endswith("signs now") for line in after) == 2
    assert desk.read(token) == 200
    assert command(desk, mongo_uri, "keys", "rotate", "--at-once").exit_code == 0
    assert len(command(desk, mongo_uri, "keys", "list").output.splitlines()) == 2
    assert desk.read(backend.backend().json()["access_token"]) == 200
    assert desk.read(token) == 401
