"""What an institution may say of its own people: that they are its staff, in its roles and departments, as stored here.

A Consent opens records to a department or a role by its id. So an institution that names another's would open to itself
what was granted to the other: what it has not stored here itself counts for nothing, nor does a department under whose id
records are kept, since that is an institution of its own.
"""

from __future__ import annotations

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

from fhir_server.store.marks import Marks
from fhir_server.store.resources import WITHOUT_BODY

Database = AsyncDatabase[dict[str, Any]]
# Whoever keeps one of these is an institution.
KEPT_BY_INSTITUTIONS = ("Organization", "Practitioner", "Patient")


async def stored_by(database: Database, marks: Marks, reference: str, organization: str) -> bool:
    """Return whether an institution has stored this resource ("Type/id") itself.

    Raises ChangedInStore if that was changed behind the server's back.
    """
    type, _, id = reference.partition("/")
    found = await database[type].find_one({"_id": id, "org": organization}, WITHOUT_BODY)
    marks.check(type, [found] if found else ())
    return found is not None


async def is_department(database: Database, marks: Marks, id: str, organization: str) -> bool:
    """Return whether an Organization is an institution itself, or one that it has stored and that keeps no records."""
    if id == organization:
        return True
    if not await stored_by(database, marks, f"Organization/{id}", organization):
        return False
    for type in KEPT_BY_INSTITUTIONS:
        if await database[type].find_one({"org": id}, {"_id": 1}) is not None:
            return False
    return True
