"""Launch contexts: what an EMR's screen shows when its user opens an app, kept until the app asks for it, once.

Source: SMART App Launch 2.2, "Launch App: EHR Launch". How an EMR makes a context is not standardised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.auth.accounts.account import Account
from fhir_server.auth.accounts.sessions import digest, new_token
from fhir_server.auth.requester import ID, USER_TYPES, Role, is_reference
from fhir_server.auth.server.clients import CLIENT_ID
from fhir_server.auth.server.vault import Vault
from fhir_server.store.commit import DURABLE

LAUNCHES = "auth_launches"
LASTING = timedelta(minutes=5)
ENDS = "ends"  # seconds since 1970, in the sealed body
USERS = frozenset().union(*(USER_TYPES[role] for role in Role if role is not Role.SYSTEM))
FHIR_CONTEXT = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
MOST_CONTEXTS = 20
LONGEST = 256  # characters of an intent or a URL


class InvalidLaunch(ValueError):
    """What an EMR sent is no launch context; the message says which part and why."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch context.

    organization: of the EMR. user: the reference of whom it is for. patient, encounter: bare ids. app: the client that it
    is for, None if for any. fhir_context: further references on the screen.
    """

    organization: str
    user: str
    patient: str | None = None
    encounter: str | None = None
    app: str | None = None
    intent: str | None = None
    need_patient_banner: bool = True
    smart_style_url: str | None = None
    fhir_context: tuple[str, ...] = ()

    def context(self) -> dict[str, Any]:
        """Return what stands beside the token, patient and encounter aside."""
        said: dict[str, Any] = {"need_patient_banner": self.need_patient_banner}
        if self.intent:
            said["intent"] = self.intent
        if self.smart_style_url:
            said["smart_style_url"] = self.smart_style_url
        if self.fhir_context:
            said["fhirContext"] = [{"reference": each} for each in self.fhir_context]
        return said

    def fits(self, account: Account, app: str) -> bool:
        """Return whether the context is for this user, in the institution of the EMR, and for this app."""
        at_home = (self.organization, self.user) == (account.organization, account.user)
        return at_home and self.app in (None, app)


def launch_of(said: Any, organization: str) -> Launch:
    """Return the context that the JSON of a request describes. Raises InvalidLaunch."""
    if not isinstance(said, dict):
        raise InvalidLaunch("The body is a JSON object.")
    if said.keys() - READ.keys():
        raise InvalidLaunch(f"Only these can be given: {', '.join(READ)}.")
    for name, (good, what) in READ.items():
        if name in said and not good(said[name]):
            raise InvalidLaunch(f"{name} is {what}.")
    if "user" not in said:
        raise InvalidLaunch("user is needed: the context is for that user alone.")
    if "encounter" in said and "patient" not in said:
        raise InvalidLaunch("An encounter is given together with its patient.")
    named: dict[str, Any] = {FIELDS.get(str(name), str(name)): value for name, value in said.items()}
    named["fhir_context"] = tuple(named.get("fhir_context", ()))
    return Launch(organization, **named)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and ID.fullmatch(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isprintable()


READ: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "user": (
        lambda value: isinstance(value, str) and is_reference(value, USERS),
        "a reference such as Practitioner/1, the fhirUser of the account",
    ),
    "patient": (_is_id, "the id of a Patient"),
    "encounter": (_is_id, "the id of an Encounter"),
    "client_id": (lambda value: isinstance(value, str) and CLIENT_ID.fullmatch(value) is not None, "a client id"),
    "intent": (_is_text, f"a text of at most {LONGEST} characters"),
    "need_patient_banner": (lambda value: isinstance(value, bool), "true or false"),
    "smart_style_url": (lambda value: _is_text(value) and value.startswith("https://"), "an https URL"),
    "fhirContext": (
        lambda value: (
            isinstance(value, list)
            and len(value) <= MOST_CONTEXTS
            and all(isinstance(each, str) and FHIR_CONTEXT.fullmatch(each) for each in value)
        ),
        f"a list of at most {MOST_CONTEXTS} references, such as ImagingStudy/1",
    ),
}
FIELDS = {"client_id": "app", "fhirContext": "fhir_context"}


class Launches:
    """The contexts that wait for their apps, shared by all processes."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], vault: Vault, clock: Callable[[], datetime]) -> None:
        self._rows = database.get_collection(LAUNCHES, write_concern=DURABLE)
        self._vault = vault
        self._clock = clock

    async def add(self, launch: Launch) -> str:
        """Keep a context; return the opaque id under which it is found once."""
        token = new_token()
        id = digest(token)
        until = self._clock() + LASTING
        body = self._vault.sealed(f"{LAUNCHES}/{id}", {**asdict(launch), ENDS: until.timestamp()})
        await self._rows.insert_one({"_id": id, "body": body, "until": until})
        return token

    async def take(self, token: str) -> Launch | None:
        """Return a context and forget it, None if there is none, or it is too old."""
        row = await self._rows.find_one_and_delete({"_id": digest(token)})
        if row is None:
            return None
        said = self._vault.opened(f"{LAUNCHES}/{row['_id']}", row["body"])
        if said.pop(ENDS, 0) <= self._clock().timestamp():  # as it is sealed: the row's own is for MongoDB alone
            return None
        return Launch(**{**said, "fhir_context": tuple(said["fhir_context"])})
