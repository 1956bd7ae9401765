"""The person that a Patient in a search means: the other Patients of theirs, as far as the requester may know."""

from __future__ import annotations

from collections.abc import Mapping

from consent_engine.predicate import holds
from fhir_server.auth.gate import RequestGate
from fhir_server.interactions.call import Services
from fhir_server.redaction.showing import due_overall
from fhir_server.store.permitted import record_of
from fhir_server.store.persons import person_term
from fhir_server.store.resources import Document, Sort

# Patients of the persons of one search.
MOST_PATIENTS = 5_000
BY_ID: Sort = [("_id", 1)]
# The element by whose number Patients are known to be one person's (store/persons.py).
NUMBERS = ["Patient", "identifier"]


class Persons:
    """The Patients that one search asks for, as far as the requester may see them; each looked up once.

    A Patient that the requester may not see links nothing: a server without it would not know of the link either.
    """

    def __init__(self, use: Services, gate: RequestGate) -> None:
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
        linked = {each["me"] for id, each in (await self._linking(seen)).items() if each["me"] != alone(id)}
        if not linked or not self._use.settings.person_search:
            return []
        filter = {"ix": {"$in": sorted(self._use.term(person_term(key)) for key in linked)}}
        rows = await self._use.resources.find("Patient", filter, self._gate, sort=BY_ID, limit=MOST_PATIENTS)
        found = await self._linking({row["_id"]: row for row in rows})
        return [f"Patient/{id}" for id in found if id not in seen]

    async def _linking(self, patients: Mapping[str, Document]) -> Mapping[str, Document]:
        """Return those of Patients whose number the requester is shown: one that is withheld links nobody."""
        due = await due_overall(self._use, self._gate, "Patient")
        bound = [when for obligation, when in due if obligation.element.split(".")[:2] == NUMBERS]
        if not bound:
            return patients
        records = {id: record_of("Patient", each) for id, each in patients.items()}
        return {id: patients[id] for id, record in records.items() if not any(holds(when, record) for when in bound)}
