"""Why a record may be seen or not, in words: the rules of the default policy by their numbers (auth/policy.py)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from consent_engine.decision import Verdict
from fhir_server.auth.policy import DIRECTORY, Policy, breaks_glass, reports
from fhir_server.auth.requester import INSTITUTIONAL, Role
from fhir_server.operations.judging import Asker, Judgement, Part, Persons
from fhir_server.store.permitted import persons_of


class Because(StrEnum):
    """The rule that decided."""

    LOG = "log"
    DIRECTORY = "directory"
    INSTITUTION = "institution"
    OWN_RECORDS = "rule-1"
    PERMITTED = "rule-2"
    NOT_PERMITTED = "rule-2-missing"
    DENIED = "rule-3"
    EMERGENCY = "rule-4"
    REPORTING = "rule-5"
    THEMSELVES = "rule-6"
    SPEAKING = "rule-7"
    IMPLICIT = "implicit-policy"
    OTHERS = "other-person"


# Chinese first, then English.
WORDS: Mapping[Because, tuple[str, str]] = {
    Because.LOG: (
        "审计日志仅供审计员查阅；审计员不查阅健康记录。",
        "Only auditors see the log, and auditors see no records.",
    ),
    Because.DIRECTORY: (
        "机构、人员和定义等目录信息对所有用户开放。",
        "What is about institutions, staff and definitions is open to every user.",
    ),
    Because.INSTITUTION: (
        "该记录不属于任何患者，仅供保管机构使用。",
        "The record is nobody's; its own institution alone sees it.",
    ),
    Because.OWN_RECORDS: (
        "规则1：医疗机构为诊疗目的查阅本机构保管的记录，患者没有拒绝。",
        "Rule 1: an institution sees its own records for treatment, and the patient has not denied it.",
    ),
    Because.PERMITTED: (
        "规则2：患者的有效同意允许此次查阅。",
        "Rule 2: an active Consent of the patient permits it.",
    ),
    Because.NOT_PERMITTED: (
        "规则2：需要患者的有效同意，但没有任何同意允许此次查阅。",
        "Rule 2: an active Consent of the patient is needed, and none permits it.",
    ),
    Because.DENIED: (
        "规则3：患者的同意书拒绝此次查阅（或无法按其内容执行）；拒绝优先。",
        "Rule 3: a Consent of the patient denies it, or cannot be read; a denial comes first.",
    ),
    Because.EMERGENCY: (
        "规则4：紧急情况下说明理由后查阅，患者没有拒绝。",
        "Rule 4: the glass was broken with a stated reason, and the patient has not denied it.",
    ),
    Because.REPORTING: (
        "规则5：法定报告，仅限设置中指定的系统。",
        "Rule 5: statutory reporting by a system that is set to do it.",
    ),
    Because.THEMSELVES: (
        "规则6：患者查阅本人的记录。",
        "Rule 6: it is the patient's own record.",
    ),
    Because.SPEAKING: (
        "规则7：监护人等代患者决定的人查阅患者的同意书。",
        "Rule 7: it is a Consent of the patient for whom the user speaks.",
    ),
    Because.IMPLICIT: (
        "没有同意书适用，默认策略为不允许。",
        "No Consent says anything, and the implicit policy permits nothing for this purpose.",
    ),
    Because.OTHERS: (
        "该记录还涉及其他人，缺少其他人的许可。",
        "The record is another person's as well: another person's permission is missing.",
    ),
}


def because(judgement: Judgement, asker: Asker, policy: Policy, type: str, document: Mapping[str, Any]) -> Because:
    """Return which rule decided, as far as all persons are concerned whose record it is."""
    general = _whatever_is_said(asker, policy, type, document)
    if general:
        return general
    parts = list(judgement.parts.values())
    agreeing = [part for part in parts if part.permitted is judgement.permitted]
    return _strongest(agreeing or parts, judgement.permitted, asker, policy, document)


def for_person(
    judgement: Judgement, asker: Asker, policy: Policy, type: str, document: Mapping[str, Any], whose: Persons
) -> Because:
    """Return which rule decided, told to one of the persons whose record it is: of the others nothing but that."""
    general = _whatever_is_said(asker, policy, type, document)
    if general:
        return general
    parts = [part for person, part in judgement.parts.items() if person in whose]
    if not judgement.permitted and all(part.permitted for part in parts):
        return Because.OTHERS
    return _strongest(parts, judgement.permitted, asker, policy, document)


def _whatever_is_said(asker: Asker, policy: Policy, type: str, document: Mapping[str, Any]) -> Because | None:
    """Return the rule that decides without regard to Consents, if one does."""
    if type in DIRECTORY:
        return Because.DIRECTORY
    if type == "AuditEvent" or asker.requester.role is Role.AUDITOR:
        return Because.LOG
    if reports(asker.requester, policy):
        return Because.REPORTING
    return None if persons_of(document) else Because.INSTITUTION


def _strongest(
    parts: list[Part], permitted: bool, asker: Asker, policy: Policy, document: Mapping[str, Any]
) -> Because:
    """Return the strongest rule of those that decided for these persons: what was said, before what holds without."""
    said = {part.decision.because for part in parts}
    if not permitted and said & {Verdict.FORBIDS, Verdict.UNREADABLE}:
        return Because.DENIED
    if permitted and Verdict.PERMITS in said:
        return Because.PERMITTED
    at_home = asker.requester.role in INSTITUTIONAL and document["org"] == asker.requester.organization
    if not permitted:
        return Because.IMPLICIT if at_home else Because.NOT_PERMITTED
    if persons_of(document) & asker.own:
        return Because.THEMSELVES
    if persons_of(document) & asker.spoken:
        return Because.SPEAKING
    return (
        Because.EMERGENCY
        if breaks_glass(asker.requester) and not (at_home and policy.treatment)
        else Because.OWN_RECORDS
    )
