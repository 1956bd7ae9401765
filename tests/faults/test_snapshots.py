"""Transactions whose snapshot MongoDB gives up (SnapshotUnavailable, as while indexes are made) are begun again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from tests.consenting.world import ASKS, asked, both, done, organization, person
from tests.databases import fresh
from tests.live import live

Json = dict[str, Any]
WRITTEN = ("Consent", "Provenance", "AuditEvent", "authorizations", "authorization_ends", "outbox")
LIVES = 3


@contextmanager
def indexes_come_and_go(database: Database[Json]) -> Iterator[None]:
    """Make and drop an index of each collection that a step writes to, over and over."""
    over = threading.Event()

    def come_and_go(name: str) -> None:
        while not over.is_set():
            database[name].create_index([("nothing", 1)], name="nothing")
            database[name].drop_index("nothing")

    threads = [threading.Thread(target=come_and_go, args=(each,)) for each in WRITTEN]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        over.set()
        for each in threads:
            each.join()


def test_steps_are_taken_while_snapshots_are_lost(mongo_uri: str, tmp_path: Path) -> None:
    with fresh(mongo_uri) as name, live(mongo_uri, tmp_path, database=name) as server:
        server.put(organization(ASKS, "第一人民医院"), organization=ASKS)
        person(server, "lost", 901)
        with (
            MongoClient[Json](mongo_uri) as client,
            both(server, "lost") as (asking, answering),
            indexes_come_and_go(client[name]),
        ):
            for _ in range(LIVES):
                id = asked(asking, "lost-1")
                done(answering, id, "confirm")
                done(answering, id, "revoke")
        with MongoClient[Json](mongo_uri) as client:
            kinds = [each["kind"] for each in client[name]["outbox"].find().sort("place", 1)]
            assert kinds == ["consent-active", "consent-revoked"] * LIVES
