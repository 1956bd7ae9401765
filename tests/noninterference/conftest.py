"""The two servers, and how many random examples they are asked about.

NONINTERFERENCE_EXAMPLES: how many examples to run, with a new random seed; unset: USUAL, always the same. Tests whose
examples take long run a share of them, see `share`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.noninterference.pair import Pair, pair

USUAL, FEWEST = 30, 6
EXAMPLES = int(os.environ.get("NONINTERFERENCE_EXAMPLES") or 0)
# What fails is not shrunk: that takes hundreds of examples, and the message already shows the first entry that differs.
random_examples = settings(
    max_examples=EXAMPLES or USUAL,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def share(part: int) -> settings:
    """Return the settings of a test that runs one of so many examples: 3 is a third of them."""
    return settings(random_examples, max_examples=max(FEWEST, random_examples.max_examples // part))


@pytest.fixture(scope="module")
def servers(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Server A, gated, over the whole store; server B, ungated, over what one user may see."""
    with pair(mongo_uri, tmp_path_factory.mktemp("installation")) as running:
        yield running
