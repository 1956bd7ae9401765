"""The doors that are no plain interaction: authorizations, pages, deliveries, emergencies, the desk.

What each answers, and what it leaves behind, is the same where the server holds everything and where it holds only what the
requester may know of (twins.py).
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.emergencies.emergencies import EMERGENCIES
from tests.noninterference.agreements import Json
from tests.noninterference.both import Both, parameters
from tests.noninterference.conftest import several
from tests.noninterference.guardians import guarded, guardians
from tests.noninterference.oracle import NOW, User
from tests.noninterference.pair import Asked, Pair
from tests.noninterference.questions import Questions, users
from tests.noninterference.test_launching import visited
from tests.noninterference.twins import filled, hold, known_to, only
from tests.noninterference.world import World, worlds
from tests.noninterference.written import Records, references

WAYS = ("app", "app", "sms", "message", "paper", "guardian", "none")
STEPS = ("verify", "confirm", "decline", "revoke")
TYPES = ("Observation", "Condition", "Patient")


@st.composite
def people(draw: st.DrawFn, world: World) -> list[User]:
    """Draw who takes the steps: one user, or another one as well; one of them may speak for a child."""
    first, second = draw(users(world)), draw(st.one_of(users(world), guardians(world)))
    return draw(st.sampled_from([[first], [first, second]]))


@st.composite
def status(draw: st.DrawFn, patients: st.SearchStrategy[str]) -> tuple[str, str, Json | None]:
    """Draw a question for the status of an authorization, in one of the shapes that it can have, or a wrong one."""
    place = f"Patient/{draw(patients)}/$authorization-status"
    purpose = draw(st.sampled_from(["", "", "TREAT", "HRESCH", "of my own"]))
    asked = f"{place}?{urlencode({'purpose': purpose})}" if purpose else place
    entry = {"request": {"method": "GET", "url": asked}}
    return draw(
        st.sampled_from(
            [
                ("GET", asked, None),
                ("HEAD", asked, None),
                ("POST", place, parameters(**({"purpose": purpose} if purpose else {}))),
                ("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": [entry, entry]}),
                ("GET", f"{place}?about=h2", None),
                ("GET", f"{asked}{'&' if purpose else '?'}_format=xml", None),
            ]
        )
    )


@st.composite
def steps(draw: st.DrawFn, world: World) -> tuple[str, str, Json | None]:
    """Draw a question or a step, of a patient or a Consent that there is or not: method, path and body."""
    patients = st.sampled_from([*world.patients, "none"])
    consents = [id for type, id in world.places if type == "Consent"]
    kind = draw(st.sampled_from(["ask", "ask", "status", "status", "step", "step"]))
    if kind == "status":
        return draw(status(patients))
    if kind == "step":
        name, id = draw(st.sampled_from(STEPS)), draw(st.sampled_from(["{made}", "{made}", *consents, "none"]))
        return "POST", f"Consent/{id}/${name}", parameters(code="123456") if name == "verify" else None
    said = {"way": draw(st.sampled_from(WAYS)), "type": draw(st.lists(st.sampled_from(TYPES), max_size=2, unique=True))}
    purpose = draw(st.sampled_from([{}, {"purpose": "TREAT"}, {"purpose": "HRESCH"}]))
    return "POST", f"Patient/{draw(patients)}/$request-authorization", parameters(**said, **purpose)


@several(6)
@given(st.data())
def test_questions_and_answers_of_authorizations(doors: Pair, data: st.DataObject) -> None:
    made = data.draw(st.sampled_from([worlds, worlds, guarded]), label="kind")
    world = data.draw(made(doors.fresh()), label="world")
    asking = data.draw(people(world), label="users")
    filled(doors, world, *asking)
    all_of_them = [Both(doors, doors.token(user)) for user in asking]
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


@several(8)
@given(st.data())
def test_a_reason_whose_time_has_passed_opens_nothing(doors: Pair, data: st.DataObject) -> None:
    world = data.draw(worlds(doors.fresh()), label="world")
    patient, number = data.draw(st.sampled_from(world.patients)), data.draw(st.integers(1, 3))
    own = f"Practitioner/dr{number}", f"h{number}", data.draw(st.sampled_from(["ETREAT", "BTG"])), "user/*.rs"
    stated = User("practitioner", *own, f"Patient/{patient}", "unconscious")
    silent = replace(stated, reason=None)
    doors.store_a.write(world)
    hold(doors, only(world, known_to(doors.oracle(world, silent))))
    begun = NOW - timedelta(minutes=61)
    said = {**stated.claims, "auth_time": int(begun.timestamp())}
    token = doors.a.bearer.issue(said, lifetime=3600)
    questions, clock = Questions(world, wide=False), doors.a.clock
    clock.now = begun
    doors._one(doors._client_a, token, questions.everything())
    clock.now = NOW
    if doors.store_a.database[EMERGENCIES].count_documents({}) == 0:
        return  # the glass opened nothing then, so that no time has begun
    asked = [questions.everything(), *data.draw(st.lists(questions.asked(), min_size=2, max_size=4), label="asked")]
    for each in asked:
        closed = doors._one(doors._client_a, token, each)
        reference = doors._one(doors._client_b, doors.token(silent), each)
        if difference := closed.differs_from(reference):
            pytest.fail(f"{each.path} {difference}")


def bundle(patient: str, number: str) -> Json:
    said = {"status": "final", "code": {"text": "x"}, "subject": {"reference": f"Patient/{patient}"}}
    entry = {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Observation", **said}}
    identifier = {"system": "urn:exchange", "value": number}
    return {"resourceType": "Bundle", "type": "collection", "identifier": identifier, "entry": [entry]}


@several(8)
@given(st.data())
def test_what_is_received_for_visits_and_purged(doors: Pair, data: st.DataObject) -> None:
    """The bridge learns nothing of visits that are hidden; who may not see a delivery, nothing of it, then and afterwards."""
    prefix = doors.fresh()
    world = visited(data.draw(worlds(prefix), label="world"), data)
    bridge = User("system", "Device/emr-h1", "h1", "TREAT", "system/*.cruds")
    filled(doors, world, bridge)
    receiving, brought = Both(doors, doors.token(bridge)), list[str]()
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
            _purge(doors)
        looking = data.draw(users(world), label="who looks")
        token = doors.token(looking)
        statuses = [doors._one(doors._client_a, token, Asked("GET", each)).status for each in brought]
        if {*statuses} <= {403, 404}:
            doors.store_b.empty()
            hold(doors, only(world, known_to(doors.oracle(world, looking))))
            questions = Questions(world, wide=looking.reason is None)
            one = Both(doors, token)
            for place in brought:
                one.same("GET", f"{place}/_history")
                one.same("GET", f"{place}/_history/1")
            for asked in (questions.everything(), Asked("GET", "Observation/_history?_count=100")):
                whole, reference = doors.ask(token, asked)
                if difference := whole.differs_from(reference):
                    pytest.fail(f"{asked.path} {difference}")


def _purge(doors: Pair) -> None:
    """Purge on the first server what it has received, a month later."""
    parts = doors.store_a.parts
    parts.services.clock.now = NOW + timedelta(days=32)  # type: ignore[attr-defined]
    try:
        while doors.store_a.run(parts.purging.once()) is None:
            continue
    finally:
        parts.services.clock.now = NOW  # type: ignore[attr-defined]
