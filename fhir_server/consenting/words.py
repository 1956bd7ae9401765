"""What is asked, in sentences that a patient understands: on pages, in text messages, in notices; Chinese first, and English.

Names of institutions and people are the caller's to find; nothing here knows a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import NamedTuple

from fhir_server.consenting.asked import Request, State
from fhir_server.consenting.records import RECORDS
from fhir_server.consenting.steps import Step
from fhir_server.pages.words import FIRST, LANGUAGES


class Said(NamedTuple):
    """The same in two languages."""

    zh: str
    en: str

    def in_(self, lang: str) -> str:
        return self.en if lang == "en" else self.zh


# What an institution may ask for: what a patient can be told in words. What it is for, as "so that it can …".
ASKABLE_PURPOSES: Mapping[str, Said] = {
    "TREAT": Said("为您诊断和治疗", "diagnose and treat you"),
    "CLINTRCH": Said("开展临床试验研究", "carry out clinical trials"),
    "HRESCH": Said("开展医学研究", "do medical research"),
    "COVERAGE": Said("办理医保或商业保险", "handle your insurance"),
    "HPAYMT": Said("办理医疗费用支付", "handle payment for your care"),
    "HOPERAT": Said("管理医疗服务质量", "run and improve its services"),
}
# Types of which a patient can be told what they are.
ASKABLE_TYPES = frozenset(LANGUAGES[FIRST].types).intersection(RECORDS)

STATES: Mapping[State | None, Said] = {
    None: Said("未授权", "not authorized"),
    State.REQUESTED: Said("已发起请求", "requested"),
    State.VERIFYING: Said("等待患者确认", "waiting for the patient"),
    State.ACTIVE: Said("已授权", "authorized"),
    State.DECLINED: Said("患者已拒绝", "declined by the patient"),
    State.EXPIRED: Said("已过期", "expired"),
    State.REVOKED: Said("已撤销", "revoked by the patient"),
}

# Whose records an authorization opens, by whether it does so everywhere.
OPENS: Mapping[bool, Said] = {
    True: Said("可按授权范围查阅各医疗机构的记录", "opens the records of all institutions, as far as it goes"),
    False: Said(
        "仅限本机构保管的记录：依据是本机构核验的签名表单，或发到仅本机构登记的号码的验证码",
        "opens this institution's own records only: it rests on a form that this institution has checked, or on a code to a "
        "number that it alone keeps",
    ),
}

STEPS: Mapping[Step | None, Said] = {
    None: Said("发起授权请求", "authorization requested"),
    Step.SEND: Said("向患者征求意见", "patient asked"),
    Step.VERIFY: Said("患者验证并同意", "verified and agreed to by the patient"),
    Step.CONFIRM: Said("患者确认同意", "confirmed by the patient"),
    Step.DECLINE: Said("患者拒绝", "declined by the patient"),
    Step.EXPIRE: Said("逾期未答复", "not answered in time"),
    Step.REVOKE: Said("患者撤销", "revoked by the patient"),
}

# What whoever asked is told when the patient has answered: nothing that the Consent does not say.
NOTICES: Mapping[State, str] = {
    State.ACTIVE: "患者已同意授权，现在可以按授权范围查阅。",
    State.DECLINED: "患者未同意授权请求。",
    State.REVOKED: "患者已撤销授权，立即停止查阅；已下载的资料请按规定处理。",
}

FREELY = Said(
    "是否同意由您决定。不同意不影响您就医；同意后您也可以随时撤销，撤销立即生效。",
    "It is your choice. If you say no, you are treated all the same; if you agree, you can take it back at any time, "
    "which takes effect at once.",
)


@dataclass(frozen=True, slots=True)
class Terms:
    """A request in words, part by part, as a page shows it. when: of which time the records are; None: of any."""

    who: str
    purpose: str
    what: str
    when: str | None
    until: str
    sentences: tuple[str, ...]


def terms(request: Request, who: str, *, zone: tzinfo, lang: str = FIRST) -> Terms:
    """Return what is asked. who: the name of the institution. zone: the deployment's."""
    purpose = purpose_of(request.purpose, lang)
    what, when = types_of(request.types, lang), period_of(request.since, request.until, lang)
    until = day_of(request.expires.astimezone(zone), lang)
    said = _english if lang == "en" else _chinese
    return Terms(who, purpose, what, when, until, said(who, purpose, what, when, until))


def _chinese(who: str, purpose: str, what: str, when: str | None, until: str) -> tuple[str, ...]:
    return (
        f"{who}请求查阅您的健康记录，用来{purpose}。",
        f"可以查阅的内容：您在各医疗机构的{what}。",
        *((f"只包括{when}的记录。",) if when else ("不限记录产生的时间。",)),
        f"授权有效期到{until}，到期自动失效。",
        FREELY.zh,
    )


def _english(who: str, purpose: str, what: str, when: str | None, until: str) -> tuple[str, ...]:
    return (
        f"{who} asks to see your health records, to {purpose}.",
        f"It could see: {what}, from every institution that has treated you.",
        *((f"Only records {when}.",) if when else ("Records of any time.",)),
        f"It would hold until {until}, and then end by itself.",
        FREELY.en,
    )


def reminder(ends: datetime, who: str, *, zone: tzinfo, lang: str = FIRST) -> str:
    """Return what a patient is told before an authorization ends. who: the names of whom it lets in."""
    until = day_of(ends.astimezone(zone), lang)
    if lang == "en":
        return f"Your authorization to {who} ends on {until}. There is nothing you have to do; it then ends by itself."
    return f"您给{who}的查阅授权将于{until}到期。到期自动失效，您无需操作；如需继续，请在就诊时重新授权。"


def purpose_of(code: str, lang: str = FIRST) -> str:
    """Return what a purpose of use means, as what the institution does.

    >>> print(purpose_of("TREAT"))
    为您诊断和治疗
    """
    known = ASKABLE_PURPOSES.get(code)
    return known.in_(lang) if known else LANGUAGES[lang].purpose(code)


def types_of(types: tuple[str, ...], lang: str = FIRST) -> str:
    """Return which records are asked for, in words.

    >>> print(types_of(("MedicationRequest", "Observation")))
    处方、检验结果与观察
    """
    words = LANGUAGES[lang].types
    return ("、" if lang == FIRST else ", ").join(words.get(each, each) for each in types or ("*",))


def period_of(since: date | None, until: date | None, lang: str = FIRST) -> str | None:
    """Return of which time the records are; None: of any. Both days are included.

    >>> print(period_of(date(2024, 1, 1), None))
    2024年1月1日以后
    """
    start, end = (day_of(each, lang) if each else None for each in (since, until))
    match start, end:
        case None, None:
            return None
        case str(), None:
            return f"since {start}" if lang == "en" else f"{start}以后"
        case None, str():
            return f"until {end}" if lang == "en" else f"{end}以前"
    return f"from {start} to {end}" if lang == "en" else f"{start}至{end}"


def day_of(day: date | datetime, lang: str = FIRST) -> str:
    """Return a day as people write it.

    >>> print(day_of(date(2027, 3, 9)), day_of(date(2027, 3, 9), "en"))
    2027年3月9日 9 March 2027
    """
    if lang == "en":
        return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
    return f"{day.year}年{day.month}月{day.day}日"


_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
