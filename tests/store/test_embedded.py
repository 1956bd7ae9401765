"""The embedded MongoDB: a real mongod through every way in which it, or a command that uses it, can come and go."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import OperationFailure

from fhir_server.store import embedded
from fhir_server.store.embedded import Folder, MongoUnavailable, mongod, running

COMMAND = """
import sys
from pathlib import Path
from pymongo import MongoClient
from fhir_server.store.embedded import running
with running(Path(sys.argv[1]), cache_gb=0.25) as uri:
    with MongoClient(uri) as client:
        client.shop.visits.insert_one({})
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A folder of a name that is hard on programs; whatever still runs in it is stopped."""
    data = tmp_path / "医院 the 'first'"
    yield data
    if pid := Folder(data).owner():
        os.kill(pid, signal.SIGKILL)


def owner(data: Path) -> int:
    """Return the process id of the folder's mongod, which must be running."""
    pid = Folder(data).owner()
    assert pid is not None
    return pid


def port(data: Path) -> int:
    return int(json.loads((data / "mongo.json").read_text())["port"])


def visits(uri: str) -> int:
    with MongoClient(uri) as client:
        return client.shop.visits.count_documents({})


def visit(data: Path) -> int:
    """Use the folder's MongoDB once; return how many have done so."""
    with running(data, cache_gb=0.25) as uri:
        with MongoClient(uri) as client:
            client.shop.visits.insert_one({})
        return visits(uri)


