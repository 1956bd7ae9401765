"""What the desk's pages are made of without a server: their texts, what a form asks for, events in words, files."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from dataclasses import fields
from datetime import UTC
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

import fhir_server.pages
from fhir_server.audit.security import EVENTS
from fhir_server.interactions.routes import INTERACTIONS
from fhir_server.pages.desk import words_en, words_zh
from fhir_server.pages.desk.asking import Asked, Unclear, asked, form_of, pairs_of
from fhir_server.pages.desk.tables import CODED, TOLD, csv_head, csv_line, ndjson_line, safe
from fhir_server.pages.desk.telling import lines, names_of, row
from fhir_server.pages.desk.words import SPEECH

FOLDER = Path(fhir_server.pages.__file__).parent
ZH = SPEECH["zh"]
EVENT: dict[str, Any] = {
    "resourceType": "AuditEvent",
    "id": "e1",
    "type": {"code": "rest"},
    "subtype": [{"code": "search-type"}],
    "recorded": "2026-03-01T08:00:00.000Z",
    "outcome": "0",
    "outcomeDesc": "HTTP 200 break-glass",
    "purposeOfEvent": [{"coding": [{"code": "ETREAT"}]}],
    "agent": [
        {
            "who": {"reference": "Practitioner/dr1"},
            "role": [{"text": "practitioner"}],
            "requestor": True,
            "network": {"address": "10.0.0.7"},
            "purposeOfUse": [{"coding": [{"code": "ETREAT"}], "text": "=抢救"}],
        },
        {"who": {"reference": "Organization/org2"}, "requestor": False},
    ],
    "source": {"observer": {"display": "fhir-facade"}},
    "entity": [
        {"what": {"reference": "Observation/o1/_history/1"}, "role": {"code": "4"}, "type": {"code": "2"}},
        {"what": {"reference": "Patient/p1"}, "role": {"code": "1"}, "type": {"code": "1"}},
        {
            "query": base64.b64encode(b"Observation?code=%E8%A1%80").decode(),
            "role": {"code": "24"},
            "type": {"code": "2"},
        },
        {
            "what": {"reference": "Consent/c1/_history/3"},
            "role": {"code": "12"},
            "type": {"code": "2"},
            "detail": [{"type": "provision", "valueString": "provision.provision[0]"}],
        },
        {
            "role": {"code": "12"},
            "type": {"code": "2"},
            "detail": [{"type": "provisions", "valueString": "Consent/c2/_history/1#Consent\nConsent/c3/_history/2#x"}],
        },
    ],
}
NAMES = names_of(
    [
        {"resourceType": "Practitioner", "id": "dr1", "name": [{"family": "王", "given": ["医"]}]},
        {"resourceType": "Organization", "id": "org2", "name": "第二医院"},
    ]
)


def parts(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("table", ["TEXTS", "HAPPENINGS", "CODES"])
def test_every_text_stands_in_both_languages_with_the_same_parts(table: str) -> None:
    zh, en = getattr(words_zh, table), getattr(words_en, table)
    assert zh.keys() == en.keys()
    assert {key: parts(zh[key]) for key in zh} == {key: parts(en[key]) for key in en}
    assert all(each.strip() for each in (*zh.values(), *en.values()))


def test_every_text_is_used() -> None:
    sources = [*FOLDER.glob("templates/desk_*.html"), *FOLDER.glob("desk/*.py")]
    said = "\n".join(each.read_text(encoding="utf-8") for each in sources if "words_" not in each.name)
    made = {f"{each.name}_unclear" for each in fields(Asked)} | {*TOLD, "permit", "deny"}
    made |= {key for key in words_zh.TEXTS if key.startswith(("column_", "chain_"))}
    assert {key for key in words_zh.TEXTS if f'"{key}"' not in said} <= made


def test_every_interaction_and_event_has_a_word() -> None:
    codes = {*INTERACTIONS} | {subtype[1] for _, subtype in EVENTS.values()}
    assert codes <= words_zh.HAPPENINGS.keys()


ASKED = [
    (Asked(patient="Patient/p1"), [("patient", "Patient/p1")]),
    (Asked(patient="p1", outcome="4"), [("patient", "Patient/p1"), ("outcome", "4")]),
    (Asked(user="dr1", institution="org2"), [("agent", "dr1"), ("agent", "Organization/org2")]),
    (Asked(user="王,三"), [("agent:Practitioner.name", "王\\,三")]),
    (Asked(since="2026-01-01", until="2026-01-02"), [("date", "ge2026-01-01"), ("date", "le2026-01-02")]),
    (Asked(), []),
]


@pytest.mark.parametrize(("given", "pairs"), ASKED)
def test_a_form_is_a_search_and_can_be_filled_in_again(given: Asked, pairs: list[tuple[str, str]]) -> None:
    assert list(pairs_of(given)) == [*pairs, ("_sort", "-date")]
    assert pairs_of(form_of(pairs_of(given))) == pairs_of(given)


UNCLEAR = [
    ({"patient": "张三"}, "patient"),
    ({"patient": "p1&agent=x"}, "patient"),
    ({"institution": "第二医院"}, "institution"),
    ({"user": "x/y/z"}, "user"),
    ({"since": "2026-13-01"}, "since"),
    ({"since": "2026-02-01", "until": "2026-01-01"}, "until"),
    ({"outcome": "9"}, "outcome"),
]


@pytest.mark.parametrize(("given", "field"), UNCLEAR)
def test_what_is_unclear_is_named_by_its_field(given: dict[str, str], field: str) -> None:
    with pytest.raises(Unclear) as unclear:
        pairs_of(asked(given))
    assert unclear.value.field == field
    assert unclear.value.key in words_zh.TEXTS


def test_an_event_is_told_in_words() -> None:
    told = {each.label: each.values for each in lines(EVENT, NAMES, ZH, UTC)}
    assert told["when"] == ("2026-03-01 08:00:00",)
    assert told["what"] == ("检索",)
    assert told["outcome"] == ("成功", "HTTP 200 紧急突破访问")
    assert told["who"] == ("王医 Practitioner/dr1 （医务人员）",)
    assert told["behalf"] == ("第二医院 Organization/org2",)
    assert told["where"] == ("10.0.0.7", "fhir-facade")
    assert told["purpose"] == ("紧急治疗 (ETREAT)", "理由：=抢救")
    assert told["patients"] == ("p1",)
    assert told["records"] == ("Observation/o1/_history/1",)
    assert told["query"] == ("Observation", "code = 血")
    assert told["grounds"] == (
        "Consent/c1 第 3 版，条款 provision.provision[0]",
        "Consent/c2 第 1 版，条款 Consent",
        "Consent/c3 第 2 版，条款 x",
    )


def test_an_event_in_a_list_names_who_and_whose() -> None:
    found = row(EVENT, NAMES, ZH, UTC)
    assert (found.who, found.user, found.institution) == ("王医", "Practitioner/dr1", "第二医院")
    assert (found.patients, found.emergency, found.bad, found.purpose) == (("p1",), True, False, "紧急治疗")


def test_an_event_of_which_little_is_known_is_told_as_far_as_it_goes() -> None:
    bare = {"id": "e2", "recorded": "2026-03-01T08:00:00Z", "type": {"code": "x"}, "agent": [{"requestor": True}]}
    assert [each.label for each in lines(bare, {}, ZH, UTC)] == ["when", "what", "id"]
    assert row(bare, {}, ZH, UTC).user == ""


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"])
def test_no_cell_is_taken_for_a_formula(cell: str) -> None:
    assert safe(cell) == f"'{cell}"


def test_a_line_of_a_file_has_a_cell_for_each_column() -> None:
    evil = json.loads(json.dumps(EVENT).replace("org2", "=cmd").replace("fhir-facade", "@x"))
    text = (csv_head(ZH) + csv_line(evil, ZH, UTC)).decode("utf-8-sig")
    head, line = csv.reader(io.StringIO(text, newline=""))
    assert len(head) == len(line) == len(TOLD) + len(CODED)
    told = dict(zip((*TOLD, *CODED), line, strict=True))
    assert told["behalf"] == "Organization/=cmd"
    assert told["query"] == "Observation?code=%E8%A1%80"
    assert not [each for each in line if re.match(r"[=+\-@]", each)]
    assert csv_head(ZH).startswith(b"\xef\xbb\xbf")
    assert json.loads(ndjson_line(EVENT)) == EVENT
