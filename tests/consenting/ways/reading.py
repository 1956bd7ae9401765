"""What reaches patients in the tests, the messages that the stand-in has delivered; and codes given back in vain."""

from __future__ import annotations

import re
import time
from typing import Any

import httpx
from pymongo import MongoClient

from fhir_server.app import keyring_of
from fhir_server.consenting.ways.box import Box
from fhir_server.consenting.ways.transport import MESSAGES, QUEUE, Message
from tests.consenting.world import step
from tests.live import Live

CODE = re.compile(r"验证码 (\d{6}) ")
PATIENCE_SECONDS = 20


def messages(server: Live, uri: str, patient: str) -> list[Message]:
    """Return the messages about a Patient (id), oldest first, once nothing waits to be sent any more."""
    box = Box(keyring_of(server.settings))
    with MongoClient[dict[str, Any]](uri) as client:
        database = client[server.settings.database]
        until = time.monotonic() + PATIENCE_SECONDS
        while database[QUEUE].count_documents({}):
            assert time.monotonic() < until, "the messages were not sent"
            time.sleep(0.05)
        found = [Message(**box.opened(f"message|{each['_id']}", each["body"])) for each in database[MESSAGES].find()]
    return sorted((each for each in found if each.patient == patient), key=lambda each: (each.at, each.id))


def code_in(message: Message) -> str:
    """Return the code in a message."""
    found = CODE.search(message.text)
    assert found, message.text
    return found[1]


def code_for(server: Live, uri: str, patient: str) -> str:
    """Return the code of the last message about a Patient."""
    return code_in(messages(server, uri, patient)[-1])


def wrong(code: str) -> str:
    """Return a code that is another one."""
    return f"{(int(code) + 1) % 1_000_000:06}"


def refused(client: httpx.Client, consent: str, code: str) -> str:
    """Return why a code is refused."""
    answer = step(client, consent, "verify", code=code)
    assert answer.status_code == 422, answer.text
    text: str = answer.json()["issue"][0]["diagnostics"]
    return text
