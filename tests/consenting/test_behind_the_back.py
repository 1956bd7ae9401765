"""How far an authorization is, is held to what the server stored: nobody who writes to MongoDB takes a patient's step."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient

from tests.consenting.world import asked, both, done, person, step
from tests.live import Live


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (61, {"$inc": {"version": 1}}),
        (62, {"$set": {"state": "active"}}),
        (63, {"$inc": {"until": 10**12}}),
        (64, {"$unset": {"m": ""}}),
    ],
)
def test_no_step_is_taken_by_a_row_that_was_changed(
    server: Live, mongo_uri: str, number: int, change: dict[str, Any]
) -> None:
    name = f"changed{number}"
    person(server, name, number)
    with both(server, name) as (asking, answering), MongoClient[dict[str, Any]](mongo_uri) as mongo:
        id = asked(asking, f"{name}-1")
        rows = mongo[server.settings.database]["authorizations"]
        before = rows.find_one({"_id": id})
        assert before is not None
        rows.update_one({"_id": id}, change)
        assert step(answering, id, "confirm").status_code == 500
        rows.replace_one({"_id": id}, before)
        assert done(answering, id, "confirm")["status"] == "active"
