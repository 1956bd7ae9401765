"""AuditEvents as lines of a file: CSV for a spreadsheet, NDJSON whole. Pure.

A spreadsheet takes a cell that begins with =, +, - or @ for a formula, and so whatever somebody put into a user's name or a
query: such a cell begins with an apostrophe here. Source: RFC 4180; OWASP "CSV Injection".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from fhir_server.fhir_json import dump
from fhir_server.pages.desk.telling import Line, interaction, lines, patients, queries
from fhir_server.pages.desk.words import Speech

Json = Mapping[str, Any]
BOM = "\ufeff".encode()
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# The columns: lines of an event, by label; then what a machine looks for.
TOLD = ("when", "what", "outcome", "who", "behalf", "where", "purpose", "glass", "patients", "records", "grounds")
CODED = ("id", "recorded", "code", "outcome_code", "query")


def safe(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula.

    >>> safe("=1+1"), safe("王"), safe("@x")
    ("'=1+1", '王', "'@x")
    """
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def csv_head(speech: Speech) -> bytes:
    """Return the first line of a CSV file, with the mark by which a spreadsheet knows UTF-8."""
    return BOM + _line([*(speech(each) for each in TOLD), *CODED])


def csv_line(event: Json, speech: Speech, zone: Any) -> bytes:
    """Return the line of an event."""
    told: dict[str, Line] = {each.label: each for each in lines(event, {}, speech, zone)}
    cells = ["; ".join(told[each].values) if each in told else "" for each in TOLD]
    cells[TOLD.index("patients")] = "; ".join(patients(event))
    coded = [event["id"], event["recorded"], interaction(event), event.get("outcome", ""), "; ".join(queries(event))]
    return _line([*cells, *coded])


def csv_damaged(id: str | None, speech: Speech) -> bytes:
    """Return the line that stands for an event which is not as it was stored, and is not shown."""
    return _line([speech("damaged"), *("" for _ in TOLD[1:]), id or "", *("" for _ in CODED[1:])])


def ndjson_line(event: Json) -> bytes:
    """Return the line of an event, or of the OperationOutcome that stands for one."""
    return dump(event) + b"\n"


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([safe(each) for each in cells])
    return text.getvalue().encode("utf-8", "replace")
