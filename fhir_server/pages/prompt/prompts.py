"""The prompts under way: found by an opaque token that is in the page's URL alone, sealed, answered once.

The row says nothing in the clear. It ends by itself; what a patient has answered stays known until then, so that whoever
goes back in the browser sees the answer and not the question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.auth.accounts.sessions import digest, new_token
from fhir_server.auth.server.asking import with_query
from fhir_server.auth.server.vault import Vault
from fhir_server.pages.prompt.asking import Prompt
from fhir_server.store.commit import DURABLE

PROMPTS = "consent_prompts"
LASTING = timedelta(minutes=30)
TRIES = 5
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a prompt has come.

    consent: id of the Consent by which the patient was asked, way: by which way last. told: what the patient is told of
    their last attempt. result: agreed, declined or later, once it is answered.
    """

    consent: str | None = None
    way: str | None = None
    told: str | None = None
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A prompt and its progress. turn: counts its changes."""

    token: str = field(repr=False)
    prompt: Prompt
    progress: Progress
    turn: int

    @property
    def back(self) -> str:
        """Return the caller's URL with the answer. The Consent is told of where the patient was asked by one."""
        done = self.progress
        return with_query(
            self.prompt.return_url, state=self.prompt.state, status=done.result or "later", consent=done.consent
        )


class Prompts:
    """The prompts of all processes."""

    def __init__(self, database: AsyncDatabase[Document], vault: Vault, clock: Callable[[], datetime]) -> None:
        self._rows = database.get_collection(PROMPTS, write_concern=DURABLE)
        self._vault = vault
        self._clock = clock

    async def add(self, prompt: Prompt) -> str:
        """Keep a prompt; return its token."""
        token = new_token()
        row = {"_id": digest(token), "turn": 0, "until": self._clock() + LASTING}
        await self._rows.insert_one({**row, **self._sealed(token, prompt, Progress())})
        return token

    async def of(self, token: str | None) -> Kept | None:
        """Return the prompt of a token, None if there is none or it has ended."""
        row = await self._rows.find_one({"_id": digest(token)}) if token else None
        if row is None or token is None or row["until"] <= self._clock():
            return None
        said = self._vault.opened(_place(token, "prompt"), row["prompt"])
        progress = self._vault.opened(_place(token, "progress"), row["progress"])
        return Kept(token, Prompt(**{**said, "types": tuple(said["types"])}), Progress(**progress), row["turn"])

    async def note(self, kept: Kept, **changed: str | None) -> Kept:
        """Keep how far a prompt has come; return it as it is then. What is answered stays as it was answered."""
        now: Kept | None = kept
        for _ in range(TRIES):
            if now is None or now.progress.result is not None:
                break
            made = replace(now, progress=replace(now.progress, **changed), turn=now.turn + 1)
            sealed = self._sealed(made.token, made.prompt, made.progress)
            found = {"_id": digest(made.token), "turn": now.turn}
            if (await self._rows.update_one(found, {"$set": {**sealed, "turn": made.turn}})).modified_count:
                return made
            now = await self.of(kept.token)
        return now or kept

    def _sealed(self, token: str, prompt: Prompt, progress: Progress) -> Document:
        return {
            "prompt": self._vault.sealed(_place(token, "prompt"), asdict(prompt)),
            "progress": self._vault.sealed(_place(token, "progress"), asdict(progress)),
        }


def _place(token: str, part: str) -> str:
    return f"{PROMPTS}|{part}|{digest(token)}"
