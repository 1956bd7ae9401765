"""The pages of patients and of who speaks for them tell of nobody else, and of nothing that is withheld from them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.auth.requester import Role
from tests.noninterference.both import Both
from tests.noninterference.conftest import several
from tests.noninterference.guardians import guarded
from tests.noninterference.oracle import User
from tests.noninterference.pair import Asked, Pair
from tests.noninterference.questions import users
from tests.noninterference.twins import hold, kin, known_to, only
from tests.noninterference.windows import Desks, Window, account, next_page
from tests.noninterference.world import World, worlds
from tests.noninterference.written import Records, references

# What is asked of records by those whom patients find in their lists: each shows a record whatever else there is.
PATHS = ("{type}/{id}", "{type}/{id}/_history", "{type}?_id={id}", "{type}?patient={patient}&_count=100")
COUNTS = ("Observation?patient={patient}&_summary=count", "Patient/{patient}/Encounter?_summary=count")


@several(8)
@given(st.data())
def test_the_pages_of_a_patient_tell_of_nobody_else(doors: Pair, desks: Desks, data: st.DataObject) -> None:
    world = data.draw(worlds(doors.fresh()), label="world")
    patient = data.draw(st.sampled_from(world.patients), label="patient")
    user = User("patient", f"Patient/{patient}", "h1", "PATRQT", "user/*.rs")
    _filled(doors, world, user, patient)
    _look(doors, world, data)
    with desks.window(account(Role.PATIENT, user.user, "h1")) as window:
        _compare(window, world, data)


@several(8)
@given(st.data())
def test_the_pages_of_who_speaks_for_a_child_tell_of_nobody_else(
    doors: Pair, desks: Desks, data: st.DataObject
) -> None:
    world = data.draw(guarded(doors.fresh()), label="world")
    related = f"RelatedPerson/{world.patients[0].partition('-')[0]}-rp1"
    (child,) = references(
        Records.of(world).versions[("RelatedPerson", related.partition("/")[2])][-1].content["patient"]
    )
    user = User("related-person", related, "h1", "PATRQT", "user/*.rs")
    _filled(doors, world, user, child.removeprefix("Patient/"))
    _look(doors, world, data)
    with desks.window(account(Role.RELATED_PERSON, related, "h1")) as window:
        _compare(window, world, data)


def _filled(doors: Pair, world: World, user: User, patient: str) -> None:
    doors.store_a.write(world)
    hold(doors, only(world, kin(world, patient) | known_to(doors.oracle(world, user))))


def _look(doors: Pair, world: World, data: st.DataObject) -> None:
    """Have others ask both for records, so that there is something to tell."""
    for _ in range(2):
        looking = Both(doors, doors.token(data.draw(users(world), label="who looks")))
        for path in data.draw(st.lists(st.sampled_from([*PATHS, *COUNTS]), min_size=3, max_size=6), label="paths"):
            type, id = data.draw(st.sampled_from(world.places))
            asked = Asked("GET", path.format(type=type, id=id, patient=data.draw(st.sampled_from(world.patients))))
            doors.ask(looking.token, asked)


def _compare(window: Window, world: World, data: st.DataObject) -> None:
    """Go to all pages, end something, and look again."""
    consents = [*(id for type, id in world.places if type == "Consent"), "none"]
    window.go("/auth/my")
    window.go("/my/authorizations")
    for id in consents:
        window.go(f"/my/authorizations/{id}")
        window.go(f"/my/authorizations/{id}/revoke")
    for own in "01":
        window.go(f"/my/access?own={own}")
        while window.follow(next_page):
            continue
    ended = data.draw(st.sampled_from(consents), label="ended")
    window.go(f"/my/authorizations/{ended}/revoke")
    if window.press("revoke"):
        window.go("/my/authorizations")
        window.go(f"/my/authorizations/{ended}")
