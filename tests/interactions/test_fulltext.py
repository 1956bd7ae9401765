"""_text and _content over HTTP: words in sealed text, under the gate."""

from __future__ import annotations

import httpx
import pytest

from tests.answers import FORM, ids
from tests.live import Live

WORDS = "患者自述左侧乳腺疼痛三个月。No fever or cough."


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    server.put({"resourceType": "Patient", "id": "p1", "name": [{"text": "张三"}]})
    for number, (div, note) in enumerate([("Bone metastases", WORDS), ("Liver metastases", "cough"), ("", "No cough")]):
        condition = {
            "resourceType": "Condition",
            "id": f"c{number}",
            "subject": {"reference": "Patient/p1"},
            "note": [{"text": note}],
        }
        if div:
            html = f'<div xmlns="http://www.w3.org/1999/xhtml">{div}</div>'
            condition["text"] = {"status": "generated", "div": html}
        server.put(condition)
    server.put({"resourceType": "Patient", "id": "p2"}, organization="org2")
    hidden = {"resourceType": "Condition", "id": "hidden", "subject": {"reference": "Patient/p2"}}
    server.put({**hidden, "note": [{"text": WORDS}]}, organization="org2")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"_text": "metastases"}, {"c0", "c1"}),
        ({"_text": "(bone OR liver) AND metastases"}, {"c0", "c1"}),
        ({"_text": "cough"}, set()),
        ({"_content": "cough"}, {"c0", "c1", "c2"}),
        ({"_content": "no cough"}, {"c0", "c2"}),
        ({"_content": '"no cough"'}, {"c2"}),
        ({"_content": "metastases cough"}, {"c0", "c1"}),
        ({"_content": "乳腺"}, {"c0"}),
        ({"_content": "乳腺疼痛"}, {"c0"}),
        ({"_content": "疼痛乳腺"}, set()),
        ({"_content": "乳腺,liver"}, {"c0", "c1"}),
        ({"_content": "cough", "subject": "Patient/p1", "_text": "bone"}, {"c0"}),
    ],
)
def test_conditions_are_found_by_their_words(doctor: httpx.Client, query: dict[str, str], found: set[str]) -> None:
    answer = doctor.get("Condition", params=query)
    posted = doctor.post("Condition/_search", data=query, headers=FORM)
    assert set(ids(answer.json())) == set(ids(posted.json())) == found
    assert answer.json()["total"] == len(found)


def test_words_are_no_modifier_and_audit_events_have_none(server: Live, doctor: httpx.Client) -> None:
    assert doctor.get("Condition", params={"_text:exact": "x"}).status_code == 400
    refused = doctor.get("Condition", params={"_content": '"患者'})
    assert refused.status_code == 400
    assert "患者" not in refused.text
    with server.client("auditor", "Practitioner/a1", scope="user/AuditEvent.rs") as auditor:
        assert auditor.get("AuditEvent", params={"_content": "x"}).status_code == 400
