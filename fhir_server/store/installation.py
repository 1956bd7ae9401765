"""What a database remembers of the installation that fills it, so that no other one can spoil it unnoticed."""

from __future__ import annotations

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from fhir_server.store.commit import DURABLE

NAME = "installation"
# Counts up when a version of this program files resources under other terms or fields than the one before it.
LAYOUT = 5
# Since then every document carries a mark (store/marks.py).
MARKED = 5

Database = AsyncDatabase[dict[str, Any]]


class WrongInstallation(RuntimeError):
    """The database was filled under another keyring, time zone or layout; the message says what to do."""


async def claim(database: Database, *, keyring: str, zone: str, any_layout: bool = False) -> None:
    """Note in a new database under what it is filled; hold a filled one against it.

    keyring: the keyring's fingerprint. any_layout: for those who are about to file everything anew.
    Raises WrongInstallation.
    """
    found = await _first(database, {"_id": NAME, "keyring": keyring, "zone": zone, "layout": LAYOUT})
    if "restoring" in found:
        raise WrongInstallation(
            "A backup is being restored into this database, and is not all there yet. Start the same command again, it "
            "goes on: fhir-facade restore"
        )
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
    if found.get("layout") != LAYOUT and not any_layout:
        raise WrongInstallation(
            "The records were indexed by another version of this program, so that not all of them would be found. "
            "Stop every server on this database and run: fhir-facade reindex"
        )


async def _first(database: Database, new: dict[str, Any]) -> dict[str, Any]:
    """Return what a database remembers; a new one remembers this from now on."""
    collection = database.get_collection(NAME, write_concern=DURABLE)
    found = await collection.find_one({"_id": NAME})
    if found is not None:
        return found
    try:
        await collection.insert_one(new)
    except DuplicateKeyError:  # another worker was first
        return await collection.find_one({"_id": NAME}) or {}
    return new


async def rebuilding(database: Database, filing: int | None = None) -> int | None:
    """Return under which number (store/numbers.py) everything is being filed anew, None if it is not; set it if given."""
    collection = database.get_collection(NAME, write_concern=DURABLE)
    if filing is not None:
        await collection.update_one({"_id": NAME}, {"$set": {"rebuilding": filing}})
        return filing
    found = await collection.find_one({"_id": NAME}) or {}
    return found.get("rebuilding")


async def unmarked(database: Database) -> bool:
    """Return whether the documents were stored, some of them at least, by a version that did not mark them."""
    found = await database[NAME].find_one({"_id": NAME}) or {}
    layout = found.get("layout")
    return not isinstance(layout, int) or layout < MARKED


async def laid_out(database: Database) -> None:
    """Note that everything is filed in the present layout."""
    collection = database.get_collection(NAME, write_concern=DURABLE)
    await collection.update_one({"_id": NAME}, {"$set": {"layout": LAYOUT}, "$unset": {"rebuilding": ""}})
