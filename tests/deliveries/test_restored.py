"""What was purged since a backup, or is due when it is restored, does not come back with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fhir_server.app import keyring_of
from fhir_server.backup.reading import Backup
from fhir_server.store.keys import KEYS
from tests.commands.console import Console, console
from tests.databases import fresh
from tests.deliveries.world import World

LONG_AGO = datetime(2020, 1, 31, tzinfo=UTC)  # by any clock that commands go by, what came then is due


@pytest.fixture
def shells(world: World, mongo_uri: str) -> Iterator[tuple[Console, Console]]:
    """The command line on the server's database, and on an empty one."""
    settings = world.server.settings
    with fresh(mongo_uri) as elsewhere:
        yield console(mongo_uri, settings.database, settings.data), console(mongo_uri, elsewhere, settings.data)


def copies(world: World, shell: Console, delivery: str) -> tuple[int, int]:
    """Return how many records of a delivery a database holds, and how many keys."""
    database = world.database.client[shell.environment["FHIR_DATABASE"]]
    records = database["Observation"].count_documents({"dl": delivery})
    return records, database[KEYS].count_documents({"delivery": delivery})


def test_it_is_purged_before_anybody_reads_and_its_keys_leave_the_backup(
    world: World, shells: tuple[Console, Console], tmp_path: Path
) -> None:
    here, there = shells
    world.begin(end=LONG_AGO.date().isoformat()).at(LONG_AGO)
    delivery = world.receive()["delivery"]
    here.run("backup", tmp_path / "backup")
    assert copies(world, here, delivery) == (1, 1)
    there.run("restore", tmp_path / "backup")
    assert copies(world, there, delivery) == (0, 0)
    assert delivery in (world.purge() or ())
    assert re.match(r"[1-9]\d* purged data key", here.run("backup", tmp_path / "backup", "--forget-purged"))
    left = Backup.open(tmp_path / "backup", keyring_of(world.server.settings), None).last_state(KEYS)
    assert left
    assert not [each for each in left.values() if each.get("delivery") == delivery]
