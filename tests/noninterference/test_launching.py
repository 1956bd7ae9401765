"""The authorization server's pages over random worlds: the picker, the contexts, and the tokens that come of them.

A browser goes the same way on both servers: signed in as the same person it searches, names patients and visits by hand
that no page offered, chooses, and allows; an EMR opens an app with whatever it names. Every page and every token context
is the same where the store holds everything and where it holds only what the user may see.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.app import keyring_of
from fhir_server.auth.accounts.account import REASONED, Account
from fhir_server.auth.accounts.browser import name_of
from fhir_server.auth.accounts.picking import SCOPE
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.accounts.sessions import CODE, PASSWORD
from fhir_server.auth.requester import Role
from fhir_server.auth.server.clients import Client, Kind
from tests.auth.accounts.house import BACK, VERIFIER, House
from tests.auth.accounts.house import app as chart
from tests.auth.server.apps import KEYS, App, Desk, public
from tests.noninterference.agreements import ORGANIZATIONS
from tests.noninterference.conftest import random_examples
from tests.noninterference.filled import Store
from tests.noninterference.oracle import Oracle, User
from tests.noninterference.pair import Pair, visible
from tests.noninterference.questions import users
from tests.noninterference.world import FAMILIES, NUMBERS, Step, World, worlds
from tests.noninterference.written import references
from tests.smart.forms import forms

Json = dict[str, Any]
CHANGING = re.compile(r'(name="(?:form|flow)" value="|flow=)[A-Za-z0-9_-]+')
ASKED = [
    "openid fhirUser launch/patient launch/encounter patient/*.rs user/*.rs",
    "openid fhirUser launch/encounter user/*.rs",
    "launch/patient patient/Observation.rs",
]
TEXTS = (*FAMILIES, "三", *NUMBERS, "1", "9")
# What a token says of itself, and not of anybody or anything: when it was made, which it is, by which key.
OWN = frozenset({"iat", "exp", "nbf", "jti", "grant", "generation", "sub", "at_hash", "sid", "auth_time"})


@dataclass
class Page:
    """A page as it came."""

    answer: httpx.Response

    @property
    def compared(self) -> tuple[int, str, dict[str, str]]:
        back = httpx.URL(self.answer.headers.get("location", "")).params
        told = {name: value for name, value in back.items() if name != "code"}
        return self.answer.status_code, CHANGING.sub(r"\1", self.answer.text), told

    def has(self, step: str) -> bool:
        return any(each.value == step for form in forms(self.answer) for each in form.named("step"))


class Browser:
    """A user at one of the servers."""

    def __init__(self, http: httpx.Client, cookie: str) -> None:
        self.http = http
        http.cookies.clear()
        http.cookies.set(name_of(secure=False), cookie, path="/auth")
        self.page: Page

    def go(self, path: str, query: dict[str, str]) -> Page:
        self.page = Page(self.http.get(path, params=query))
        return self.page

    def send(self, step: str, filled: dict[str, str]) -> Page:
        """Send what the page's form carries unseen, with these values, whether they were offered or not."""
        form = next(each for each in forms(self.page.answer) if each.named("flow"))
        pairs = {each.name: each.value for each in form.of_kind("hidden")} | {"step": step, **filled}
        scopes = [each.value for each in form.named("scope")]
        self.page = Page(self.http.post(form.action, data={**pairs, "scope": scopes}))
        return self.page

    def context(self) -> Json:
        """Return what the code is worth that the browser has brought back: the token's context and its claims."""
        code = httpx.URL(self.page.answer.headers["location"]).params["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
        answer = self.http.post("/auth/token", data={**form, "client_id": "chart"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


class Both:
    """The same user at both servers, going the same way; every page is compared."""

    def __init__(self, browsers: Sequence[Browser]) -> None:
        self.browsers = browsers

    def go(self, *queries: dict[str, str]) -> Page:
        """Come from the app with a request; queries: one for both servers, or one for each."""
        of_each = queries if len(queries) > 1 else queries * 2
        each = zip(self.browsers, of_each, strict=True)
        return self._same([browser.go("/auth/authorize", query) for browser, query in each])

    def send(self, step: str, **filled: str) -> Page:
        return self._same([browser.send(step, filled) for browser in self.browsers])

    @property
    def page(self) -> Page:
        return self.browsers[0].page

    def _same(self, pages: Sequence[Page]) -> Page:
        gated, reference = (each.compared for each in pages)
        assert gated[0] < 500
        assert gated == reference
        return pages[0]


class Hall:
    """Both servers with an app and EMRs registered, and the parts of sign-in as a command would open them."""

    def __init__(self, servers: Pair, desks: Sequence[Reception], clients: Sequence[httpx.Client]) -> None:
        self.servers, self.desks, self.clients = servers, desks, clients
        self.house, self.desk = House(servers.a, ""), Desk(servers.a, "")

    @property
    def stores(self) -> tuple[Store, Store]:
        return self.servers.store_a, self.servers.store_b

    def enter(self, user: User) -> Both:
        """Return the browsers of a user who has signed in, with a second factor."""
        account, browsers = account_of(user), []
        for store, desk, client in zip(self.stores, self.desks, self.clients, strict=True):
            known = store.run(desk.users.add(account))
            cookie, _ = store.run(desk.sessions.begin(known.id, frozenset({PASSWORD, CODE})))
            browsers.append(Browser(client, cookie))
        return Both(browsers)

    def launched(self, organization: str, body: Json) -> list[dict[str, str]]:
        """Return the requests of an app that an EMR opens with a context, by what each server said to it."""
        claims = User("system", f"Device/emr-{organization}", organization, "TREAT", "system/*.rs").claims
        token = self.servers.a.bearer.issue({**claims, "client_id": f"emr-{organization}"}, lifetime=3600)
        bearer = {"Authorization": f"Bearer {token}"}
        answers = [each.post("/auth/launch", json=body, headers=bearer) for each in self.clients]
        assert [each.status_code for each in answers] == [201, 201], answers[0].text
        said = [each.json() for each in answers]
        found = [each.pop("launch") for each in said]
        assert said[0] == said[1]
        return [
            self.house.request(scope="launch openid fhirUser patient/*.rs user/*.rs", launch=each) for each in found
        ]

    def same_tokens(self, both: Both, organization: str) -> Json:
        """Compare what the apps got, and what the EMR is told of it; return the context."""
        apart = []
        for browser in both.browsers:
            said = browser.context()
            token = said.pop("access_token")
            asked = {"token": token, **App(self.desk, emr(organization), key=KEYS["ES384"]).proof()}
            told = browser.http.post("/auth/introspect", data=asked).json()
            assert told["active"]
            texts = (each for each in (token, said.pop("id_token", None)) if each)
            apart.append([said, *map(other_than_own, (told, *map(claims_of, texts)))])
        assert apart[0] == apart[1]
        return dict(apart[0][0])


def account_of(user: User) -> Account:
    """Return the account of a user who may ask for one purpose."""
    at_home = user.department, user.practitioner_role
    named = f"u-{secrets.token_hex(6)}", "王医生", Role(user.role), user.user, user.organization, (user.purpose,)
    return Account("", *named, *at_home)


def emr(organization: str) -> Client:
    """Return an institution's EMR, which opens apps and is told of the tokens of its users."""
    more = {"system_user": f"Device/emr-{organization}", "organization": organization, "scopes": ("system/*.rs",)}
    keys = {"keys": [public(KEYS["ES384"])]}
    return Client(f"emr-{organization}", "EMR", Kind.BACKEND, jwks=keys, may_launch=True, **more)  # type: ignore[arg-type]


def claims_of(token: str) -> Json:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def other_than_own(claims: Json) -> Json:
    return {name: value for name, value in claims.items() if name not in OWN}


@pytest.fixture(scope="module")
def hall(servers: Pair) -> Iterator[Hall]:
    keyring, desks, clients = keyring_of(servers.a.settings), [], []
    for store, at in zip((servers.store_a, servers.store_b), (servers._client_a, servers._client_b), strict=True):
        authority = store.parts.authority(servers.a.settings, keyring)
        desks.append(store.parts.reception(servers.a.settings, keyring, authority))
        for client in (chart("chart"), *map(emr, ORGANIZATIONS)):
            store.run(authority.clients.add(client))
        clients.append(httpx.Client(base_url=at.base_url.join("/"), timeout=60))
    yield Hall(servers, desks, clients)
    for each in clients:
        each.close()


def visited(world: World, data: st.DataObject) -> World:
    """Return the world with a visit of every patient, in some institution."""
    visits = []
    for patient in world.patients:
        said = {"status": "finished", "class": {"code": "A"}, "subject": {"reference": f"Patient/{patient}"}}
        made = {"resourceType": "Encounter", "id": f"{patient}v", **said}
        visits.append(Step("Encounter", made["id"], made, data.draw(st.sampled_from(ORGANIZATIONS))))
    return World([*world.groups, visits], world.patients, [*world.places, *((each.type, each.id) for each in visits)])


def prepared(servers: Pair, data: st.DataObject) -> tuple[World, User, Oracle]:
    """Fill both stores; return whom the pages ask as: the user without a patient in context, with the pages' own scopes."""
    world = visited(data.draw(worlds(servers.fresh()), label="world"), data)
    servers.store_a.write(world)
    user = data.draw(users(world).filter(lambda each: each.role != "system"), label="user")
    reason = "unconscious" if user.purpose in REASONED else None
    user = replace(user, scope=SCOPE, patient=None, reason=reason)
    oracle = servers.oracle(world, user)
    servers.store_b.hold(visible(oracle))
    return world, user, oracle


def begun(both: Both, user: User, *queries: dict[str, str]) -> None:
    both.go(*queries)
    if both.page.has("purpose"):
        both.send("purpose", purpose=user.purpose, reason=user.reason or "")


def ids_of(world: World, type: str) -> list[str]:
    prefix = world.patients[0].partition("-")[0]
    return [*sorted({id for each, id in world.places if each == type}), f"{prefix}-none", "-", "../x"]


def whose(oracle: Oracle, encounter: str) -> str:
    """Return the person whose visit it is, who may be several Patients."""
    (subject,) = references(oracle.records.versions["Encounter", encounter][-1].content["subject"])
    return oracle.records.person_of(subject.removeprefix("Patient/"))


@settings(random_examples, max_examples=max(10, random_examples.max_examples // 6))
@given(st.data())
def test_the_picker_offers_and_takes_what_its_user_may_see(servers: Pair, hall: Hall, data: st.DataObject) -> None:
    world, user, oracle = prepared(servers, data)
    both = hall.enter(user)
    begun(both, user, hall.house.request(scope=data.draw(st.sampled_from(ASKED), label="scope")))
    for text in (
        data.draw(st.lists(st.sampled_from(TEXTS), max_size=3), label="searched") if both.page.has("search") else []
    ):
        both.send("search", q=text)
    chosen = None
    for patient in data.draw(st.permutations(ids_of(world, "Patient")), label="patients"):
        if both.send("patient", patient=patient).answer.status_code == 200:
            chosen = patient
            for encounter in ids_of(world, "Encounter") if both.page.has("encounter") else []:
                taken = both.send("encounter", encounter=encounter).answer.status_code == 200
                assert not taken or encounter == "-" or whose(oracle, encounter) == oracle.records.person_of(patient)
    if both.page.has("allow"):
        both.send("allow")
        context = hall.same_tokens(both, user.organization)
        if user.role == "practitioner":
            assert context.get("patient") == chosen


@settings(random_examples, max_examples=max(12, random_examples.max_examples // 5))
@given(st.data())
def test_an_emr_is_told_nothing_of_what_it_names(servers: Pair, hall: Hall, data: st.DataObject) -> None:
    world, user, _ = prepared(servers, data)
    both = hall.enter(user)
    for _ in range(2):
        patients, encounters = (ids_of(world, each)[:-2] for each in ("Patient", "Encounter"))
        named = {"patient": data.draw(st.sampled_from([*patients, *world.patients]))}
        named |= {"encounter": data.draw(st.sampled_from(encounters))} if data.draw(st.booleans()) else {}
        context = data.draw(st.sampled_from([named, named, {}]), label="context")
        begun(both, user, *hall.launched(user.organization, {"user": user.user, **context}))
        if both.page.has("allow"):
            both.send("allow")
            told = hall.same_tokens(both, user.organization)
            assert context.items() <= told.items()
