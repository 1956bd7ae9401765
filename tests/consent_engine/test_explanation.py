"""Why a record may be seen or not, statement by statement, and in words."""

import pytest

from consent_engine.decision import Verdict
from consent_engine.enforcement import Status
from consent_engine.explanation import Statement, explain
from consent_engine.reasons import Reason
from consent_engine.vocabulary import Mode
from consent_engine.words import MODES, REASONS, STATUSES, VERDICTS, told, words
from tests.consent_engine.build import ACT_CODE, HIV, ask, compiled, concept, consent, deny, labels, permit, record

DR1 = ask("Practitioner/Dr1")
SENSITIVE = record(labels=[HIV])
SAID = [
    compiled(consent(permit(), dateTime="2026-03-01"), DR1, id="a"),
    compiled(consent(permit(provision=[deny(securityLabel=labels(HIV))]), dateTime="2026-01-01"), DR1, id="b"),
    compiled(consent(permit(), status="inactive"), DR1, id="c"),
]
PERMITTED = Statement("a", "1", Verdict.PERMITS, ("provision",))
FORBIDDEN = Statement("b", "1", Verdict.FORBIDS, ("provision.provision[0]",))
ENDED = Statement("c", "1", Verdict.SILENT, reason=Reason.STATUS)


def deciding(statement: Statement) -> Statement:
    return Statement(statement.consent, statement.version, statement.verdict, statement.paths, decides=True)


def test_every_consent_is_listed_with_what_it_said_those_that_decide_first():
    assert explain(SAID, SENSITIVE) == (deciding(FORBIDDEN), PERMITTED, ENDED)
    assert explain(SAID, SENSITIVE, Mode.NEWEST_WINS) == (deciding(PERMITTED), FORBIDDEN, ENDED)
    assert explain([], SENSITIVE) == ()


def test_an_unusable_consent_says_why():
    unusable = compiled(consent(permit(), policyRule=concept(ACT_CODE, "OPTOUT")), DR1)
    reason = Reason.CONTRADICTION
    assert explain([unusable], SENSITIVE) == (
        Statement("c", "1", Verdict.UNREADABLE, ("",), decides=True, reason=reason),
    )


@pytest.mark.parametrize(
    ("table", "values"), [(VERDICTS, Verdict), (STATUSES, Status), (MODES, Mode), (REASONS, Reason)]
)
def test_there_are_words_for_everything_in_both_languages(table, values):
    assert table.keys() == set(values)
    for each in values:
        found = words(each)
        assert found == table[each]
        assert any("\u4e00" <= letter <= "\u9fff" for letter in found.zh)
        assert found.en.isascii()
    assert len({each.zh for each in table.values()}) == len(table)


TOLD = [
    (
        FORBIDDEN,
        "同意书 b（第 1 版）：拒绝查阅。条款：provision.provision[0]。",
        "Consent b (version 1) forbids. Provisions: provision.provision[0].",
    ),
    (
        ENDED,
        "同意书 c（第 1 版）：对此未作约定。原因：状态不是“生效”。",
        "Consent c (version 1) says nothing about this. Reason: its status is not active.",
    ),
]


@pytest.mark.parametrize(("statement", "zh", "en"), TOLD)
def test_a_statement_is_told_as_a_sentence(statement, zh, en):
    assert told(statement) == (zh, en)
