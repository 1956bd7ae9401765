"""The one property: every answer is that of a server that holds only what the requester may see.

NONINTERFERENCE_EXAMPLES=1000 runs that many examples, from another random seed each time; without it a few dozen, always
the same (conftest.py).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.noninterference.conftest import random_examples, share
from tests.noninterference.guardians import guarded, guardians
from tests.noninterference.oracle import User
from tests.noninterference.pair import Asked, Pair, visible
from tests.noninterference.questions import Questions, users
from tests.noninterference.world import Step, World, worlds


@random_examples
@given(st.data())
def test_the_answer_is_that_of_a_server_that_holds_what_the_requester_may_see(
    servers: Pair, data: st.DataObject
) -> None:
    compare(servers, data)


@share(3)
@given(st.data())
def test_the_same_for_who_speaks_for_a_child(servers: Pair, data: st.DataObject) -> None:
    compare(servers, data, guarded, guardians)


def test_what_one_server_of_a_process_permits_no_other_hands_out(servers: Pair) -> None:
    id = f"{servers.fresh()}-pa1"
    world = World([[Step("Patient", id, {"resourceType": "Patient", "id": id}, "h2")]], [id], [("Patient", id)])
    servers.store_a.write(world)
    servers.store_b.write(world)
    token = servers.token(User("practitioner", "Practitioner/dr1", "h1", "TREAT", "user/*.rs"))
    for _ in range(2):
        for path, statuses in ((f"Patient/{id}", (404, 200)), ("Patient", (200, 200))):
            gated, reference = servers.ask(token, Asked("GET", path))
            assert (gated.status, reference.status) == statuses
            assert (id.encode() in gated.body, id.encode() in reference.body) == (False, True)


def compare(
    servers: Pair,
    data: st.DataObject,
    made: Callable[[str], st.SearchStrategy[World]] = worlds,
    asking: Callable[[World], st.SearchStrategy[User]] = users,
) -> None:
    """Ask both servers about a random world whatever a random user can ask.

    made: of a prefix of ids, such worlds. asking: of a world, such users.
    """
    world = data.draw(made(servers.fresh()), label="world")
    servers.store_a.write(world)
    user = data.draw(asking(world), label="user")
    questions = Questions(world, wide=user.reason is None)
    servers.store_b.hold(visible(servers.oracle(world, user)))
    token = servers.token(user)
    asked = data.draw(st.lists(questions.asked(), min_size=6, max_size=10), label="asked")
    if difference := servers.difference(token, [questions.everything(), *asked]):
        pytest.fail(difference)
