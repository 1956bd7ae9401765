"""Facts: the resources on which the reading of a Consent rests, as they are now (consent_engine/facts.py)."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from fhir_server.fhir_json import parse
from fhir_server.store.marks import FIELD
from fhir_server.store.resources import Resources, Ungated

KNOWN_FACTS = 20_000
NEVER: tuple[None, bytes] = (None, b"")


class Fact(NamedTuple):
    """A resource as it is now. custodian: the institution that it belongs to."""

    version: int
    custodian: str
    resource: Mapping[str, Any]


class Facts:
    """Finds facts; what was opened once is opened anew when there is another version of it, or another mark."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._gate = Ungated("what Consents rest on")
        self._opened: OrderedDict[tuple[str, int], tuple[Fact, bytes]] = OrderedDict()

    async def now(self, references: Iterable[str]) -> dict[str, Fact]:
        """Return those of the resources ("Type/id") that there are."""
        ids: defaultdict[str, list[str]] = defaultdict(list)
        for reference in references:
            type, _, id = reference.partition("/")
            ids[type].append(id)
        found: dict[str, Fact] = {}
        for type, wanted in ids.items():
            documents = await self._resources.many(type, wanted, self._gate)
            found |= await self._open(type, list(documents.values()))
        return found

    async def _open(self, type: str, documents: Collection[Mapping[str, Any]]) -> dict[str, Fact]:
        found: dict[str, Fact] = {}
        new: list[dict[str, Any]] = []
        for document in documents:
            reference = f"{type}/{document['_id']}"
            known, mark = self._opened.get((reference, document["v"]), NEVER)
            if known and mark == document.get(FIELD):
                found[reference] = known
            else:
                new.append(dict(document))
        bodies = await self._resources.opened(type, new) if new else []
        for document, body in zip(new, bodies, strict=True):
            reference = f"{type}/{document['_id']}"
            found[reference] = Fact(document["v"], document["org"], parse(body))
            self._opened[reference, document["v"]] = found[reference], document[FIELD]
        while len(self._opened) > KNOWN_FACTS:
            self._opened.popitem(last=False)
        return found
