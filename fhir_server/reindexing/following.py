"""What a write of a SearchParameter does to what can be searched: stored in the same unit as the write itself."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

from fhir_server.definitions.registry import Registry
from fhir_server.errors import Forbidden
from fhir_server.interactions.call import Call, Services
from fhir_server.reindexing.definitions import PARAMETERS, Row
from fhir_server.reindexing.parameters import custom_parameters
from fhir_server.store.commit import Unit
from fhir_server.store.drafts import Draft, Removal
from fhir_server.store.numbers import EPOCHS, changed

TYPE = "SearchParameter"


def follow(use: Services, call: Call, drafts: Sequence[Draft], removals: Sequence[Removal], unit: Unit) -> None:
    """Add to a unit what its SearchParameters put in force or out of it, if an operator writes them.

    The SearchParameters of everybody else are resources like any other. Raises InvalidResource if one cannot be put
    in force, Forbidden if somebody else changes one that is.
    """
    written = {each.id: each for each in drafts if each.type == TYPE}
    touched = {*written, *(each.id for each in removals if each.type == TYPE)}
    before = [row for row in use.definitions.rows if row.of in touched]
    if not touched:
        return
    if call.requester.user in use.settings.operators:
        _put(unit, before, _in_force(use, written.values(), but=touched))
    elif before:
        raise Forbidden("This search parameter is in force: only an operator may change it.")


def _in_force(use: Services, drafts: Iterable[Draft], *, but: AbstractSet[str]) -> list[Row]:
    """Return the rows of what drafts put in force beside the others, and each beside those before it.

    but: the ids of the SearchParameters that are being written.
    """
    parameters = [row.parameter for row in use.definitions.rows if row.of not in but]
    rows: list[Row] = []
    for draft in drafts:
        made = _rows(draft, use.definitions.standard.extended(parameters, 0))
        rows += made
        parameters += [row.parameter for row in made]
    return rows


def _rows(draft: Draft, known: Registry) -> list[Row]:
    if draft.resource["status"] != "active":
        return []
    revision = secrets.token_hex(8)
    return [Row(draft.id, each, revision, built=False) for each in custom_parameters(draft.resource, known)]


def _put(unit: Unit, before: Sequence[Row], after: Sequence[Row]) -> None:
    """Add what is new, or means something else, and remove what is gone. What means the same stays as it is."""
    standing = {row.key: row for row in before}
    new = [row for row in after if row.key not in standing or row.parameter != standing[row.key].parameter]
    gone = standing.keys() - {row.key for row in after}
    for row in new:
        unit.touch(PARAMETERS, {"_id": row.key, "of": row.of}, {"$set": row.document()})
    for key in sorted(gone):
        unit.delete(PARAMETERS, {"_id": key, "revision": standing[key].revision})
    if new or gone:
        unit.touches[EPOCHS].append(changed(filing=True))
