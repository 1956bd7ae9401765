"""The one property: every answer is that of a server that holds only what the requester may see.

NONINTERFERENCE_EXAMPLES=1000 runs that many examples, from another random seed each time; without it a few dozen, always
the same.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.noninterference.conftest import random_examples
from tests.noninterference.oracle import Oracle
from tests.noninterference.pair import REPORTING, Pair, visible
from tests.noninterference.questions import Questions, users
from tests.noninterference.world import worlds
from tests.noninterference.written import Records


@random_examples
@given(st.data())
def test_the_answer_is_that_of_a_server_that_holds_what_the_requester_may_see(
    servers: Pair, data: st.DataObject
) -> None:
    world = data.draw(worlds(servers.fresh()), label="world")
    servers.store_a.write(world)
    user = data.draw(users(world), label="user")
    questions = Questions(world, wide=user.reason is None)
    servers.store_b.hold(visible(Oracle(Records.of(world), user, reporting=REPORTING)))
    token = servers.token(user)
    for asked in [
        questions.everything(),
        *data.draw(st.lists(questions.asked(), min_size=6, max_size=10), label="asked"),
    ]:
        for gated, reference in servers.follow(token, asked):
            assert gated.status < 500
            if difference := gated.differs_from(reference):
                pytest.fail(f"{asked.path} {difference}")
