"""The doors that are no plain interaction: authorizations, pages, deliveries, emergencies, the desk.

What each answers, and what it leaves behind, is the same where the server holds everything and where it holds only what the
requester may know of (twins.py).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.audit.log import OWNER as EVENTS_OWNER
from fhir_server.auth.accounts.account import Account
from fhir_server.auth.requester import Role
from fhir_server.auth.server.clients import Client, Kind
from fhir_server.emergencies.emergencies import EMERGENCIES
from fhir_server.emergencies.emergencies import OWNER as EMERGENCIES_OWNER
from tests.auth.server.apps import KEYS, public
from tests.noninterference.agreements import ORGANIZATIONS, Json
from tests.noninterference.conftest import random_examples
from tests.noninterference.oracle import NOW, User
from tests.noninterference.pair import Answer, Asked, Pair
from tests.noninterference.questions import Questions, users
from tests.noninterference.test_launching import visited
from tests.noninterference.test_writes import nameless
from tests.noninterference.twins import BELONGING, Place, filled, hold, known_to, only, twins
from tests.noninterference.windows import Desks, next_page
from tests.noninterference.world import World, worlds
from tests.noninterference.written import Records, references

WAYS = ("app", "app", "sms", "message", "paper", "guardian", "none")
STEPS = ("verify", "confirm", "decline", "revoke")
LEFT = ("Consent", "Provenance", "Communication")
TYPES = ("Observation", "Condition", "Patient")


def several(part: int) -> settings:
    """Return the settings of a test that runs one of so many examples. Each takes as long as ten of the other tests' do."""
    return settings(random_examples, max_examples=max(3, random_examples.max_examples // part))


BACK = "https://booking.hospital.example/back"
BOOKING = {"client_id": "booking", "return_urls": (BACK,)}
BRIDGES = frozenset({"Device/emr-h1", "Device/emr-h2"})


@pytest.fixture(scope="module")
def servers(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    more = {"message_stand_in": True, "consent_prompt_clients": (BOOKING,), "receiving_clients": BRIDGES}
    with twins(mongo_uri, tmp_path_factory.mktemp("installation"), **more) as running:
        _one_key(running)
        yield running


def _one_key(servers: Pair) -> None:
    """Have both seal events and emergencies by the same keys, so that what one has written can be laid before the other."""
    for store in (servers.store_a, servers.store_b):
        if store is servers.store_b:
            store.database["keys"].insert_many(servers.store_a.database["keys"].find())
        keys = store.parts.keys
        store.run(keys.for_writing([EVENTS_OWNER, EMERGENCIES_OWNER]))


@pytest.fixture(scope="module")
def desks(servers: Pair) -> Desks:
    made = Desks(servers)
    keys = {"keys": [public(KEYS["ES384"])]}
    said: Json = {"system_user": "Device/emr-h1", "organization": "h1", "scopes": ("system/*.cruds",)}
    made.register(Client("booking", "预约", Kind.BACKEND, jwks=keys, **said))
    return made


@dataclass
class Both:
    """Somebody who asks both servers the same. made: the Consents that came of it, by their ids on each."""

    servers: Pair
    token: str
    made: list[tuple[str, str]] = field(default_factory=list)

    def same(self, method: str, path: str, body: Json | None = None) -> tuple[Answer, Answer]:
        """Ask both; return their answers. path: "{made}" stands for what was made last."""
        content = None if body is None else json.dumps(body).encode()
        ids = self.made[-1] if self.made else ("none", "none")
        clients = self.servers._client_a, self.servers._client_b
        whole, lesser = (
            self.servers._one(client, self.token, Asked(method, path.replace("{made}", id), content))
            for client, id in zip(clients, ids, strict=True)
        )
        assert whole.status < 500, (path, whole.body)
        if difference := nameless(whole).differs_from(nameless(lesser)):
            pytest.fail(f"{method} {path} {difference}")
        return whole, lesser

    def left_alike(self, types: Sequence[str] = LEFT) -> None:
        """Compare what both show of what was left behind, in whichever order."""
        for type in types:
            query = Asked("GET", f"{type}?_count=100")
            found = [nameless(each) for each in self.servers.ask(self.token, query)]
            assert found[0].status == found[1].status
            if found[0].status == 200:
                one, two = (
                    sorted(json.dumps(entry) for entry in json.loads(each.body).get("entry", ())) for each in found
                )
                assert one == two


def parameters(**values: Any) -> Json:
    parts = [(name, each) for name, value in values.items() for each in (value if isinstance(value, list) else [value])]
    return {"resourceType": "Parameters", "parameter": [{"name": name, "valueString": each} for name, each in parts]}


@st.composite
def people(draw: st.DrawFn, world: World) -> list[User]:
    """Draw who takes the steps: one user, or another one as well, mostly the patient who is asked."""
    first = draw(users(world))
    return draw(st.sampled_from([[first], [first, draw(users(world))]]))


@st.composite
def steps(draw: st.DrawFn, world: World) -> tuple[str, str, Json | None]:
    """Draw a question or a step, of a patient or a Consent that there is or not: method, path and body."""
    patients = st.sampled_from([*world.patients, "none"])
    consents = [id for type, id in world.places if type == "Consent"]
    kind = draw(st.sampled_from(["ask", "ask", "status", "status", "step", "step"]))
    if kind == "status":
        query = draw(st.sampled_from(["", "", "?purpose=TREAT", "?purpose=HRESCH"]))
        return "GET", f"Patient/{draw(patients)}/$authorization-status{query}", None
    if kind == "step":
        name, id = draw(st.sampled_from(STEPS)), draw(st.sampled_from(["{made}", "{made}", *consents, "none"]))
        return "POST", f"Consent/{id}/${name}", parameters(code="123456") if name == "verify" else None
    said = {"way": draw(st.sampled_from(WAYS)), "type": draw(st.lists(st.sampled_from(TYPES), max_size=2, unique=True))}
    purpose = draw(st.sampled_from([{}, {"purpose": "TREAT"}, {"purpose": "HRESCH"}]))
    return "POST", f"Patient/{draw(patients)}/$request-authorization", parameters(**said, **purpose)


@several(6)
@given(st.data())
def test_questions_and_answers_of_authorizations(servers: Pair, data: st.DataObject) -> None:
    world = data.draw(worlds(servers.fresh()), label="world")
    asking = data.draw(people(world), label="users")
    filled(servers, world, *asking)
    all_of_them = [Both(servers, servers.token(user)) for user in asking]
    for one in all_of_them:
        one.made = all_of_them[0].made
    for method, path, body in data.draw(st.lists(steps(world), min_size=6, max_size=12), label="steps"):
        one = data.draw(st.sampled_from(all_of_them))
        whole, lesser = one.same(method, path, body)
        if whole.status == 201:
            one.made.append((json.loads(whole.body)["id"], json.loads(lesser.body)["id"]))
    for one in all_of_them:
        one.left_alike()
        for patient in world.patients:
            one.same("GET", f"Patient/{patient}/$authorization-status")


def account(role: Role, user: str, organization: str) -> Account:
    purpose = "PATRQT" if role in (Role.PATIENT, Role.RELATED_PERSON) else "HOPERAT"
    return Account("", f"u-{secrets.token_hex(6)}", "某人", role, user, organization, (purpose,))


# What is asked of records by those whom patients find in their lists: each shows a record whatever else there is.
PATHS = ("{type}/{id}", "{type}/{id}/_history", "{type}?_id={id}", "{type}?patient={patient}&_count=100")
COUNTS = ("Observation?patient={patient}&_summary=count", "Patient/{patient}/Encounter?_summary=count")


def kin(world: World, patient: str) -> frozenset[Place]:
    """Return what a patient may know of: all that is not of others alone, and Consents of those with whom they share any."""
    records = Records.of(world)
    person = records.person_of(patient)
    persons = {
        place: {each for version in versions for each in records.record(version).persons}
        for place, versions in records.versions.items()
    }
    near = {person}.union(*(each for each in persons.values() if person in each))
    kept = {place for place, theirs in persons.items() if not theirs or person in theirs or place[0] in BELONGING}
    deciding = {"Consent", "RelatedPerson", "Patient"}
    return frozenset(kept | {place for place, theirs in persons.items() if place[0] in deciding and theirs & near})


@several(8)
@given(st.data())
def test_the_pages_of_a_patient_tell_of_nobody_else(servers: Pair, desks: Desks, data: st.DataObject) -> None:
    world = data.draw(worlds(servers.fresh()), label="world")
    patient = data.draw(st.sampled_from(world.patients), label="patient")
    servers.store_a.write(world)
    themselves = User("patient", f"Patient/{patient}", "h1", "PATRQT", "user/*.rs")
    hold(servers, only(world, kin(world, patient) | known_to(servers.oracle(world, themselves))))
    for _ in range(2):
        looking = Both(servers, servers.token(data.draw(users(world), label="who looks")))
        for path in data.draw(st.lists(st.sampled_from([*PATHS, *COUNTS]), min_size=3, max_size=6), label="paths"):
            type, id = data.draw(st.sampled_from(world.places))
            asked = Asked("GET", path.format(type=type, id=id, patient=data.draw(st.sampled_from(world.patients))))
            servers.ask(looking.token, asked)
    consents = [id for type, id in world.places if type == "Consent"]
    with desks.window(account(Role.PATIENT, f"Patient/{patient}", "h1")) as window:
        window.go("/my/authorizations")
        for id in [*consents, "none"]:
            window.go(f"/my/authorizations/{id}")
            window.go(f"/my/authorizations/{id}/revoke")
        for own in "01":
            window.go(f"/my/access?own={own}")
            while window.follow(next_page):
                continue


@several(8)
@given(st.data())
def test_the_prompt_of_a_booking(servers: Pair, desks: Desks, data: st.DataObject) -> None:
    world = data.draw(worlds(servers.fresh()), label="world")
    scope = data.draw(st.sampled_from(["system/*.cruds", "system/*.cruds", "system/Patient.r system/Consent.cu"]))
    purpose = data.draw(st.sampled_from(["TREAT", "TREAT", "HRESCH"]))
    user = User("system", "Device/emr-h1", "h1", purpose, scope)
    filled(servers, world, user)
    token = servers.a.bearer.issue({**user.claims, "client_id": "booking"}, lifetime=3600)
    for patient in data.draw(st.permutations([*world.patients, "none"]), label="patients"):
        body = {"patient": f"Patient/{patient}", "expires": "2027-03-09", "return_url": BACK}
        with desks.window() as window:
            bearer = {"Authorization": f"Bearer {token}"}
            answers = [each.post("/consent-prompt", json=body, headers=bearer) for each in window.browsers]
            said = [each.json() for each in answers]
            opened = [each.pop("request", None) for each in said]
            assert [each.status_code for each in answers] == [answers[0].status_code] * 2
            assert {**said[0], "url": ""} == {**said[1], "url": ""}
            if opened[0]:
                window.go(*(f"/consent-prompt?request={each}" for each in opened))
                for step in data.draw(
                    st.permutations(["send", "verify", "agree", "later", "decline"]), label="pressed"
                ):
                    window.press(step, code="123456")
    Both(servers, token).left_alike()


@several(8)
@given(st.data())
def test_a_reason_whose_time_has_passed_opens_nothing(servers: Pair, data: st.DataObject) -> None:
    world = data.draw(worlds(servers.fresh()), label="world")
    patient, number = data.draw(st.sampled_from(world.patients)), data.draw(st.integers(1, 3))
    own = f"Practitioner/dr{number}", f"h{number}", data.draw(st.sampled_from(["ETREAT", "BTG"])), "user/*.rs"
    stated = User("practitioner", *own, f"Patient/{patient}", "unconscious")
    silent = replace(stated, reason=None)
    servers.store_a.write(world)
    hold(servers, only(world, known_to(servers.oracle(world, silent))))
    begun = NOW - timedelta(minutes=61)
    said = {**stated.claims, "auth_time": int(begun.timestamp())}
    token = servers.a.bearer.issue(said, lifetime=3600)
    questions, clock = Questions(world, wide=False), servers.a.clock
    clock.now = begun
    servers._one(servers._client_a, token, questions.everything())
    clock.now = NOW
    if servers.store_a.database[EMERGENCIES].count_documents({}) == 0:
        return  # the glass opened nothing then, so that no time has begun
    asked = [questions.everything(), *data.draw(st.lists(questions.asked(), min_size=2, max_size=4), label="asked")]
    for each in asked:
        closed = servers._one(servers._client_a, token, each)
        reference = servers._one(servers._client_b, servers.token(silent), each)
        if difference := closed.differs_from(reference):
            pytest.fail(f"{each.path} {difference}")


def bundle(patient: str, number: str) -> Json:
    said = {"status": "final", "code": {"text": "x"}, "subject": {"reference": f"Patient/{patient}"}}
    entry = {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Observation", **said}}
    identifier = {"system": "urn:exchange", "value": number}
    return {"resourceType": "Bundle", "type": "collection", "identifier": identifier, "entry": [entry]}


@several(8)
@given(st.data())
def test_what_is_received_for_visits_and_purged(servers: Pair, data: st.DataObject) -> None:
    """The bridge learns nothing of visits that are hidden; who may not see a delivery, nothing of it, then and afterwards."""
    prefix = servers.fresh()
    world = visited(data.draw(worlds(prefix), label="world"), data)
    bridge = User("system", "Device/emr-h1", "h1", "TREAT", "system/*.cruds")
    filled(servers, world, bridge)
    receiving, brought = Both(servers, servers.token(bridge)), list[str]()
    visits = {id: versions[-1] for (type, id), versions in Records.of(world).versions.items() if type == "Encounter"}
    for id in [*visits, "none"]:
        patient = next(references(visits[id].content["subject"]), "Patient/none") if id in visits else "Patient/none"
        content = bundle(patient.removeprefix("Patient/"), f"{prefix}-{id}")
        whole, _ = receiving.same("POST", f"$receive?source=Organization/h2&encounter=Encounter/{id}", content)
        if whole.status == 200:
            parts = json.loads(whole.body)["parameter"]
            brought += [each["valueReference"]["reference"] for each in parts if each["name"] == "stored"]
    receiving.left_alike(("Observation",))
    for purged in (False, True):
        if purged:
            _purge(servers)
        looking = data.draw(users(world), label="who looks")
        token = servers.token(looking)
        statuses = [servers._one(servers._client_a, token, Asked("GET", each)).status for each in brought]
        if {*statuses} <= {403, 404}:
            servers.store_b.empty()
            hold(servers, only(world, known_to(servers.oracle(world, looking))))
            questions = Questions(world, wide=looking.reason is None)
            one = Both(servers, token)
            for place in brought:
                one.same("GET", f"{place}/_history")
                one.same("GET", f"{place}/_history/1")
            for asked in (questions.everything(), Asked("GET", "Observation/_history?_count=100")):
                whole, reference = servers.ask(token, asked)
                if difference := whole.differs_from(reference):
                    pytest.fail(f"{asked.path} {difference}")


def _purge(servers: Pair) -> None:
    """Purge on the first server what it has received, a month later."""
    parts = servers.store_a.parts
    parts.services.clock.now = NOW + timedelta(days=32)  # type: ignore[attr-defined]
    try:
        while servers.store_a.run(parts.purging.once()) is None:
            continue
    finally:
        parts.services.clock.now = NOW  # type: ignore[attr-defined]


DESK = ("patient", "user", "institution", "outcome")


@several(8)
@given(st.data())
def test_the_desk_of_an_auditor(servers: Pair, desks: Desks, data: st.DataObject) -> None:
    """An auditor is told what a server tells that has no events, emergencies and records but those of the institution."""
    world = data.draw(worlds(servers.fresh()), label="world")
    servers.store_a.write(world)
    asking = [data.draw(users(world), label="who asks") for _ in range(3)]
    questions = Questions(world, wide=False)
    for user in asking:
        for asked in data.draw(st.lists(questions.asked(), min_size=2, max_size=4), label="asked"):
            servers._one(servers._client_a, servers.token(user), asked)
    institution = data.draw(st.sampled_from(ORGANIZATIONS), label="institution")
    hold(
        servers, only(world, frozenset(place for place in world.places if place[0] in ("Organization", "Practitioner")))
    )
    for name in ("AuditEvent", EMERGENCIES):
        theirs = list(servers.store_a.database[name].find({"org": institution}))
        if theirs:
            servers.store_b.database[name].insert_many(theirs)
    auditor = account(Role.AUDITOR, f"Practitioner/aud-{institution}", institution)
    with desks.window(auditor) as window:
        for user in asking:
            window.go("/desk")
            about = {"user": user.user, "patient": data.draw(st.sampled_from([*world.patients, ""]))}
            window.press("search", **{**dict.fromkeys(DESK, ""), **about}, since="", until="")
            events = [each for each in _links(window.text, "/desk/events/")]
            for link in events[:3]:
                window.go(link)
            for kind in ("csv", "ndjson"):
                window.go("/desk")
                window.press("search", **{**dict.fromkeys(DESK, ""), **about}, since="", until="")
                window.press(kind)
        for status in ("open", "any"):
            window.go(f"/desk/emergencies?status={status}")
            for link in _links(window.text, "/desk/emergencies/")[:2]:
                window.go(link)


def _links(text: str, below: str) -> list[str]:
    return [each.split('"')[0] for each in text.split('href="')[1:] if each.startswith(below)]
