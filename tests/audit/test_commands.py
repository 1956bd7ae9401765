"""fhir-facade audit …, as an operator uses it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from typer.testing import CliRunner, Result

from fhir_server.audit.anchors import ANCHORS, KEPT_FILE
from fhir_server.cli import app
from fhir_server.store.ids import new_id
from tests.audit.logs import DOCTOR
from tests.live import live

EVENTS = 3


@pytest.fixture
def folder(mongo_uri: str, database_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installation that has served some requests."""
    with (
        live(mongo_uri, tmp_path, database=database_name) as server,
        server.client("practitioner", DOCTOR.user) as doctor,
    ):
        for n in range(EVENTS):
            assert doctor.get(f"Patient/p{n}").status_code == 404
    for name, value in {"DATA": tmp_path, "MONGODB_URI": mongo_uri, "DATABASE": database_name, "ZONE": "UTC"}.items():
        monkeypatch.setenv(f"FHIR_{name}", str(value))
    return tmp_path


@pytest.fixture
def database(mongo_uri: str, database_name: str) -> Iterator[Any]:
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        yield client[database_name]


def run(*words: str, status: int = 0) -> Result:
    done = CliRunner().invoke(app, ["audit", *words])
    assert done.exit_code == status, done.output
    return done


def test_verify_tells_what_was_done_and_ends_with_1(folder: Path, database: Any) -> None:
    told = json.loads(run("verify", "--json", "--index").stdout)
    assert (told["intact"], told["events"], told["findings"]) == (True, EVENTS, [])
    assert "Nothing was changed." in run("verify").stdout
    gone = database["AuditEvent"].find_one_and_delete({"chain.n": 2})
    changed = database["AuditEvent"].find_one_and_update({"chain.n": 3}, {"$set": {"org": "org2"}})
    said = run("verify", status=1).stdout
    assert f"removed: event 2 of writer {gone['chain']['by']}" in said
    assert f"changed: event 3 of writer {gone['chain']['by']} ({changed['_id']})" in said
    told = json.loads(run("verify", "--json", status=1).stdout)
    assert [(each["kind"], each["ids"]) for each in told["findings"]] == [
        ("removed", []),
        ("changed", [changed["_id"]]),
    ]
    run("verify", "--since", "2100-01-01")


def inserted(log: Any) -> None:
    event = log.find_one({"chain.n": 2})
    log.insert_one({**event, "_id": new_id(), "chain": {**event["chain"], "n": 9}})


def reordered(log: Any) -> None:
    for n, other in ((1, -1), (2, 1), (-1, 2)):
        log.update_one({"chain.n": n}, {"$set": {"chain.n": other}})


TAMPERINGS: dict[str, tuple[Callable[[Any], object], str]] = {
    "changed": (lambda log: log.update_one({"chain.n": 2}, {"$set": {"body": b"x"}}), "event 2 of writer"),
    "removed": (lambda log: log.delete_one({"chain.n": 2}), "event 2 of writer"),
    "inserted": (inserted, "event 9 of writer"),
    "reordered": (reordered, "event 1 of writer"),
    "truncated": (lambda log: log.delete_many({"chain.n": {"$gt": 1}}), f"event 2-{EVENTS} of writer"),
    "misfiled": (lambda log: log.update_one({"chain.n": 2}, {"$set": {"ix": []}}), "event ("),
}


def test_verify_names_whatever_was_done(folder: Path, database: Any) -> None:
    log = database["AuditEvent"]
    kept = list(log.find())
    for kind, (tamper, named) in TAMPERINGS.items():
        tamper(log)
        said = run("verify", status=1).stdout
        assert f"{kind}: {named}" in said
        log.delete_many({})
        log.insert_many(kept)
    run("verify")


def test_a_tail_that_was_cut_off_with_its_anchors_is_named(folder: Path, database: Any) -> None:
    """What is left of the database fits together: the anchor that is kept in the data folder tells."""
    database["AuditEvent"].delete_many({})
    database[ANCHORS].delete_many({"_id": {"$gt": 0}})
    said = run("verify", status=1).stdout
    assert "truncated: anchor" in said or "removed: anchor" in said
    (folder / KEPT_FILE).unlink()
    run("verify")


def test_an_anchor_that_was_printed_convicts_what_was_cut_off(folder: Path, database: Any, tmp_path: Path) -> None:
    printed = tmp_path / "kept-elsewhere.json"
    printed.write_text(run("anchor", "--print").stdout)
    newest = database[ANCHORS].find_one(sort=[("_id", -1)])
    assert json.loads(printed.read_text())["seq"] == newest["_id"]
    run("verify", "--known", str(printed))
    database["AuditEvent"].drop()
    database[ANCHORS].drop()
    assert "TAMPERED" in run("verify", status=1).stdout  # by the one in the data folder
    (folder / KEPT_FILE).unlink()
    run("verify")
    assert "removed: anchor" in run("verify", "--known", str(printed), status=1).stdout
    printed.write_text("nonsense")
    run("verify", "--known", str(printed), status=2)


def test_what_a_server_that_was_killed_left_is_anchored(folder: Path, database: Any) -> None:
    database[ANCHORS].delete_one({"kind": "closed"})
    (folder / KEPT_FILE).unlink()
    assert f"Not yet anchored: 1-{EVENTS}" in run("verify").stdout
    assert "Chains anchored now: 1." in run("anchor").stdout
    assert "Not yet anchored" not in run("verify").stdout


def test_expire_tells_how_much_was_removed_and_is_an_event_itself(folder: Path, database: Any) -> None:
    assert run("expire").stdout == "0 events older than 10958 days were removed.\n"
    assert database["AuditEvent"].count_documents({}) == EVENTS + 1
    assert json.loads(run("verify", "--json").stdout)["events"] == EVENTS + 1
