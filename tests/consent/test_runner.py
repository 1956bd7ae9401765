"""The runner: what it reads, what it says of rows that cannot be asked, and the reports it writes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.consent.__main__ import chosen, main
from tests.consent.asking import Outcome, Result, ask
from tests.consent.local import Servers
from tests.consent.report import outcome_of, summary, table, write
from tests.consent.rows import Row, all_rows, fixture, groups
from tests.consent.target import Configured, Target, Who
from tests.consent.vocabulary import Unreadable, phrase

ROWS = all_rows()
A2 = next(row for row in ROWS if row.id == "A2")
DR1 = Who("Dr1", "practitioner", "Practitioner/Dr1", "Org1", "TREAT", "user/*.cruds")


def result(row: str, outcome: Outcome) -> Result:
    return Result(row, 1, "Dr1/TREAT", "read", "shows O1", "O1 is not shown | at all", outcome)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([], Outcome.NOT_ASKED),
        ([Outcome.NOT_ASKED], Outcome.NOT_ASKED),
        ([Outcome.PASSED, Outcome.NOT_ASKED], Outcome.PASSED),
        ([Outcome.PASSED, Outcome.FAILED], Outcome.FAILED),
        ([Outcome.NOT_ASKED, Outcome.FAILED], Outcome.FAILED),
    ],
)
def test_a_row_that_was_not_asked_never_counts_as_passed(outcomes: list[Outcome], expected: Outcome) -> None:
    assert outcome_of(result("A1", each) for each in outcomes) is expected


def test_a_row_whose_settings_or_abilities_are_missing_is_not_asked() -> None:
    without = Target(("http://127.0.0.1:9/fhir",), Configured({}, None), lacks=frozenset({"clock"}))
    for id, word in (("A9", "implicit_policy"), ("A7", "clock")):
        row = next(row for row in ROWS if row.id == id)
        (only,) = ask(without, fixture(), row)
        assert only.outcome is Outcome.NOT_ASKED
        assert word in only.got


def test_a_row_without_a_token_is_not_asked_and_the_reason_names_whose() -> None:
    (only,) = ask(Target(("http://127.0.0.1:9/fhir",), Configured({}, None)), fixture(), A2)
    assert (only.outcome, only.got) == (Outcome.NOT_ASKED, "no token for EMR1/TREAT")


def test_tokens_come_by_title_or_from_a_command_without_its_empty_options() -> None:
    tokens = Configured({"Dr1/TREAT": "given"}, "printf %s-%s-%s {role} --patient {patient} {purpose}")
    assert tokens(DR1) == "given"
    assert tokens(Who("Dr2", "practitioner", "Practitioner/Dr2", "Org1", "HRESCH", "")) == "practitioner-HRESCH-"
    assert Configured({}, "false")(DR1) is None


def test_rows_are_chosen_by_group_by_id_and_by_scenario() -> None:
    assert {row.id for row in chosen(ROWS, "A2,G5")} == {"A2", "G5"}
    assert {row.group for row in chosen(ROWS, "C")} == {"C"}
    assert {row.id for row in chosen(ROWS, "A3")} >= {"A3-draft", "A3-inactive"}
    assert chosen(ROWS, None) == list(ROWS)
    with pytest.raises(SystemExit, match="nothing-such"):
        chosen(ROWS, "A2,nothing-such")


def test_reports_say_what_came_of_each_row(tmp_path: Path) -> None:
    found = {
        "A1": [result("A1", Outcome.FAILED)],
        "A2": [result("A2", Outcome.PASSED)],
        "A4": [result("A4", Outcome.NOT_ASKED)],
    }
    for name in ("r.json", "r.xml", "r.md"):
        write(tmp_path / name, groups(), found, base="http://127.0.0.1/fhir")
    assert [each["outcome"] for each in json.loads((tmp_path / "r.json").read_text("utf-8"))] == [
        "failed",
        "passed",
        "not asked",
    ]
    cases = ElementTree.parse(tmp_path / "r.xml").getroot().findall("testcase")
    assert [[child.tag for child in case] for case in cases] == [["failure"], [], ["skipped"]]
    text = (tmp_path / "r.md").read_text("utf-8")
    assert f"| A2 | {A2.zh} | {A2.en} | 通过 passed |" in text
    assert "not shown \\| at all" in text
    assert summary(found) == "1 rows passed (1 answers); 1 rows failed (1 answers); 1 rows not asked (1 answers)"
    assert "O1 is not shown" in table(found["A1"])
    with pytest.raises(ValueError, match="report"):
        write(tmp_path / "r.txt", groups(), found, base="")


def test_the_command_asks_a_server_and_tells_by_its_status(servers: Servers, tmp_path: Path) -> None:
    """Against our own server with a clock that stands, as a remote one: rows are asked with tokens of a file."""
    target = servers.target(A2)
    row = next(row for row in ROWS if row.id == "T11-nothing")
    who = [
        Who("EMR1", "system", "Device/emr-Org1", "Org1", "TREAT", "system/*.cruds"),
        Who("Dr3", "practitioner", "Practitioner/Dr3", "Org2", "TREAT", "user/*.cruds"),
    ]
    given = "\n".join(f'"{each.title}" = "{target.tokens(each)}"' for each in who)
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(f"[tokens]\n{given}\n", "utf-8")
    report = tmp_path / "report.md"
    asked = ["--base", target.bases[0], "--tokens", str(tokens)]
    assert main([*asked, "--rows", row.id, "--report", str(report)]) == 0
    assert f"| {row.id} | {row.zh} |" in report.read_text("utf-8")
    assert main([*asked, "--rows", "A9"]) == 2


@pytest.mark.parametrize("said", ["allow Org1", ""])
def test_a_phrase_begins_with_permit_or_deny(said: str) -> None:
    with pytest.raises((Unreadable, ValueError)):
        phrase(said)


def test_every_row_has_titles_in_both_languages_and_asks_something() -> None:
    for row in ROWS:
        assert row.zh, row.id
        assert any("\u4e00" <= letter <= "\u9fff" for letter in row.zh), row.id
        assert row.en.isascii(), row.id
        assert any("who" in step for step in row.steps), row.id


def test_rows_are_frozen() -> None:
    with pytest.raises(AttributeError):
        A2.id = "other"  # type: ignore[misc]
    assert isinstance(A2, Row)
