"""What a booking asks: read from what it sends, and written as what the operation $request-authorization takes; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from consent_engine.dates import span
from fhir_server.auth.requester import Requester, Role, is_reference
from fhir_server.auth.scopes import Scopes
from fhir_server.consenting.asked import Request
from fhir_server.consenting.checking import checked
from fhir_server.consenting.records import types_wanted
from fhir_server.errors import InvalidRequest
from fhir_server.pages.prompt.callers import PromptCaller
from fhir_server.pages.words import FIRST, LANGUAGES

Json = Mapping[str, Any]
LONGEST_STATE = 512
A_MILLISECOND = timedelta(milliseconds=1)
TEXTS = ("patient", "organization", "purpose", "since", "until", "expires", "return_url", "state", "lang")
KNOWN = frozenset({*TEXTS, "type"})


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked of a patient, and where they go then.

    patient, organization: bare ids. types: as named; () = all. since, until: days of the records. expires: an instant, or a
    day that it includes. state: the caller's own, given back. asks: in whose name, as the token said.
    """

    patient: str
    organization: str
    purpose: str
    types: tuple[str, ...]
    since: str | None
    until: str | None
    expires: str
    return_url: str
    state: str | None
    lang: str
    asks: Mapping[str, Any] = field(repr=False)

    @property
    def requester(self) -> Requester:
        """Return in whose name it is asked; revoked tokens and grants end it (auth/basis.py)."""
        said = {**self.asks, "role": Role(self.asks["role"]), "scopes": Scopes.parse(self.asks["scopes"])}
        return Requester(**said)

    def request(self, way: str, zone: tzinfo) -> Request:
        """Return what is asked as the life cycle has it. Raises InvalidRequest."""
        covered = span(self.expires, zone)
        if covered is None:
            raise InvalidRequest("expires is a date or an instant.", expression="expires")
        return Request(
            consent="",
            patient=self.patient,
            organization=self.organization,
            user=str(self.asks["user"]),
            purpose=self.purpose,
            types=types_wanted(self.types),
            since=_day(self.since, "since"),
            until=_day(self.until, "until"),
            expires=covered[0] if "T" in self.expires else covered[1] - A_MILLISECOND,
            way=way,
        )


def prompt_of(said: Any, requester: Requester, caller: PromptCaller, *, at: datetime, zone: tzinfo) -> Prompt:
    """Return what a caller asks. Raises InvalidRequest, which says what to change."""
    if not isinstance(said, dict) or (unknown := sorted(said.keys() - KNOWN)):
        told = f": it has {', '.join(unknown)}" if isinstance(said, dict) else ""
        raise InvalidRequest(f"The body is a JSON object with some of {', '.join(sorted(KNOWN))}{told}.")
    texts = {name: said.get(name) for name in TEXTS}
    if wrong := sorted(name for name, text in texts.items() if not isinstance(text, str | None)):
        raise InvalidRequest(f"{wrong[0]} is a text.", expression=wrong[0])
    types = said.get("type", [])
    if not isinstance(types, list) or not all(isinstance(each, str) for each in types):
        raise InvalidRequest("type is a list of resource types; leave it out for all.", expression="type")
    made = _prompt(texts, tuple(types), requester)
    if made.return_url not in caller.return_urls:
        raise InvalidRequest("return_url is not one of those that are registered for the client.")
    if made.organization != requester.organization:
        raise InvalidRequest("organization is the institution of the access token, which may be left out.")
    checked(made.request("app", zone), at=at)
    return made


def _prompt(texts: Mapping[str, str | None], types: tuple[str, ...], requester: Requester) -> Prompt:
    patient, expires, returns = (_needed(texts, name) for name in ("patient", "expires", "return_url"))
    if not is_reference(patient, frozenset({"Patient"})):
        raise InvalidRequest("patient is a reference such as Patient/1.", expression="patient")
    state, lang = texts["state"], texts["lang"] or FIRST
    if state is not None and len(state) > LONGEST_STATE:
        raise InvalidRequest(f"state has at most {LONGEST_STATE} characters.", expression="state")
    if lang not in LANGUAGES:
        raise InvalidRequest(f"lang is one of {', '.join(LANGUAGES)}.", expression="lang")
    return Prompt(
        patient=patient.removeprefix("Patient/"),
        organization=(texts["organization"] or requester.organization).removeprefix("Organization/"),
        purpose=texts["purpose"] or "TREAT",
        types=types,
        since=texts["since"],
        until=texts["until"],
        expires=expires,
        return_url=returns,
        state=state,
        lang=lang,
        asks=_stated(requester),
    )


def _needed(texts: Mapping[str, str | None], name: str) -> str:
    found = texts[name]
    if not found:
        raise InvalidRequest(f"{name} is needed.", expression=name)
    return found


def _day(text: str | None, name: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidRequest(f"{name} is a day, such as 2026-01-31.", expression=name) from None


def _stated(requester: Requester) -> dict[str, Any]:
    """Return a requester as JSON: of a system, with what ends its token."""
    return {
        "role": str(requester.role),
        "user": requester.user,
        "organization": requester.organization,
        "purpose": requester.purpose,
        "scopes": str(requester.scopes),
        "token": requester.token,
        "client": requester.client,
        "grant": requester.grant,
        "key": requester.key,
    }
