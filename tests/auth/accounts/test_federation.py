"""An institution's provider: another of our own servers, and a small one that says what no provider may say."""

from __future__ import annotations

import hmac
import json
import secrets
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from pymongo import MongoClient

from fhir_server.auth.accounts.provider import Provider
from fhir_server.auth.requester import Role
from fhir_server.auth.server.authentication import HASHER
from fhir_server.auth.server.clients import Kind
from fhir_server.settings import Settings, SettingsError
from tests.auth.accounts.house import Browser, House, app
from tests.auth.accounts.test_authorize import claims
from tests.live import free_port, live

SECRET = "a secret of two institutions"
KEY, OTHER = RSAKey.generate_key(2048, {"kid": "k1"}), RSAKey.generate_key(2048, {"kid": "k1"})


@dataclass
class Small:
    """A provider whose id tokens are what a test says. said: changes to a good one; None leaves a claim out."""

    issuer: str = ""
    nonce: str = ""
    said: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256", "kid": "k1"})
    key: Any = None
    asked: list[dict[str, str]] = field(default_factory=list)
    configured: str | None = None

    def token(self, now: int) -> str:
        usual = {"iss": self.issuer, "aud": "us", "sub": "s1", "iat": now, "exp": now + 60, "nonce": self.nonce}
        usual |= {"fhirUser": "https://fhir.a.example.org/Practitioner/fed1", "name": "陈医生", "department": "dep7"}
        said = {name: value for name, value in {**usual, **self.said}.items() if value is not None}
        if self.header["alg"] in ("none", "HS256"):
            signed = b".".join(_base64(json.dumps(each).encode()) for each in (self.header, said))
            mac = hmac.digest(self.key, signed, "sha256") if self.key else b""
            return b".".join([signed, _base64(mac)]).decode()
        return jwt.encode(self.header, said, self.key or KEY, [self.header["alg"]])


def _base64(content: bytes) -> bytes:
    return urlsafe_b64encode(content).rstrip(b"=")


