"""What all decisions of one request rest on, read once at its beginning."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from fhir_server.auth.memberships import Memberships
from fhir_server.auth.requester import Requester
from fhir_server.store.consents import Consents, Epochs
from fhir_server.store.numbers import Outdated
from fhir_server.store.persons import Persons

# Whether a stated reason counts (still) for the persons in context: the requester with it, or without.
Reasons = Callable[[Requester, Iterable[Hashable], datetime], Awaitable[Requester]]
# The person keys of those for whom somebody speaks at an instant, such as a guardian (consenting/speaking.py).
Spoken = Callable[[Requester, datetime], Awaitable[frozenset[Hashable]]]
Revoked = Callable[[Requester, Epochs], Awaitable[None]]  # raises Unauthenticated


@dataclass(frozen=True, slots=True)
class Sources:
    """Where it is read. definitions: the number of those that the request is read under (store/numbers.py)."""

    consents: Consents
    persons: Persons
    memberships: Memberships
    revoked: Revoked
    clock: Callable[[], datetime]
    reasons: Reasons
    spoken: Spoken
    definitions: int = 0


class RequestBasis:
    """The epochs, the person keys of the Patients whom the token names, and to whom the requester belongs.

    spoken: person keys of those for whom the requester speaks. damaged: ids of the AuditEvents met that do not open.

    requester: who asks; once the epochs are read, with a reason to break the glass only if it counts.
    """

    def __init__(self, sources: Sources, requester: Requester) -> None:
        self._sources = sources
        self._asking = self.requester = requester
        self.now = sources.clock()
        self.own: frozenset[Hashable] = frozenset()
        self.spoken: frozenset[Hashable] = frozenset()
        self.context: frozenset[Hashable] = frozenset()
        self.memberships: frozenset[str] = frozenset()
        self.damaged: dict[str, None] = {}
        self._begun: asyncio.Future[Epochs | None] | None = None
        self._persons: asyncio.Future[dict[str, int]] | None = None
        self._epochs: Epochs | None = None

    @property
    def closed(self) -> bool:
        """Whether a reason to break the glass was stated that does not count."""
        return self.requester is not self._asking

    def begin(self) -> None:
        """Start to read, unless that was started."""
        if self._begun is None:
            self._begun = self._sources.consents.begun()
            named = (self.requester.subject, self.requester.patient)
            if ids := {each.removeprefix("Patient/") for each in named if each}:
                self._persons = asyncio.ensure_future(self._sources.persons.keys(ids))
                self._persons.add_done_callback(_seen)

    async def epochs(self) -> Epochs:
        """Return the epochs.

        Raises Outdated if the definitions that the request is read under have changed, Unauthenticated if its token was
        revoked.
        """
        if self._epochs is None:
            self.begin()
            read = await self._sources.consents.epochs(self._begun)
            if self._persons is not None:
                keys = await self._persons
                self.own = _key_of(self.requester.subject, keys)
                self.context = _key_of(self.requester.patient, keys)
            if read.definitions != self._sources.definitions:
                raise Outdated
            await self._sources.revoked(self.requester, read)
            self.memberships = await self._sources.memberships.of(self.requester, read.memberships, self.now)
            self.spoken = await self._sources.spoken(self.requester, self.now)
            if self._asking.reason and self.context:
                self.requester = await self._sources.reasons(self._asking, self.context, self.now)
            self._epochs = read
        return self._epochs


def _seen(read: asyncio.Future[dict[str, int]]) -> None:
    """Look at how a reading ended: a request that fails before it needs it leaves it to itself."""
    if not read.cancelled():
        read.exception()


def _key_of(patient: str | None, keys: Mapping[str, int]) -> frozenset[Hashable]:
    return frozenset({keys[patient.removeprefix("Patient/")]}) if patient else frozenset()
