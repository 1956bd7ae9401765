"""Signing in: what is tried, counted and recorded; whoever does not exist is answered as whoever mistyped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from fhir_server.audit.event import Happening, Outcome
from fhir_server.audit.log import AuditLog
from fhir_server.auth.accounts.account import Account, folded
from fhir_server.auth.accounts.attempts import CODE, LOGIN, SOURCE, Attempts
from fhir_server.auth.accounts.codes import step_of
from fhir_server.auth.accounts.passwords import Passwords
from fhir_server.auth.accounts.sessions import CODE as BY_CODE
from fhir_server.auth.accounts.sessions import PASSWORD as BY_PASSWORD
from fhir_server.auth.accounts.sessions import Session, Sessions
from fhir_server.auth.accounts.steps import Signed
from fhir_server.auth.accounts.users import Kept, Users
from fhir_server.store.instants import microseconds


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not work. wait: seconds until it may be tried again, 0 if at once."""

    wait: int = 0


class SigningIn:
    """Passwords and codes, one attempt at a time."""

    def __init__(
        self,
        users: Users,
        sessions: Sessions,
        attempts: Attempts,
        log: AuditLog,
        clock: Callable[[], datetime],
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._attempts = attempts
        self._log = log
        self._clock = clock
        self._passwords = Passwords()

    async def signed(self, cookie: str | None) -> Signed | None:
        """Return who is signed in with a cookie."""
        session = await self._sessions.of(cookie)
        kept = await self._users.by_id(session.account) if session else None
        if session is None or cookie is None or kept is None or kept.disabled:
            return None
        return Signed(kept, session, cookie)

    async def password(self, login: str, password: str, source: str) -> Signed | Failed:
        """Return who signs in by password. source: the address that it comes from."""
        for limit, who in ((SOURCE, source), (LOGIN, folded(login))):
            if wait := await self._attempts.begin(limit, who):
                await self.record(None, "waiting", done=False)
                return Failed(wait)
        kept = await self._users.by_login(login)
        if not await self._passwords.verify(password, kept.password if kept else None) or kept is None or kept.disabled:
            await self.record(kept.account if kept else None, "password", done=False)
            return Failed()
        await self._attempts.succeeded(LOGIN, folded(login))
        await self._attempts.succeeded(SOURCE, source)
        if kept.password and self._passwords.outdated(kept.password):
            hashed = await self._passwords.hashed(password)
            if await self._users.renew_hash(kept.account.id, kept.password, hashed):
                kept = replace(kept, password=hashed)
        return await self.enter(kept, frozenset({BY_PASSWORD}))

    async def code(self, signed: Signed, code: str) -> Signed | Failed:
        """Return the session that a code completes."""
        account, secret = signed.account, signed.kept.secret
        if wait := await self._attempts.begin(CODE, account.id):
            await self.record(account, "second factor, waiting", done=False)
            return Failed(wait)
        step = step_of(secret, code, now=self._clock().timestamp(), after=signed.kept.step) if secret else None
        if step is None or not await self._users.take(account.id, step):
            await self.record(account, "second factor", done=False)
            return Failed()
        await self._attempts.succeeded(CODE, account.id)
        return await self._complete(signed, signed.kept)

    async def enrol(self, signed: Signed, secret: str, code: str) -> Signed | Failed:
        """Return the session that the first code of a new secret completes; the secret is kept from then on."""
        if wait := await self._attempts.begin(CODE, signed.account.id):
            await self.record(signed.account, "second factor, enrolment, waiting", done=False)
            return Failed(wait)
        step = step_of(secret, code, now=self._clock().timestamp(), after=0)
        if step is None or not await self._users.enrol(signed.account.id, secret, step=step):
            await self.record(signed.account, "second factor, enrolment", done=False)
            return Failed()
        await self._attempts.succeeded(CODE, signed.account.id)
        await self.record(signed.account, "second factor enrolled")
        return await self._complete(signed, replace(signed.kept, secret=secret))

    async def enter(self, kept: Kept, factors: frozenset[str], *, before: Session | None = None) -> Signed | Failed:
        """Return a new session. before: the one that it takes the place of, which was of the same person.

        Whoever disables an account or changes what proves it ends its sessions then. One that begins at that moment may
        be missed, so it looks itself, once it is stored, whether the account is still as it was.
        """
        cookie, session = await self._sessions.begin(kept.account.id, factors, at=before.at if before else None)
        now = await self._users.by_id(kept.account.id)
        if now is None or (now.disabled, now.password, now.secret) != (False, kept.password, kept.secret):
            await self._sessions.end(session)
            await self.record(kept.account, "changed meanwhile", done=False)
            return Failed()
        await self.record(kept.account, " ".join(sorted(factors)))
        return Signed(kept, session, cookie)

    async def leave(self, signed: Signed) -> None:
        """End a session."""
        await self._sessions.end(signed.session)
        await self.record(signed.account, None, what="sign-out")

    async def record(
        self, account: Account | None, note: str | None, *, done: bool = True, what: str = "sign-in"
    ) -> None:
        """Store the AuditEvent of a step. account: whom it is about, if that is anybody."""
        outcome, status = (Outcome.DONE, 200) if done else (Outcome.REFUSED, 401)
        requester = account.requester() if account else None
        at = microseconds(self._clock())
        await self._log.record(Happening(what, outcome, status, note=note), requester, at=at)

    async def _complete(self, signed: Signed, kept: Kept) -> Signed | Failed:
        """Return a session with a second factor; the one without it ends."""
        entered = await self.enter(kept, signed.session.factors | {BY_CODE}, before=signed.session)
        await self._sessions.end(signed.session)
        return entered
