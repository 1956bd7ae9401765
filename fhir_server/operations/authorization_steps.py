"""Consent/[id]/$verify, $confirm, $decline, $revoke: the patient's answer to a question, and its end (consenting/)."""

from __future__ import annotations

from typing import Any

from fhir_server.fhir_json import dump
from fhir_server.interactions.call import Answer, Call, Services
from fhir_server.operations.definition import Invocation


async def verify(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return the active Consent, proven by what the patient gave: a code, a signed form. In: what the way asks for."""
    proof = {name: str(values[0]) for name, values in asked.given.items() if values}
    return _answer(await use.consenting.verify(call, str(asked.id), proof))


async def confirm(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return the active Consent, confirmed by the patient's (or guardian's) own token."""
    return _answer(await use.consenting.confirm(call, str(asked.id)))


async def decline(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return the rejected Consent, declined by the patient's (or guardian's) own token."""
    return _answer(await use.consenting.decline(call, str(asked.id)))


async def revoke(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return the ended Consent: for every request that begins from now on it holds no more."""
    return _answer(await use.consenting.revoke(call, str(asked.id)))


def _answer(consent: dict[str, Any]) -> Answer:
    return Answer(200, dump(consent), {"ETag": f'W/"{consent["meta"]["versionId"]}"'})
