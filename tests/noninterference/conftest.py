"""The two servers, and how many random examples they are asked about.

NONINTERFERENCE_EXAMPLES: how many examples to run, with a new random seed; unset: USUAL, always the same. Tests whose
examples take long run a share of them, see `share`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from fhir_server.audit import log
from tests.noninterference.ordered import Ordered
from tests.noninterference.pair import Pair, pair
from tests.noninterference.twins import twins, with_one_key
from tests.noninterference.windows import Desks, booking

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


def several(part: int) -> settings:
    """Return the settings of a test that runs one of so many examples, each as long as ten of the other tests' are."""
    return settings(random_examples, max_examples=max(3, random_examples.max_examples // part))


@pytest.fixture(scope="module")
def servers(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Server A, gated, over the whole store; server B, ungated, over what one user may see."""
    with pair(mongo_uri, tmp_path_factory.mktemp("installation")) as running:
        yield running


BACK = "https://booking.hospital.example/back"
OPERATOR = "Practitioner/operator"


@pytest.fixture(scope="package")
def doors(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Twins with all doors open: for the tests of whatever is no plain interaction."""
    more = {
        "message_stand_in": True,
        "consent_prompt_clients": ({"client_id": "booking", "return_urls": (BACK,)},),
        "receiving_clients": frozenset({"Device/emr-h1", "Device/emr-h2"}),
        "operators": frozenset({OPERATOR}),
    }
    with pytest.MonkeyPatch.context() as patched, twins(mongo_uri, tmp_path_factory.mktemp("doors"), **more) as running:
        patched.setattr(log, "new_id", Ordered())
        with_one_key(running)
        yield running


@pytest.fixture(scope="package")
def desks(doors: Pair) -> Desks:
    made = Desks(doors)
    made.register(booking())
    return made
