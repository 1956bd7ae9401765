"""What a database remembers of the installation that fills it, so that no other one can spoil it unnoticed."""

from __future__ import annotations

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from fhir_server.store.commit import DURABLE

NAME = "installation"


class WrongInstallation(RuntimeError):
    """The database was filled under another keyring or time zone; the message says what to do."""


async def claim(database: AsyncDatabase[dict[str, Any]], *, keyring: str, zone: str) -> None:
    """Note in a new database under which keyring and zone it is filled; hold a filled one against them.

    keyring: the keyring's fingerprint. Raises WrongInstallation.
    """
    collection = database.get_collection(NAME, write_concern=DURABLE)
    found = await collection.find_one({"_id": NAME})
    if found is None:
        try:
            await collection.insert_one({"_id": NAME, "keyring": keyring, "zone": zone})
            return
        except DuplicateKeyError:  # another worker was first
            found = await collection.find_one({"_id": NAME}) or {}
    if found.get("keyring") != keyring:
        raise WrongInstallation(
            "The database was filled under another keyring, without which nothing in it can be read or found. "
            "Put the right keyring.json into the data folder, or name another database (FHIR_DATABASE)."
        )
    if found.get("zone") != zone:
        raise WrongInstallation(
            f"The database was filled with dates read in the time zone {found.get('zone')}, now it is {zone}. "
            f"Set FHIR_ZONE={found.get('zone')}."
        )
