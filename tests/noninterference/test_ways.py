"""The same where the newest statement wins, and where a predicate names too many persons for a filter, or says too much.

How a decision is made, and how what it permits is looked for, are other ways to the same answers. Each setting has servers
of its own; where a filter must not name many persons, the limits are as low as they can be.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.store import candidates, judged
from tests.noninterference.conftest import share
from tests.noninterference.disputes import disputed
from tests.noninterference.pair import Pair, pair
from tests.noninterference.test_noninterference import compare
from tests.noninterference.test_operations import compare_operations
from tests.noninterference.world import worlds

some_examples = share(6)


@pytest.fixture(scope="module")
def servers(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(mongo_uri, tmp_path_factory.mktemp("installation"), conflict_mode="newest-wins") as running:
        yield running


@pytest.fixture(params=["persons", "parts"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No filter names a person, as long as little more is found than is wanted; or none carries what is said of one."""
    if request.param == "persons":
        monkeypatch.setattr(candidates, "MANY", 0)
        monkeypatch.setattr(candidates, "BEYOND", (0, 2))
        monkeypatch.setattr(candidates, "MOST", 5)
    else:
        monkeypatch.setattr(judged, "MOST_PARTS", 1)


@some_examples
@given(st.data())
def test_where_the_newest_statement_wins(servers: Pair, data: st.DataObject) -> None:
    compare(servers, data, data.draw(st.sampled_from([worlds, disputed, disputed])))


@pytest.mark.usefixtures("few")
@some_examples
@given(st.data())
def test_where_candidates_are_judged_one_by_one(servers: Pair, data: st.DataObject) -> None:
    compare(servers, data)


@pytest.mark.usefixtures("few")
@share(12)
@given(st.data())
def test_where_candidates_of_histories_and_operations_are_judged(servers: Pair, data: st.DataObject) -> None:
    compare_operations(servers, data)