class _Answering(BaseHTTPRequestHandler):
    small: Small

    def do_GET(self) -> None:
        own = self.small.issuer
        if self.path.startswith("/.well-known"):
            named = {"authorization_endpoint": f"{own}/go", "token_endpoint": f"{own}/token", "jwks_uri": f"{own}/jwks"}
            self._answer({"issuer": self.small.configured or own, **named})
        else:
            self._answer({"keys": [KEY.as_dict(private=False)]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.small.asked.append({**dict(parse_qsl(body)), "authorization": self.headers["authorization"]})
        self._answer({"access_token": "x", "token_type": "Bearer", "id_token": self.small.token(int(time.time()))})

    def _answer(self, said: dict[str, Any]) -> None:
        content = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def small() -> Iterator[Small]:
    made = Small()
    handler = type("Handler", (_Answering,), {"small": made})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    made.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def federated(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory, small: Small) -> Iterator[House]:
    """Two of our servers: one asks the other, and the small provider, who somebody is."""
    folder = tmp_path_factory.mktemp("federated")
    (folder / "secret").write_text(SECRET + "\n")
    names, port = [f"test_{secrets.token_hex(6)}" for _ in range(2)], free_port()
    with live(mongo_uri, folder / "provider", database=names[0]) as other:
        there = House(other, mongo_uri)
        common = {"client_id": "us", "secret_file": folder / "secret", "organization": "org1", "create": True}
        ours = Provider(
            id="ours",
            name="第一医院",
            issuer=there.origin,
            scope="openid fhirUser",
            parameters={"aud": other.base},
            **common,  # type: ignore[arg-type]
        )
        theirs = Provider(id="small", name="小机构", issuer=small.issuer, second_factor=True, **common)  # type: ignore[arg-type]
        strict = theirs.model_copy(update={"id": "mapped", "create": False})
        with live(
            mongo_uri, folder / "us", database=names[1], port=port, identity_providers=(ours, theirs, strict)
        ) as own:
            made = House(own, mongo_uri)
            made.register(made.client)
            redirect = f"{made.origin}/auth/callback"
            there.register(
                app("us", kind=Kind.SYMMETRIC, redirect_uris=(redirect,), secret_hash=HASHER.hash(SECRET), name="本院")
            )
            made.there = there  # type: ignore[attr-defined]
            for id in ("dep7", "dep8"):
                own.put({"resourceType": "Organization", "id": id, "name": "心内科"})
            yield made
    with MongoClient(mongo_uri) as client:
        for name in names:
            client.drop_database(name)


@pytest.fixture
def house(federated: House, small: Small) -> Iterator[House]:
    small.said, small.header, small.key, small.configured = {}, {"alg": "RS256", "kid": "k1"}, KEY, None
    yield federated
    federated.close()
    federated.there.close()  # type: ignore[attr-defined]


def gone(house: House, provider: str, browser: Browser | None = None) -> tuple[Browser, dict[str, str]]:
    """Return a browser on its way to a provider, and what it brings there. browser: at the page of sign-in."""
    browser = browser or house.browser().ask()
    link = browser.text.split(f'provider={provider}"')[0].rsplit('href="', 1)[1].replace("&amp;", "&")
    browser._at(browser.http.get(f"{house.origin}{link}provider={provider}"))
    return browser, dict(parse_qsl(urlsplit(browser.page.headers["location"]).query))


def back(house: House, browser: Browser, **query: str) -> Browser:
    return browser.open("/auth/callback", **query)


def returned(house: House, small: Small, **query: str) -> Browser:
    """Go to the small provider and come back, with what it says now."""
    browser, brought = gone(house, "small")
    small.nonce = brought["nonce"]
    return back(house, browser, **{"code": "c", "state": brought["state"], **query})


def test_a_doctor_of_another_server_of_ours_signs_in(house: House) -> None:
    there: House = house.there  # type: ignore[attr-defined]
    doctor = there.doctor("Practitioner/far1")
    browser, brought = gone(house, "ours")
    assert brought["code_challenge_method"] == "S256"
    at_provider = there.browser(doctor)
    at_provider._at(at_provider.http.get(browser.page.headers["location"]))
    at_provider.sign_in().press("allow")
    browser._at(browser.http.get(at_provider.page.headers["location"]))
    assert browser.has("enrol")
    accounts = house.run(lambda desk, authority: desk.users.all())
    made = next(each.account for each in accounts if each.account.user == "Practitioner/far1")
    assert (made.organization, made.role) == ("org1", Role.PRACTITIONER)


def test_what_a_provider_says_is_what_the_token_says(house: House, small: Small) -> None:
    browser = returned(house, small)
    assert "陈医生" in browser.text
    assert "code=" not in str(browser.page.url)
    said = claims(house.tokens(browser.press("allow").back["code"])["access_token"])
    assert {"fhirUser": "Practitioner/fed1", "department": "dep7", "org": "org1"}.items() <= said.items()
    sent = small.asked[-1]
    assert sent["code_verifier"]
    assert sent["authorization"].startswith("Basic ")


def test_who_came_for_their_own_pages_gets_there_by_the_provider_too(house: House, small: Small) -> None:
    browser, brought = gone(house, "small", house.browser().open("/auth/my"))
    small.nonce = brought["nonce"]
    back(house, browser, code="c", state=brought["state"])
    assert browser.page.url.path == "/my/sign-in"
    assert "不是患者或监护人的账户" in browser.text


def test_the_account_is_the_same_the_next_time(house: House, small: Small) -> None:
    returned(house, small)
    returned(house, small)
    accounts = house.run(lambda desk, authority: desk.users.all())
    assert [each.account.user for each in accounts].count("Practitioner/fed1") == 1


def test_what_a_provider_tells_anew_counts_from_then_on(house: House, small: Small) -> None:
    subject = secrets.token_hex(4)
    small.said = {"sub": subject, "fhirUser": f"Practitioner/{subject}"}
    granted = house.tokens(returned(house, small).press("allow").back["code"])
    small.said |= {"department": "dep8"}
    browser = returned(house, small)
    with house.server.bearing(granted["access_token"]) as client:
        assert client.get("Organization").status_code == 401
    assert claims(house.tokens(browser.press("allow").back["code"])["access_token"])["department"] == "dep8"
    small.said |= {"fhirUser": "Patient/1"}
    assert "没有对应的账户" in returned(house, small).text


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("another issuer", {"iss": "https://evil.example.org"}),
    ("another client", {"aud": "another"}),
    ("another client among several", {"aud": ["us", "another"], "azp": "another"}),
    ("several clients, and none that it is for", {"aud": ["us", "another"]}),
    ("another nonce", {"nonce": "another"}),
    ("no nonce", {"nonce": None}),
    ("expired", {"iat": 1, "exp": 2}),
    ("no end", {"exp": None}),
    ("from the future", {"iat": 4_000_000_000, "exp": 4_000_000_060}),
    ("nobody", {"sub": None}),
    ("an empty name", {"sub": ""}),
]


@pytest.mark.parametrize(("what", "said"), WRONG, ids=[each[0] for each in WRONG])
def test_an_id_token_that_is_not_for_us_signs_nobody_in(house: House, small: Small, what: str, said: Any) -> None:
    small.said = said
    browser = returned(house, small)
    assert "机构账号登录未成功" in browser.text
    assert browser.ask().has("sign-in")


FORGED: list[tuple[str, dict[str, Any], Any]] = [
    ("signed by another key", {"alg": "RS256", "kid": "k1"}, OTHER),
    ("by a key that is not published", {"alg": "RS256", "kid": "k2"}, OTHER),
    ("not signed", {"alg": "none"}, None),
    ("by the public key as a secret", {"alg": "HS256", "kid": "k1"}, KEY.as_pem(private=False)),
    ("by the client secret", {"alg": "HS256"}, SECRET.encode()),
]


@pytest.mark.parametrize(("what", "header", "key"), FORGED, ids=[each[0] for each in FORGED])
def test_a_forged_id_token_signs_nobody_in(house: House, small: Small, what: str, header: Any, key: Any) -> None:
    small.header, small.key = header, key
    browser = returned(house, small)
    assert "机构账号登录未成功" in browser.text
    assert browser.ask().has("sign-in")


def test_a_state_that_is_not_the_browsers_is_refused(house: House, small: Small) -> None:
    browser, brought = gone(house, "small")
    small.nonce = brought["nonce"]
    stranger = house.browser().ask()
    assert "已过期" in back(house, stranger, code="c", state=brought["state"]).text
    assert "已过期" in back(house, browser, code="c", state=brought["state"] + "x").text
    assert "已过期" in back(house, browser, code="c").text


def test_the_way_back_is_taken_once(house: House, small: Small) -> None:
    browser, brought = gone(house, "small")
    small.nonce = brought["nonce"]
    assert back(house, browser, code="c", state=brought["state"]).has("allow")
    assert "已过期" in back(house, browser, code="c", state=brought["state"]).text


@pytest.mark.parametrize("query", [{"iss": "https://evil.example.org"}, {"code": "", "error": "access_denied"}])
def test_an_answer_of_another_provider_or_a_refusal_signs_nobody_in(
    house: House, small: Small, query: dict[str, str]
) -> None:
    small.said = {"sub": f"s-{secrets.token_hex(4)}"}
    browser = returned(house, small, **query)
    assert "机构账号登录未成功" in browser.text


def test_a_provider_cannot_name_another_institutions_doctor(house: House, small: Small) -> None:
    id = f"d{secrets.token_hex(4)}"
    house.server.put({"resourceType": "Practitioner", "id": id}, organization="org2")
    small.said = {"sub": secrets.token_hex(4), "fhirUser": f"Practitioner/{id}"}
    assert "没有对应的账户" in returned(house, small).text


OTHERS: list[dict[str, str]] = [
    {"department": "org2"},
    {"department": "nobodys"},
    {"department": "dep-of-org2"},
    {"practitionerRole": "PractitionerRole/of-org2"},
    {"practitionerRole": "PractitionerRole/nobodys"},
]


@pytest.mark.parametrize("named", OTHERS)
def test_nor_can_it_name_another_institutions_department_or_role(
    house: House, small: Small, named: dict[str, str]
) -> None:
    house.server.put(
        {"resourceType": "Organization", "id": "org2", "name": "医院"},
        {"resourceType": "Organization", "id": "dep-of-org2", "name": "心内科"},
        {"resourceType": "PractitionerRole", "id": "of-org2"},
        organization="org2",
    )
    id = secrets.token_hex(4)
    small.said = {"sub": id, "fhirUser": f"Practitioner/{id}", "department": None, **named}
    for _ in range(2):  # when the account is made, and when it is there
        said = claims(house.tokens(returned(house, small).press("allow").back["code"])["access_token"])
        assert said.keys().isdisjoint(("department", "practitionerRole"))


def test_nor_does_an_account_stay_that_names_a_doctor_whom_another_institution_has_now(
    house: House, small: Small
) -> None:
    id = f"d{secrets.token_hex(4)}"
    small.said = {"sub": id, "fhirUser": f"Practitioner/{id}"}
    assert returned(house, small).has("allow")
    house.server.put({"resourceType": "Practitioner", "id": id}, organization="org2")
    assert "没有对应的账户" in returned(house, small).text


@pytest.mark.parametrize("user", ["Patient/1", "Device/1", "", "Practitioner/../x", None])
def test_a_provider_makes_accounts_of_its_role_only(house: House, small: Small, user: str | None) -> None:
    small.said = {"sub": secrets.token_hex(4), "fhirUser": user}
    assert "没有对应的账户" in returned(house, small).text


def test_without_create_only_mapped_accounts_come_in(house: House, small: Small) -> None:
    subject = secrets.token_hex(4)
    small.said = {"sub": subject}

    def tried() -> Browser:
        browser, brought = gone(house, "mapped")
        small.nonce = brought["nonce"]
        return back(house, browser, code="c", state=brought["state"])

    assert "没有对应的账户" in tried().text
    account = house.doctor(enrolled=False, subject=(small.issuer, subject), name="映射医生")
    assert "映射医生" in tried().text
    house.run(lambda desk, authority: desk.users.set_disabled(account.id, True))
    assert "没有对应的账户" in tried().text


def test_a_mapped_account_of_another_institution_stays_out(house: House, small: Small) -> None:
    subject = secrets.token_hex(4)
    house.doctor(organization="org2", enrolled=False, subject=(small.issuer, subject))
    small.said = {"sub": subject}
    assert "没有对应的账户" in returned(house, small).text


BAD = [
    {"issuer": "http://idp.example.org"},
    {"issuer": "https://idp.example.org?x=1"},
    {"role": "system"},
    {"id": "A B"},
    {"unknown": 1},
    {"claims": {"more": "x"}},
]


@pytest.mark.parametrize("changed", BAD)
def test_a_provider_that_cannot_be_stops_the_start(tmp_path: Path, changed: dict[str, Any]) -> None:
    good = {
        "id": "a",
        "name": "A",
        "issuer": "https://idp.example.org",
        "client_id": "us",
        "secret_file": "x",
        "organization": "org1",
    }
    assert Settings.load(tmp_path, identity_providers=[good]).identity_providers[0].role is Role.PRACTITIONER
    with pytest.raises(SettingsError, match="identity_providers"):
        Settings.load(tmp_path, identity_providers=[{**good, **changed}])


def test_a_provider_of_another_name_is_not_asked(house: House, small: Small) -> None:
    browser = house.browser().ask()
    link = browser.text.split('provider=small"')[0].rsplit('href="', 1)[1].replace("&amp;", "&")
    answer = browser.http.get(f"{house.origin}{link}provider=nobody")
    assert answer.status_code == 400
    assert httpx.get(f"{house.origin}/auth/provider", params={"provider": "small"}).status_code == 400
