"""What is sent to patients, and told to those outside, says nothing but what who asked may know of."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

import httpx
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.app import Parts
from fhir_server.auth.requester import Role
from fhir_server.commands.outbox import IMPERSONAL
from fhir_server.consenting.ways.transport import QUEUE
from fhir_server.interactions.outbox import follow
from tests.noninterference.agreements import Json
from tests.noninterference.both import Both, parameters
from tests.noninterference.conftest import OPERATOR, several
from tests.noninterference.filled import Store
from tests.noninterference.oracle import User
from tests.noninterference.pair import Pair
from tests.noninterference.questions import users
from tests.noninterference.twins import filled
from tests.noninterference.windows import Desks, Window, account, plain
from tests.noninterference.world import Step, World, worlds

WAYS = ("app", "sms", "message", "guardian")
CODE = re.compile(r"(?<![0-9])[0-9]{6}(?![0-9])")
PAGE = "/pages/messages"
LONGEST = 20  # seconds until what waits is sent


@several(8)
@given(st.data())
def test_messages_and_what_is_told_outside(doors: Pair, desks: Desks, data: st.DataObject) -> None:
    prefix = doors.fresh()
    world = reachable(data.draw(worlds(prefix), label="world"))
    asking = data.draw(users(world).filter(lambda each: each.role in ("practitioner", "system")), label="who asks")
    answering = [User("patient", f"Patient/{each}", "h1", "PATRQT", "user/*.cruds") for each in world.patients]
    filled(doors, world, asking, *answering)
    one = Both(doors, doors.token(asking))
    for patient, own in zip(world.patients, answering, strict=True):
        for way in data.draw(st.lists(st.sampled_from(WAYS), min_size=1, max_size=3, unique=True), label="ways"):
            whole, lesser = one.same("POST", f"Patient/{patient}/$request-authorization", parameters(way=way))
            if whole.status == 201:
                one.made.append((json.loads(whole.body)["id"], json.loads(lesser.body)["id"]))
        if one.made:
            step = data.draw(st.sampled_from(["confirm", "decline", "revoke"]), label="answered")
            Both(doors, doors.token(own), one.made).same("POST", f"Consent/{{made}}/${step}")
    for store in (doors.store_a, doors.store_b):
        _wait_until_sent(store)
    with (
        desks.window(account(Role.PRACTITIONER, OPERATOR, "h1")) as window,
        desks.window(account(Role.PRACTITIONER, "Practitioner/dr1", "h1")) as doctor,
    ):
        whole_cards, lesser_cards = shown(window, prefix)
        assert whole_cards == lesser_cards
        doctor.go("/auth/messages")
        doctor.go(PAGE)
        assert doctor.pages[0].status_code == 403
    whole_lines, lesser_lines = (store.run(told(store.parts, prefix)) for store in (doors.store_a, doors.store_b))
    assert whole_lines == lesser_lines


def reachable(world: World) -> World:
    """Return the world with numbers and handles of all its Patients, which no other world's have."""
    return replace(world, groups=[[_reachable(each) for each in group] for group in world.groups])


def _reachable(step: Step) -> Step:
    if step.type != "Patient" or step.resource is None:
        return step
    digits = f"{int(step.id[1:6]):05}{int(step.id[-1]):03}"
    telecom = [
        {"system": "phone", "use": "mobile", "value": f"138{digits}"},
        {"system": "other", "value": f"o-{step.id}"},
    ]
    return replace(step, resource={**step.resource, "telecom": telecom})


def _wait_until_sent(store: Store) -> None:
    until = time.monotonic() + LONGEST
    while store.database[QUEUE].count_documents({}):
        assert time.monotonic() < until
        time.sleep(0.05)


def shown(window: Window, prefix: str) -> tuple[list[str], list[str]]:
    """Return the messages on the page to anybody of this world, in whichever order."""
    window.go("/auth/messages")
    pages = [each.get(PAGE) for each in window.browsers]
    assert [each.status_code for each in pages] == [200, 200]
    one, two = (_cards(each, prefix) for each in pages)
    return one, two


def _cards(page: httpx.Response, prefix: str) -> list[str]:
    """Return the messages on a page. Codes are random, and so are the ids of what was asked."""
    cards = page.text.partition('<ul class="cards">')[2].partition("</ul>")[0].split('<li class="card">')
    ours = (each for each in cards if prefix in each or f"138{prefix[1:]}" in each)
    return sorted(CODE.sub("code", plain(each)) for each in ours)


async def told(parts: Parts, consumer: str) -> Sequence[str]:
    """Return what a new consumer of the outbox is told, as lines without personal data, in whichever order."""
    found = []
    async with aclosing(follow(parts.definitions, consumer, since=0, looked_after=None)) as entries:
        async for each in entries:
            said: Json = {name: (each.entry.body or {}).get(name) for name in IMPERSONAL}
            found.append(plain(json.dumps({"kind": each.entry.kind, **said})))
            await each.done()
    return sorted(found)
