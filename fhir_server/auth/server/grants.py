"""What users granted to apps: one row each, on which codes, refresh tokens and access tokens stand.

A grant is found by its id, which access tokens carry. Its refresh tokens are sealed pairs of the grant's id and a turn;
each use counts the turn up, so that an older one is recognised as ours, and as used already.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.auth.server.vault import CODES, GRANTS, MARK, Vault
from fhir_server.auth.signed.refusing import Refused, logged
from fhir_server.auth.signed.rows import Fault
from fhir_server.crypto.sealing import Unsealable
from fhir_server.store.commit import Unit

CODE_SECONDS = 60
# A used code is remembered this long, so that a second use of it is seen while tokens of the first live.
CODE_KEPT = 2 * 3_600
# Of so many grants a process remembers the last turn that it has seen; of one that was revoked, this.
MOST_SEEN = 20_000
ENDED = 1 << 62


@dataclass(frozen=True, slots=True)
class Granted:
    """What a user granted to an app: what every token that stands on it says.

    account: id of the account, or an assertion's subject. auth_time: seconds since 1970. claims: role, fhirUser, org,
    purpose, scope (the text that was granted), and department, practitionerRole, patient (a reference) if there are any.
    context: beside the token: patient (a bare id), encounter, need_patient_banner, intent, fhirContext ... session: of
    the user agent; when it is signed out, the grants end that are not for offline access.
    """

    account: str
    auth_time: int
    claims: Mapping[str, Any]
    context: Mapping[str, Any] = field(default_factory=dict)
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """A stored grant. turn: how many tokens were made of it so far. until: seconds since 1970 when it ends."""

    id: str
    client: str
    granted: Granted
    until: float
    turn: int = 0
    revoked: bool = False

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(str(self.granted.claims.get("scope", "")).split())

    @property
    def refreshable(self) -> bool:
        """Whether refresh tokens are made: the user granted access beyond the life of one access token."""
        return bool(self.scopes & {"offline_access", "online_access"})


@dataclass(frozen=True, slots=True)
class Code:
    """A stored authorization code. expires: seconds since 1970."""

    name: str
    grant: str
    client: str
    redirect_uri: str
    challenge: str
    nonce: str | None
    expires: float
    used: bool = False


class Grants:
    """The stored grants and codes. What writes adds to a unit, which the caller commits with its AuditEvent."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]], vault: Vault, refused: Refused = logged) -> None:
        """refused: is told of each row that is not as the server stored it."""
        self._grants = database[GRANTS]
        self._codes = database[CODES]
        self._vault = vault
        self._refused = refused
        self._seen: OrderedDict[str, int] = OrderedDict()

    async def grant(self, id: str) -> Grant | None:
        """Return a grant, revoked or not; None if there is none any more, or it is not as the server stored it."""
        row = await self._grants.find_one({"_id": id})
        if row is None or "body" not in row:
            return None
        if fault := self._fault(row):
            await self._refused(GRANTS, id, fault)
            return None
        body = self._vault.opened(f"{GRANTS}/{id}", row["body"])
        granted = Granted(**body["granted"])
        return Grant(id, body["client"], granted, body["until"], row["turn"], row.get("revoked", False))

    def _fault(self, row: Mapping[str, Any]) -> Fault | None:
        """Return what is wrong with the row of a grant.

        A revoked one needs no mark. An earlier one that was put back is known where a later one was seen.
        """
        revoked = row.get("revoked", False)
        if revoked is not True and not self._vault.fits(row.get(MARK), *grant_said(row)):
            return Fault.CHANGED
        turn, last = ENDED if revoked else row["turn"], self._seen.get(row["_id"], 0)
        self._seen[row["_id"]] = max(turn, last)
        self._seen.move_to_end(row["_id"])
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)
        return Fault.OLD if turn < last else None

    def add(self, grant: Grant, unit: Unit) -> None:
        """Add a new grant to a unit."""
        unit.insert(GRANTS, self._row(grant))

    def turned(self, grant: Grant, unit: Unit) -> Grant:
        """Add to a unit the next turn of a grant; of two that try the same, one is stored (Conflict). Return it."""
        after = replace(grant, turn=grant.turn + 1)
        unit.replace(GRANTS, {"_id": grant.id, "turn": grant.turn, "revoked": False}, self._row(after))
        return after

    async def code(self, text: str) -> Code | None:
        """Return the code of this text, used or not."""
        name = self._vault.name("code", text)
        row = await self._codes.find_one({"_id": name})
        if row is None:
            return None
        if not self._vault.fits(row.get(MARK), *code_said(row)):
            await self._refused(CODES, name, Fault.CHANGED)
            return None
        return Code(name, used=row["used"], **self._vault.opened(f"{CODES}/{name}", row["body"]))

    def add_code(self, text: str, code: Code, unit: Unit) -> None:
        """Add a new code to a unit."""
        unit.insert(CODES, self._code_row(replace(code, name=self._vault.name("code", text))))

    def use_code(self, code: Code, unit: Unit) -> None:
        """Add to a unit that a code is used; of two that try, one is stored (Conflict)."""
        unit.replace(CODES, {"_id": code.name, "used": False}, self._code_row(replace(code, used=True)))

    async def ids(self, **found_by: str) -> list[str]:
        """Return the ids of the grants that are not revoked, by client, or by session or account (their plain text)."""
        filter = {
            name: value if name == "client" else self._vault.name(name, value) for name, value in found_by.items()
        }
        return [row["_id"] async for row in self._grants.find({**filter, "revoked": False}, {"_id": 1})]

    def refresh_token(self, grant: Grant) -> str:
        """Return the refresh token of a grant's present turn."""
        sealed = self._vault.sealed("refresh token", {"g": grant.id, "n": grant.turn})
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def read_refresh_token(self, text: str) -> tuple[str, int] | None:
        """Return grant id and turn of a refresh token, None if it is not one of ours."""
        try:
            sealed = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            said = self._vault.opened("refresh token", sealed)
        except (Unsealable, binascii.Error, ValueError, json.JSONDecodeError):
            return None
        return str(said["g"]), int(said["n"])

    def _row(self, grant: Grant) -> dict[str, Any]:
        granted = grant.granted
        said = {
            "account": granted.account,
            "auth_time": granted.auth_time,
            "claims": dict(granted.claims),
            "context": dict(granted.context),
            "session": granted.session,
        }
        row = {
            "_id": grant.id,
            "client": grant.client,
            "account": self._vault.name("account", granted.account),
            "turn": grant.turn,
            "revoked": grant.revoked,
            "until": datetime.fromtimestamp(grant.until, UTC),
            "body": self._vault.sealed(
                f"{GRANTS}/{grant.id}", {"client": grant.client, "granted": said, "until": grant.until}
            ),
        }
        if granted.session and "offline_access" not in grant.scopes:
            row["session"] = self._vault.name("session", granted.session)
        return {**row, MARK: self._vault.mark(*grant_said(row))}

    def _code_row(self, code: Code) -> dict[str, Any]:
        said = {
            "grant": code.grant,
            "client": code.client,
            "redirect_uri": code.redirect_uri,
            "challenge": code.challenge,
            "nonce": code.nonce,
            "expires": code.expires,
        }
        until = datetime.fromtimestamp(code.expires + CODE_KEPT, UTC)
        body = self._vault.sealed(f"{CODES}/{code.name}", said)
        row = {"_id": code.name, "used": code.used, "until": until, "body": body}
        return {**row, MARK: self._vault.mark(*code_said(row))}


def grant_said(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what the mark of a grant's row is made of: all by which it is found, and what is not in its sealed body."""
    return GRANTS, *(row.get(name) for name in ("_id", "client", "account", "session", "turn", "revoked"))


def code_said(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what the mark of a code's row is made of: what is not in its sealed body."""
    return CODES, row["_id"], row["used"]
