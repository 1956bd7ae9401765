"""What a patient is told by a message, and what a form says that they sign: who asks, for what, which records, until when."""

from __future__ import annotations

from datetime import tzinfo

from fhir_server.consenting.asked import Request
from fhir_server.consenting.words import day_of, period_of, purpose_of, types_of

# Whoever asks is told of a code.
ENTERED = "验证码只能由发起请求的人录入。"


def asked(request: Request, institution: str, user: str | None, *, zone: tzinfo) -> str:
    """Return what is asked, in one paragraph of plain Chinese. institution, user: names; None: the user has none."""
    when = period_of(request.since, request.until) or "不限时间"
    return (
        f"{institution}{f'（申请人：{user}）' if user else ''}申请查阅您在各医疗机构的健康记录。"
        f"用途：{purpose_of(request.purpose)}。"
        f"内容：{types_of(request.types)}；记录时间：{when}。"
        f"授权有效期至{day_of(request.expires.astimezone(zone))}，您可随时撤销；不同意不影响您就医。"
    )


def with_code(what: str, code: str) -> str:
    """Return a message with a code. what: what is asked, in words."""
    where = "告诉申请人，或填入您正在办理的页面"
    return f"【健康数据授权】{what}如果您同意，请把验证码 {code} {where}，5分钟内有效。不同意请不要告诉任何人。"


def for_guardian(what: str) -> str:
    """Return what is asked of a guardian."""
    return f"您是患者登记的监护人。以下请求由您代为决定。{what}"


def with_link(what: str, link: str) -> str:
    """Return a message that leads to the patient's own page."""
    return f"【健康数据授权】{what}请登录您的授权页面查看，并选择同意或拒绝：{link}"


def form(what: str) -> str:
    """Return what a paper form says, with room for the signature."""
    return f"授权书：{what}本人已阅读并同意以上内容。签名：＿＿＿＿＿＿ 日期：＿＿＿＿＿＿"
