"""The desk of an auditor: what a server tells that has no events, emergencies and records but those of the institution."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.auth.accounts.account import Account
from fhir_server.auth.requester import Role
from fhir_server.emergencies.emergencies import EMERGENCIES
from tests.noninterference.agreements import ORGANIZATIONS, Json
from tests.noninterference.conftest import several
from tests.noninterference.oracle import User
from tests.noninterference.pair import Pair
from tests.noninterference.questions import Questions, users
from tests.noninterference.twins import Place, about, hold, only
from tests.noninterference.windows import Desks, Window, account, links
from tests.noninterference.world import World, worlds
from tests.noninterference.written import Records

FORM = ("patient", "user", "institution", "outcome")
DONE = "0"
RECORD = re.compile(r"([A-Za-z]+)/([^/]+)(?:/_history/.*)?")


@several(8)
@given(st.data())
def test_the_desk_of_an_auditor(doors: Pair, desks: Desks, data: st.DataObject) -> None:
    world = data.draw(worlds(doors.fresh()), label="world")
    asking = _asked(doors, world, data)
    institution = data.draw(st.sampled_from(ORGANIZATIONS), label="institution")
    directory = frozenset(place for place in world.places if place[0] in ("Organization", "Practitioner"))
    _laid_before(doors, only(world, directory), institution)
    with desks.window(_auditor(institution)) as window:
        for user in asking:
            about_whom = {"user": user.user, "patient": data.draw(st.sampled_from([*world.patients, ""]))}
            _search(window, about_whom)
            for link in links(window.text, "/desk/events/")[:3]:
                window.go(link)
            for kind in ("csv", "ndjson"):
                _search(window, about_whom)
                window.press(kind)
        for status in ("open", "any"):
            window.go(f"/desk/emergencies?status={status}")
            for link in links(window.text, "/desk/emergencies/")[:2]:
                window.go(link)


@several(8)
@given(st.data())
def test_a_decision_made_again_tells_what_its_event_does(doors: Pair, desks: Desks, data: st.DataObject) -> None:
    """A replay rests on what the institution's events name, and on the Consents of whose records these are."""
    world = data.draw(worlds(doors.fresh()), label="world")
    _asked(doors, world, data)
    institution = data.draw(st.sampled_from(ORGANIZATIONS), label="institution")
    auditor = doors.a.token("auditor", f"Practitioner/aud-{institution}", institution, scope="user/*.rs")
    (found,) = doors.gated(auditor, ["AuditEvent?_count=500"])
    events = [each["resource"] for each in found.json().get("entry", ())]
    _laid_before(doors, only(world, about(world, _named(world, events, institution))), institution)
    with desks.window(_auditor(institution)) as window:
        for event in events:
            window.go(f"/desk/events/{event['id']}/replay")
        window.go("/desk/events/none/replay")


def _asked(doors: Pair, world: World, data: st.DataObject) -> list[User]:
    """Have three users ask the first server for something; return them."""
    doors.store_a.write(world)
    asking = [data.draw(users(world), label="who asks") for _ in range(3)]
    questions = Questions(world, wide=False)
    for user in asking:
        for asked in data.draw(st.lists(questions.asked(), min_size=2, max_size=4), label="asked"):
            doors._one(doors._client_a, doors.token(user), asked)
    return asking


def _laid_before(doors: Pair, world: World, institution: str) -> None:
    """Fill the second server with a world, and with the institution's own events and emergencies of the first."""
    hold(doors, world)
    for name in ("AuditEvent", EMERGENCIES):
        theirs = list(doors.store_a.database[name].find({"org": institution}))
        if theirs:
            doors.store_b.database[name].insert_many(theirs)


def _named(world: World, events: Sequence[Json], institution: str) -> frozenset[Place]:
    """Return the records that events say were shown, and those of the institution's own that they name."""
    own = {place for place, found in Records.of(world).versions.items() if found[-1].organization == institution}
    shown = {place for each in events if each["outcome"] == DONE for place in _entities(each)}
    return frozenset(shown | {place for each in events for place in _entities(each) if place in own})


def _entities(event: Json) -> list[Place]:
    named = (each["what"].get("reference", "") for each in event.get("entity", ()) if "what" in each)
    return [(found[1], found[2]) for each in named if (found := RECORD.fullmatch(each))]


def _auditor(institution: str) -> Account:
    return account(Role.AUDITOR, f"Practitioner/aud-{institution}", institution)


def _search(window: Window, filled: dict[str, str]) -> None:
    window.go("/desk")
    window.press("search", **{**dict.fromkeys(FORM, ""), **filled}, since="", until="")
