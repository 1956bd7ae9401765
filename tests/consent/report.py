"""What came of a run: on the screen, as JSON, as JUnit XML and as Markdown that a privacy officer can read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

from tests.consent.asking import Outcome, Result
from tests.consent.rows import Group, Row

Results = Mapping[str, Sequence[Result]]  # by the id of the row
WORDS = {Outcome.PASSED: "通过 passed", Outcome.FAILED: "**未通过 failed**", Outcome.NOT_ASKED: "未测 not asked"}


def outcome_of(results: Iterable[Result]) -> Outcome:
    """Return what came of a row: failed if anything failed, passed only if something passed."""
    found = {each.outcome for each in results}
    return next((each for each in (Outcome.FAILED, Outcome.PASSED) if each in found), Outcome.NOT_ASKED)


def summary(results: Results) -> str:
    """Return the counts of rows and of answers, in a line."""
    rows = Counter(map(outcome_of, results.values()))
    answers = Counter(each.outcome for found in results.values() for each in found)
    told = [f"{rows[each]} rows {each} ({answers[each]} answers)" for each in Outcome]
    return "; ".join(told)


def table(results: Iterable[Result]) -> str:
    """Return a line for each result: row, step, who, door, what was expected, what came."""
    return "\n".join(
        f"{each.row:<18} {each.step:>2} {each.outcome:<9} {each.who} | {each.door} | {each.expected} | {each.got}"
        for each in results
    )


def as_json(results: Results) -> str:
    return json.dumps([asdict(each) for found in results.values() for each in found], ensure_ascii=False, indent=1)


def as_junit(rows: Iterable[Row], results: Results) -> str:
    """Return JUnit XML: a test case for each row."""
    suite = ElementTree.Element("testsuite", name="consent")
    for row in rows:
        case = ElementTree.SubElement(suite, "testcase", classname=f"consent.{row.group}", name=f"{row.id} {row.en}")
        told = table(each for each in results.get(row.id, ()) if each.outcome is not Outcome.PASSED)
        outcome = outcome_of(results.get(row.id, ()))
        if outcome is not Outcome.PASSED:
            kind = "failure" if outcome is Outcome.FAILED else "skipped"
            ElementTree.SubElement(case, kind, message=row.zh).text = told
    return ElementTree.tostring(suite, encoding="unicode")


def as_markdown(groups: Iterable[Group], results: Results, *, base: str) -> str:
    """Return the report for people: every row with its titles, and below it what was not as expected."""
    lines = ["# 同意书符合性报告 Consent conformance report", "", f"- {base}", f"- {summary(results)}", ""]
    for group in groups:
        asked = [row for row in group.rows if row.id in results]
        if not asked:
            continue
        lines += [
            f"## {group.name} {group.zh}",
            "",
            group.en,
            "",
            "| 行 row | 内容 | content | 结果 result |",
            "|---|---|---|---|",
        ]
        lines += [f"| {row.id} | {row.zh} | {row.en} | {WORDS[outcome_of(results[row.id])]} |" for row in asked]
        lines += ["", *_remarks(asked, results)]
    return "\n".join(lines)


def _remarks(rows: Iterable[Row], results: Results) -> list[str]:
    told = [each for row in rows for each in results[row.id] if each.outcome is not Outcome.PASSED]
    if not told:
        return []
    made = [
        f"- {each.row} {WORDS[each.outcome]}: {each.who} {each.door}: {each.got} ({each.expected})".replace("|", "\\|")
        for each in told
    ]
    return [*made, ""]


def write(path: Path, groups: Sequence[Group], results: Results, *, base: str) -> None:
    """Write a report; the name says which: .json, .xml (JUnit), .md. Raises ValueError for another."""
    rows = [row for group in groups for row in group.rows if row.id in results]
    made = {
        ".json": lambda: as_json(results),
        ".xml": lambda: as_junit(rows, results),
        ".md": lambda: as_markdown(groups, results, base=base),
    }.get(path.suffix)
    if made is None:
        raise ValueError(f"{path.name}: a report is a .json, .xml or .md file")
    path.write_text(made(), "utf-8")
