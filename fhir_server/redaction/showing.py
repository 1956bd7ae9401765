"""The bodies of records as the requester is shown them: what their gate withholds of each is taken out.

No body leaves the store for an answer but through here (tests/redaction/test_exits.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from weakref import WeakKeyDictionary

from consent_engine.predicate import holds
from fhir_server.auth.gate import RequestGate
from fhir_server.fhir_json import dump, parse
from fhir_server.interactions.call import Services
from fhir_server.interactions.together import all_of
from fhir_server.redaction import sections
from fhir_server.redaction.elements import masked
from fhir_server.redaction.marks import Json
from fhir_server.search.types.span import Here
from fhir_server.store.history import Version
from fhir_server.store.permitted import Due, Permitted, persons_of, record_of
from fhir_server.store.resources import Document

# In JSON as this server writes it; within a text each quotation mark stands behind a backslash.
CONTAINS = b'"contained":['
# A permission may outlive the request; what follows from it is worked out once.
_known: WeakKeyDictionary[Permitted, Due] = WeakKeyDictionary()


async def shown(use: Services, gate: RequestGate, type: str, documents: Sequence[Document]) -> list[bytes]:
    """Return the JSON of documents of one type, which the gate has admitted, as its requester is shown them."""
    return await as_shown(use, gate, type, documents, await use.resources.opened(type, documents))


async def shown_versions(use: Services, gate: RequestGate, versions: Sequence[Version]) -> list[bytes | None]:
    """Return the JSON of each version, which the gate has admitted, as its requester is shown it; None of a deletion."""
    bodies = await use.history.bodies(versions)
    by_type: dict[str, list[int]] = {}
    for place, version in enumerate(versions):
        if bodies[place] is not None:
            by_type.setdefault(version.type, []).append(place)
    found = await all_of(
        as_shown(
            use, gate, type, [versions[each].document for each in places], [bodies[each] or b"" for each in places]
        )
        for type, places in by_type.items()
    )
    for places, each in zip(by_type.values(), found, strict=True):
        for place, body in zip(places, each, strict=True):
            bodies[place] = body
    return bodies


async def as_shown(
    use: Services, gate: RequestGate, type: str, documents: Sequence[Document], bodies: Sequence[bytes]
) -> list[bytes]:
    """Return opened bodies as the gate's requester is shown them; of what is shown whole, the same objects."""
    due = await _due(use, gate, type, documents, bodies)
    if not due and type != sections.TYPE:
        return list(bodies)
    before: list[Json] = [parse(each) for each in bodies]
    after = await _without_sections(use, gate, before) if type == sections.TYPE else before
    after = [_masked(use, type, document, each, due) for document, each in zip(documents, after, strict=True)]
    return [body if new is old else dump(new) for body, old, new in zip(bodies, before, after, strict=True)]


async def is_partial(use: Services, gate: RequestGate, type: str, document: Document) -> bool:
    """Return whether the gate's requester is shown a document only in part."""
    if type != sections.TYPE:
        permitted = await _permitted(use, gate, type, [document])
        if permitted is None or not _of_all_types(use, permitted):
            return False
    (whole,) = await use.resources.opened(type, [document])
    (part,) = await as_shown(use, gate, type, [document], [whole])
    return part is not whole


async def due_overall(use: Services, gate: RequestGate, type: str) -> Due:
    """Return the obligations that may bind for any document of a type that the gate admits."""
    return _of_all_types(use, await gate.overall()) if type in use.gatekeeper.personal else ()


async def _due(
    use: Services, gate: RequestGate, type: str, documents: Iterable[Document], bodies: Sequence[bytes]
) -> Due:
    """Return the obligations that may bind for documents of a type: on its own elements, and of what they contain."""
    permitted = await _permitted(use, gate, type, documents)
    if permitted is None:
        return ()
    contains = any(CONTAINS in each for each in bodies)
    return _of_all_types(use, permitted) if contains else permitted.obligations(type)


async def _permitted(use: Services, gate: RequestGate, type: str, documents: Iterable[Document]) -> Permitted | None:
    """Return what the gate permits of the persons of documents; None where they are no person's."""
    if type not in use.gatekeeper.personal:
        return None
    persons = frozenset(person for each in documents for person in persons_of(each))
    return await gate.among(persons) if persons else None


def _of_all_types(use: Services, permitted: Permitted) -> Due:
    """Return the obligations on elements of every type: a resource may contain others."""
    known = _known.get(permitted)
    if known is None:
        every = dict.fromkeys(each for type in sorted(use.registry.types) for each in permitted.obligations(type))
        known = _known[permitted] = tuple(every)
    return known


def _masked(use: Services, type: str, document: Document, resource: Json, due: Due) -> Json:
    if not due:
        return resource
    record = record_of(type, document)
    elements = {obligation.element for obligation, when in due if holds(when, record)}
    return masked(use.registry, resource, elements) if elements else resource


async def _without_sections(use: Services, gate: RequestGate, compositions: Sequence[Json]) -> list[Json]:
    """Return Compositions without the sections that refer to what the requester may not read."""
    here = Here(use.zone, use.settings.public_base)
    referred = {each for one in compositions for each in sections.referred(one, here)}
    hidden = await _hidden(use, gate.lettered("r"), referred) if referred else set()
    return [sections.without(each, hidden, here) if hidden else each for each in compositions]


async def _hidden(use: Services, gate: RequestGate, references: Iterable[str]) -> set[str]:
    """Return those of the references to types served here behind which the gate admits nothing: one look-up for a type."""
    by_type: dict[str, list[str]] = {}
    for each in sorted(references):
        type, _, id = each.partition("/")
        if type in use.registry.types:
            by_type.setdefault(type, []).append(id)
    found: Sequence[Mapping[str, Document]] = await all_of(
        use.resources.many(type, ids, gate) for type, ids in by_type.items()
    )
    return {
        f"{type}/{id}"
        for (type, ids), there in zip(by_type.items(), found, strict=True)
        for id in ids
        if id not in there
    }
