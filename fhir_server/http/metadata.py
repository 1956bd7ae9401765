"""GET [base]/metadata: the CapabilityStatement of the definitions that are in force, in every form."""

from __future__ import annotations

from contextlib import suppress

from pymongo.errors import PyMongoError

from fhir_server.definitions.registry import Registry
from fhir_server.fhir_json import dump
from fhir_server.http import media
from fhir_server.http.media import Presentation
from fhir_server.http.representation import represented
from fhir_server.interactions.call import Services
from fhir_server.interactions.capabilities import capability_statement


class Metadata:
    """Makes the statement once for each state of the definitions, and once more for each form that is asked for."""

    def __init__(self, use: Services, *, base: str, version: str) -> None:
        self._use = use
        self._base = base
        self._version = version
        self._of: Registry | None = None
        self._shown: dict[Presentation, bytes] = {}

    async def shown(self, how: Presentation) -> bytes:
        """Return the statement as it is asked for."""
        registry = await self._present()
        if registry is not self._of:
            self._of, self._shown = registry, {Presentation(): self._made(registry)}
        forms = self._shown  # those of this state, whatever comes meanwhile
        how = how._replace(said=())  # there are no links in it
        if how not in forms:
            forms[how] = await represented(forms[Presentation()], how)
        return forms[how]

    async def _present(self) -> Registry:
        with suppress(PyMongoError):  # without the store it is told as far as this process knows
            await self._use.definitions.renew()
        return self._use.definitions.services.registry

    def _made(self, registry: Registry) -> bytes:
        return dump(
            capability_statement(
                registry,
                self._use.settings,
                base=self._base,
                version=self._version,
                formats=media.FORMATS,
                patches=media.PATCHES,
            )
        )
