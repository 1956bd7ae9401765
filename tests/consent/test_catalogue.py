"""Every rule D1 to D21 and every trap T1 to T44 has rows, or a line in docs/consent-suite.md that stands for it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.consent.expecting import EXPECTATIONS
from tests.consent.rows import ASKS, DOES, all_rows

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "consent-suite.md").read_text("utf-8")
TABLE = dict(re.findall(r"^\| ([DT]\d+) \| [^|]+ \| ([^|]+) \|$", TEXT, re.MULTILINE))
NUMBERS = [*(f"D{n}" for n in range(1, 22)), *(f"T{n}" for n in range(1, 45))]
ROWS = all_rows()
NAMED = {number for row in ROWS for number in (*row.rules, *row.traps)}
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
# How many scenarios each group of the catalogue has.
SCENARIOS = {"A": 9, "B": 8, "C": 9, "D": 6, "E": 8, "F": 6, "G": 5, "H": 4, "I": 4}


def test_the_table_has_every_number_once() -> None:
    assert list(TABLE) == NUMBERS


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_has_rows_or_a_test_elsewhere_or_cannot_arise(number: str) -> None:
    told = TABLE[number]
    assert told.startswith("rows") == (number in NAMED)
    assert number in NAMED or TEST.search(told) or told.startswith("cannot arise: ")
    for path, test in TEST.findall(told):
        assert re.search(rf"^(?:async )?def {test}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE), test


def test_no_row_names_a_number_that_is_not_in_the_catalogue() -> None:
    assert {*NUMBERS} >= NAMED


def test_every_scenario_has_a_row() -> None:
    wanted = {f"{group}{n}" for group, most in SCENARIOS.items() for n in range(1, most + 1)}
    assert wanted <= {row.id.partition("-")[0] for row in ROWS}


def test_the_manual_explains_every_door_and_word() -> None:
    assert not [word for word in (*EXPECTATIONS, *ASKS, *DOES) if f"`{word}`" not in TEXT]
