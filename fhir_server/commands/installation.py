"""The installation that a command works on, and the options by which it is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from fhir_server.app import Parts, assemble, keyring_of
from fhir_server.audit.event import Happening
from fhir_server.auth.server.authority import Authority
from fhir_server.crypto.keyring import Keyring
from fhir_server.settings import Settings
from fhir_server.store.embedded import running

T = TypeVar("T")
# What the log calls a change to who may sign in and ask for tokens (audit/security.py).
CHANGED = "access-change"

say = Console(stderr=True)

Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the installation. Default: FHIR_DATA, else ./var.")
]
Host = Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on. Default: 8080.")]
Workers = Annotated[int | None, typer.Option(help="Worker processes. Default: 1.")]
Organization = Annotated[str, typer.Option(help="Id of the Organization (institution).")]


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation whose MongoDB runs. uri: the MongoDB URI."""

    settings: Settings
    keyring: Keyring
    uri: str

    def run(self, work: Callable[[Parts], Awaitable[T]], *, any_layout: bool = False) -> T:
        """Return what work returns of the wired parts. Raises WrongInstallation. any_layout: see Parts.ready."""

        async def within() -> T:
            async with self._assembled(any_layout=any_layout) as parts:
                return await work(parts)

        return asyncio.run(within())

    def prepare(self) -> None:
        """Make what the database needs, and see that it is this installation's, before anything is served or loaded."""

        async def nothing_more(parts: Parts) -> None:
            pass

        self.run(nothing_more)

    def authority(self, parts: Parts) -> Authority:
        """Return the authorization server."""
        return parts.authority(self.settings, self.keyring)

    @asynccontextmanager
    async def _assembled(self, *, any_layout: bool) -> AsyncIterator[Parts]:
        parts = assemble(self.settings, self.keyring, uri=self.uri)
        try:
            await parts.ready(any_layout=any_layout)
            yield parts
        finally:
            await parts.close()


@contextmanager
def opened(settings: Settings) -> Iterator[Installation]:
    """Yield an installation; its own MongoDB runs as long as this lasts."""
    keyring = keyring_of(settings)
    if settings.mongodb_uri:
        yield Installation(settings, keyring, settings.mongodb_uri)
        return
    with running(settings.data, announce=lambda text: say.print(text, style="dim")) as uri:
        yield Installation(settings, keyring, uri)


def at_authority(data: Path | None, work: Callable[[Authority], Awaitable[T]], *, told: str | None = None) -> T:
    """Return what work with the authorization server of an installation returns.

    data: the installation's folder. told: what the log is to say that the operator has changed, if anything.
    """
    with opened(Settings.load(data)) as installation:

        async def recorded(parts: Parts) -> T:
            done = await work(installation.authority(parts))
            if told:
                await record(parts, CHANGED, told)
            return done

        return installation.run(recorded)


async def record(parts: Parts, interaction: str, note: str) -> None:
    """Store the AuditEvent of what the operator did by a command; every institution's auditors see it."""
    use = parts.services
    await use.audit.record(Happening(interaction, note=f"command line; {note}"), None, at=use.now())
