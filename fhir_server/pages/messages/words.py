"""What the page of messages says, in both languages."""

from __future__ import annotations

from collections.abc import Mapping

from fhir_server.pages.words import Texts

TEXTS: Mapping[str, tuple[str, str]] = {
    "title": ("已发送的消息（试用）", "Messages sent (trial)"),
    "lead": (
        "此服务器没有接入短信等消息通道：发给患者的消息显示在这里，一天后删除。您的每次查看都会被记录。",
        "This server hands messages to no carrier: what is sent to patients is shown here, for a day. "
        "Each time that you look is recorded.",
    ),
    "none": ("过去一天没有消息。", "No messages in the last day."),
    "to": ("收件人", "To"),
    "when": ("时间", "Time"),
    "again": ("刷新", "Refresh"),
    "sms": ("短信", "Text message"),
    "message": ("第三方消息", "Third-party message"),
    "app": ("患者应用消息", "Message in the patient's app"),
    "operators": ("此页面仅供本服务器的运维人员使用。", "This page is for the operators of this server."),
}


def speech(lang: str) -> Texts:
    """Return the texts of a language ("zh" or "en").

    >>> speech("en")("to")
    'To'
    """
    place = 1 if lang == "en" else 0
    return Texts({key: both[place] for key, both in TEXTS.items()})