def command(data: Path) -> subprocess.Popen[str]:
    """Start another process that uses the folder's MongoDB until it is told to leave."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def told_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    assert process.stdout.readline() == "ready\n"


def leave(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=30)
    assert process.returncode == 0


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=30)


def test_it_serves_both_kinds_of_client_with_transactions(data: Path) -> None:
    async def with_transaction(uri: str) -> int:
        async with AsyncMongoClient(uri) as client, client.start_session() as session:
            async with await session.start_transaction():
                await client.shop.visits.insert_one({}, session=session)
            return await client.shop.visits.count_documents({})

    with running(data, cache_gb=0.25) as uri:
        assert re.fullmatch(
            r"mongodb://fhir:[\w-]{32}@127\.0\.0\.1:\d+/\?replicaSet=rs0&directConnection=true&authSource=admin", uri
        )
        assert asyncio.run(with_transaction(uri)) == 1
        assert visits(uri) == 1


def test_what_was_stored_is_there_at_the_next_start_and_nothing_runs_between(data: Path) -> None:
    assert visit(data) == 1
    assert Folder(data).owner() is None
    assert visit(data) == 2


def test_it_starts_quickly(data: Path) -> None:
    def start() -> float:
        begin = time.monotonic()
        with running(data, cache_gb=0.25):
            return time.monotonic() - begin

    assert start() < 4.0  # seconds, the first time
    assert any(start() < 2.0 for _ in range(5))  # later; the machine may be busy with something else for a moment


def test_starting_and_stopping_are_announced_without_the_password(data: Path) -> None:
    said: list[str] = []
    with running(data, cache_gb=0.25, announce=said.append) as uri, running(data, announce=said.append):
        pass
    assert said == [
        "Starting the embedded MongoDB.",
        f"It gets port {port(data)}.",
        "Stopping the embedded MongoDB.",
    ]
    assert uri.split(":")[2].split("@")[0] not in f"{said} {embedded._remembered(Folder(data))!r}"


def test_secrets_are_closed_to_other_users(data: Path) -> None:
    visit(data)
    for name in ("mongo.json", "mongo.key", "mongo.log"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((data / "mongo").stat().st_mode) == 0o700


def test_it_admits_nobody_without_the_password_and_listens_here_only(data: Path) -> None:
    with running(data, cache_gb=0.25) as uri:
        with MongoClient("127.0.0.1", port(data), directConnection=True) as stranger:
            for attempt in (
                lambda: stranger.shop.visits.find_one(),
                lambda: stranger.admin.command("createUser", "me", pwd="x", roles=["root"]),
                lambda: stranger.admin.command("usersInfo", 1),
            ):
                with pytest.raises(OperationFailure, match="requires authentication"):
                    attempt()
        with MongoClient(re.sub(r":[\w-]{32}@", ":guess@", uri)) as guesser, pytest.raises(OperationFailure):
            guesser.shop.visits.find_one()
        with MongoClient(uri) as client:
            options = client.admin.command("getCmdLineOpts")["parsed"]
            assert (options["net"]["bindIp"], options["security"]["authorization"]) == ("127.0.0.1", "enabled")
            with pytest.raises(OperationFailure, match="not authorized"):
                client.admin.command("createUser", "other", pwd="x", roles=["root"])


def test_a_command_shares_what_another_started_and_the_last_stops_it(data: Path) -> None:
    first, second = command(data), command(data)  # two that start at once
    told_ready(first)
    told_ready(second)
    served_by = owner(data)
    with running(data) as uri:
        assert visits(uri) == 2
        leave(first)
        assert owner(data) == served_by
    leave(second)
    assert Folder(data).owner() is None


def test_it_outlives_a_killed_command_and_the_next_one_shares_and_stops_it(data: Path) -> None:
    first = command(data)
    told_ready(first)
    served_by = owner(data)
    killed(first)
    with running(data) as uri:
        assert (owner(data), visits(uri)) == (served_by, 1)
    assert Folder(data).owner() is None


def test_it_recovers_from_being_killed(data: Path) -> None:
    process = command(data)
    told_ready(process)
    os.kill(owner(data), signal.SIGKILL)
    killed(process)
    assert (data / "mongo" / "mongod.lock").read_text().strip()  # left behind, as is mongo.json
    assert visit(data) == 2


def test_a_command_whose_mongod_was_killed_still_leaves_in_order(data: Path) -> None:
    process = command(data)
    told_ready(process)
    os.kill(owner(data), signal.SIGKILL)
    leave(process)


def test_ctrl_c_in_the_terminal_does_not_reach_it(data: Path) -> None:
    with running(data, cache_gb=0.25):
        pid = owner(data)
        assert os.getsid(pid) != os.getsid(0)
        assert os.getpgid(pid) != os.getpgid(0)


@contextmanager
def other_program(port: int) -> Iterator[None]:
    """Another program that has the port, and hangs up on whoever calls."""

    def hang_up() -> None:
        with suppress(OSError):
            while True:
                listening.accept()[0].close()

    with socket.create_server(("127.0.0.1", port)) as listening:
        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_port_taken_meanwhile_is_exchanged_and_the_replica_set_follows(data: Path) -> None:
    visit(data)
    before = port(data)
    assert embedded._becomes_free(before)
    with other_program(before):
        assert visit(data) == 2
    with running(data, cache_gb=0.25) as uri, MongoClient(uri) as client:
        assert client.admin.command("hello")["hosts"] == [f"127.0.0.1:{port(data)}"]
    assert port(data) != before


def test_lost_or_damaged_access_is_made_anew(data: Path) -> None:
    """One folder, damaged again and again: after each time it is as good as it was."""
    visit(data)
    for times, (name, content) in enumerate(product(["mongo.json", "mongo.key"], [None, "", "{"]), start=2):
        (data / name).unlink()
        if content is not None:
            (data / name).write_text(content)
        assert visit(data) == times, f"{name}: {content}"


def test_access_lost_while_an_abandoned_mongod_runs_is_made_anew(data: Path) -> None:
    process = command(data)
    told_ready(process)
    killed(process)
    (data / "mongo.key").write_text("0" * 96)
    assert visit(data) == 2


def test_a_start_that_was_cut_off_is_completed(data: Path) -> None:
    """mongod runs, but the command that started it died before the replica set and the user were made."""
    folder = Folder(data)
    access = embedded.Access(embedded._free_port(), "p" * 32, "0" * 96)
    embedded._remember(folder, access)
    assert embedded._launch(folder, access, mongod(), 0.25) is None
    assert visit(data) == 1


def test_a_start_that_fails_says_why(data: Path) -> None:
    visit(data)
    (data / "mongo" / "WiredTiger.turtle").write_text("nonsense")
    (data / "mongo" / "WiredTiger").write_text("nonsense")
    with pytest.raises(MongoUnavailable, match=r"did not start\. .*WiredTiger.*mongo\.log"), running(data):
        pass
    assert Folder(data).owner() is None


def test_without_any_mongod_it_says_what_to_do(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    monkeypatch.delitem(sys.modules, "fiftyone", raising=False)
    with pytest.raises(MongoUnavailable, match="FHIR_MONGODB_URI"):
        mongod()


def test_the_mongod_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mongod"
    program.symlink_to(mongod())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mongod() == program


def test_an_error_of_the_user_passes_through_and_it_stops_all_the_same(data: Path) -> None:
    with pytest.raises(KeyError, match="mine"), running(data, cache_gb=0.25):
        raise KeyError("mine")
    assert Folder(data).owner() is None


def test_it_keeps_its_port(data: Path) -> None:
    visit(data)
    before = port(data)
    for _ in range(2):
        visit(data)
        assert port(data) == before
