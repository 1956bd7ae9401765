"""The search parameters that are in force: R4's and the operator's own, as one frozen set of services for each state.

A request is carried out under one set from beginning to end. If its gate hears that the definitions have changed, it is
begun anew under those that are in force then (interactions/perform.py); what it would have stored is kept out by the
fence (store/numbers.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.definitions.registry import Component, Registry, SearchParameter
from fhir_server.search.matches import Matches
from fhir_server.search.project import Projector
from fhir_server.search.sorting import SortValues
from fhir_server.store.coalesce import Coalesced
from fhir_server.store.numbers import Fence, Numbers, numbers
from fhir_server.store.writing import Writer

if TYPE_CHECKING:
    from fhir_server.interactions.call import Services

PARAMETERS = "search_parameters"


@dataclass(frozen=True, slots=True)
class Row:
    """One search parameter of the operator's own on one base, as the store remembers it.

    of: id of the SearchParameter resource. revision: another one for every new meaning. built: all records are filed
    under it, so it is answered.
    """

    of: str
    parameter: SearchParameter
    revision: str
    built: bool

    @property
    def key(self) -> str:
        return f"{self.parameter.base}?{self.parameter.code}"

    def as_asked(self) -> SearchParameter:
        """Return the parameter as requests see it: it is refused until it is built."""
        return self.parameter if self.built else replace(self.parameter, building=True)

    def document(self) -> dict[str, Any]:
        """Return what the store keeps of it, without its id."""
        said = self.parameter
        parts = [[part.code, part.type, part.expression] for part in said.components]
        says = [said.base, said.code, said.type, said.expression, list(said.targets), parts, said.url]
        return {"of": self.of, "says": says, "revision": self.revision, "built": self.built}


def read_row(document: Mapping[str, Any]) -> Row:
    """Return a row as the store keeps it."""
    base, code, type, expression, targets, parts, url = document["says"]
    components = tuple(Component(*part) for part in parts)
    parameter = SearchParameter(base, code, type, expression, tuple(targets), components, url)
    return Row(document["of"], parameter, document["revision"], document["built"])


class Filing(NamedTuple):
    """The services that depend on what resources are filed under."""

    projector: Projector
    matches: Matches
    sort_values: SortValues
    writer: Writer


class Definitions:
    """Holds the services of the state that this process knows, and learns of the next.

    filing: makes the parts that file resources, and read them, under some definitions.
    """

    def __init__(
        self,
        database: AsyncDatabase[dict[str, Any]],
        standard: Registry,
        fence: Fence,
        filing: Callable[[Registry], Filing],
    ) -> None:
        self._database = database
        self._filing = filing
        self._fence = fence
        self._renewals = Coalesced[bool, None](self._renew)
        self._entered: int | None = None
        self.standard = standard
        self.numbers = Numbers()
        self.rows: tuple[Row, ...] = ()
        self._filed: tuple[int, Filing] | None = None

    def begin(self, services: Services) -> None:
        """Take over the services as they are under R4's own definitions."""
        self._first = self.services = services

    async def renew(self, *, entering: bool = False) -> None:
        """Learn of the definitions as they stand now, or later. entering: the fence did not let this process through."""
        await self._renewals.get(entering)

    async def _renew(self, entering: list[bool]) -> Mapping[bool, None]:
        """Learn of them once for all who wait for it: each search that is refused does."""
        if True in entering:
            self._entered = None
        found = await numbers(self._database)
        while found != self.numbers or self._entered != found.filing:
            rows = await self._database[PARAMETERS].find().to_list()
            await self._fence.enter(found.filing)
            self._entered = found.filing
            again = await numbers(self._database)
            if again == found:
                self._adopt(found, tuple(read_row(each) for each in rows))
            found = again
        return {}

    def _adopt(self, found: Numbers, rows: tuple[Row, ...]) -> None:
        rows = tuple(each for each in rows if self._free(each.parameter))
        asked = self.standard.extended((each.as_asked() for each in rows), found.filing)
        if self._filed is None or self._filed[0] != found.filing:
            filed = self.standard.extended((each.parameter for each in rows), found.filing)
            self._filed = found.filing, self._filing(filed)
        gatekeeper = self._first.gatekeeper.under(found.heard)
        self.services = replace(self._first, registry=asked, gatekeeper=gatekeeper, **self._filed[1]._asdict())
        self.numbers, self.rows = found, rows

    def _free(self, parameter: SearchParameter) -> bool:
        """Return whether nothing of the server's own stands in the way, as may be after an upgrade."""
        return parameter.base in self.standard.types and parameter.code not in self.standard.parameters(parameter.base)

    def unbuilt(self) -> tuple[Row, ...]:
        """Return the parameters that still have to be built."""
        return tuple(each for each in self.rows if not each.built)


def bases(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the types whose resources are to be filed under these parameters."""
    return tuple(sorted({each.parameter.base for each in rows}))
