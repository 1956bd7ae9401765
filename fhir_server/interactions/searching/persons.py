"""The person that a Patient in a search means: the other Patients of theirs, as far as the requester may know."""

from __future__ import annotations

from fhir_server.interactions.call import Services
from fhir_server.store.persons import person_term
from fhir_server.store.resources import Document, Gate, Sort

# Patients of the persons of one search.
MOST_PATIENTS = 5_000
BY_ID: Sort = [("_id", 1)]


class Persons:
    """The Patients that one search asks for, as far as the requester may see them; each looked up once.

    A Patient that the requester may not see links nothing: a server without it would not know of the link either.
    """

    def __init__(self, use: Services, gate: Gate) -> None:
        self._use = use
        self._gate = gate
        self._seen: dict[tuple[str, ...], dict[str, Document]] = {}

    async def seen(self, references: tuple[str, ...]) -> dict[str, Document]:
        """Return, by id, the Patients out of these that the requester may see."""
        if references not in self._seen:
            ids = [each.removeprefix("Patient/") for each in references]
            self._seen[references] = await self._use.resources.many("Patient", ids, self._gate)
        return self._seen[references]

    async def others(self, references: tuple[str, ...]) -> list[str]:
        """Return the references to the other Patients, out of those seen, of the same persons."""
        seen = await self.seen(references)
        alone = self._use.gatekeeper.persons.own_key
        # A key that comes from the Patient's own id is nobody else's.
        linked = {each["me"] for id, each in seen.items() if each["me"] != alone(id)}
        if not linked or not self._use.settings.person_search:
            return []
        filter = {"ix": {"$in": sorted(self._use.term(person_term(key)) for key in linked)}}
        rows = await self._use.resources.find(
            "Patient", filter, self._gate, sort=BY_ID, limit=MOST_PATIENTS, shown={"_id": 1}
        )
        return [f"Patient/{row['_id']}" for row in rows if row["_id"] not in seen]
