"""What the pages of sign-in and approval work with, and one request to them as far as it is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from fhir_server.auth.accounts.flows import Flow, Flows
from fhir_server.auth.accounts.picking import Picking
from fhir_server.auth.accounts.providers import Providers
from fhir_server.auth.accounts.sessions import Sessions
from fhir_server.auth.accounts.signing_in import SigningIn
from fhir_server.auth.accounts.steps import Signed, Step, next_step
from fhir_server.auth.accounts.users import Users
from fhir_server.auth.server.asking import Asked
from fhir_server.auth.server.authorizations import Authorizations
from fhir_server.auth.server.launches import Launches
from fhir_server.auth.server.vault import Vault
from fhir_server.interactions.call import Services

Errors = tuple[tuple[str | None, str], ...]


@dataclass(frozen=True, slots=True)
class Reception:
    """The parts, joined once in wiring.py. origin: of this server, without a slash at the end."""

    use: Services
    users: Users
    sessions: Sessions
    flows: Flows
    signing_in: SigningIn
    launches: Launches
    providers: Providers
    authorizations: Authorizations
    vault: Vault
    origin: str
    clock: Callable[[], datetime]

    @property
    def secure(self) -> bool:
        """Whether cookies are for https only."""
        return self.origin.startswith("https:")

    def now(self) -> int:
        """Return the present instant in seconds since 1970."""
        return int(self.clock().timestamp())


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a browser on its way to an app.

    cookie: the one that it has from now on. asked: None without an app. source: the address that it comes from.
    """

    cookie: str
    flow: Flow
    asked: Asked | None
    signed: Signed | None
    source: str

    def step(self, desk: Reception) -> Step:
        """Return the step that is to be taken next."""
        return next_step(self.signed, self.flow, self.asked, now=desk.now())

    def picking(self, desk: Reception) -> Picking:
        """Return what chooses patients and visits on behalf of whoever is signed in, for the purpose they chose."""
        if self.signed is None or self.flow.purpose is None:
            raise PermissionError("Nobody is signed in for a purpose.")
        return Picking(desk.use, self.signed.account, self.flow.purpose, self.flow.reason)

    async def kept(self, desk: Reception, **chosen: object) -> Visit:
        """Return the visit with what was chosen, stored."""
        flow = replace(self.flow, **chosen)  # type: ignore[arg-type]  # names and types are the fields' of Flow
        return replace(self, flow=await desk.flows.keep(flow, self.cookie))

    async def entered(self, desk: Reception, signed: Signed) -> Visit:
        """Return the visit of somebody who has signed in: what somebody else chose before is forgotten."""
        flow = self.flow.begun_anew()
        await desk.flows.keep(flow, signed.cookie)
        return replace(self, flow=flow, cookie=signed.cookie, signed=signed)
