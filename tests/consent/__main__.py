"""Put the rows to any FHIR R4 server: python -m tests.consent --base URL --tokens tokens.toml [--rows A,B1]."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.consent.asking import Outcome, Result, ask
from tests.consent.report import outcome_of, summary, table, write
from tests.consent.rows import Row, all_rows, fixture, groups
from tests.consent.target import Target, configured


def chosen(rows: Sequence[Row], wanted: str | None) -> list[Row]:
    """Return the rows of a list such as "A,B1": groups, ids, or beginnings of ids up to a hyphen."""
    if not wanted:
        return list(rows)
    words = {word.strip() for word in wanted.split(",") if word.strip()}
    found = [row for row in rows if {row.group, row.id, row.id.partition("-")[0]} & words]
    known = {word for row in found for word in (row.group, row.id, row.id.partition("-")[0])}
    if unknown := words - known:
        raise SystemExit(f"no rows are called {', '.join(sorted(unknown))}")
    return found


def run(target: Target, rows: Sequence[Row], *, quiet: bool = False) -> dict[str, list[Result]]:
    """Ask the rows in their order, saying each as it is done; return the results by row."""
    shared, results = fixture(), {}
    for row in rows:
        results[row.id] = ask(target, shared, row)
        print(f"{outcome_of(results[row.id]):<9} {row.id:<18} {row.zh} / {row.en}", flush=True)
        if not quiet and (told := [each for each in results[row.id] if each.outcome is not Outcome.PASSED]):
            print(table(told), flush=True)
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if nothing failed, 1 if something did, 2 if nothing could be asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.consent", description=__doc__)
    parser.add_argument("--base", required=True, help="FHIR base URL of the server.")
    parser.add_argument(
        "--tokens", required=True, type=Path, help="tokens.toml: who has which token, what the server is set to."
    )
    parser.add_argument("--rows", help="Groups or rows, separated by commas. Default: all.")
    parser.add_argument(
        "--report", type=Path, action="append", default=[], help="File to write: .json, .xml or .md. Repeatable."
    )
    parser.add_argument("--quiet", action="store_true", help="Only a line for each row.")
    options = parser.parse_args(arguments)
    results = run(configured(options.base, options.tokens), chosen(all_rows(), options.rows), quiet=options.quiet)
    print(summary(results))
    for path in options.report:
        write(path, groups(), results, base=options.base)
    outcomes = {outcome_of(found) for found in results.values()}
    return 1 if Outcome.FAILED in outcomes else 0 if Outcome.PASSED in outcomes else 2


if __name__ == "__main__":
    sys.exit(main())
