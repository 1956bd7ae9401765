"""What many tests share: a real MongoDB for all that one process runs, and a fresh database for each test that asks."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from fhir_server.store.embedded import running
from tests.databases import close, fresh
from tests.live import Live, live

# No test goes beyond this machine, and each client of httpx would read all certificate authorities (30 ms).
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = os.fspath(Path(__file__).parent / "no-authorities")

MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes


def pytest_collection_finish() -> None:
    """Keep the garbage collector from walking, again and again, the tests, models and definitions that last all run.

    That takes a twentieth off the processor time of the random tests. Collecting less often, as a worker of the server
    does, takes longer: Hypothesis leaves so much behind that memory grows.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The connection string of a replica set: FHIR_TEST_MONGODB_URI, or else an embedded one of this process."""
    if given := os.environ.get("FHIR_TEST_MONGODB_URI"):
        yield given
        close(given)
        return
    with _folder(tmp_path_factory) as folder, running(folder, cache_gb=0.25) as uri:
        yield uri
        close(uri)


@contextmanager
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a folder in memory where there is room, so that no test waits for a disk; else one on the disk.

    What is there after MongoDB was killed is tested by those that start one of their own, on the disk.
    """
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        with TemporaryDirectory(prefix="fhir-test-", dir=MEMORY) as folder:
            yield Path(folder)
    else:
        yield tmp_path_factory.mktemp("mongo")


@pytest.fixture
def database_name(mongo_uri: str) -> Iterator[str]:
    """The name of a database that no other test uses; it is dropped when the test ends."""
    with fresh(mongo_uri) as name:
        yield name


@pytest.fixture(scope="module")
def server(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A running server over a database of its own, for the tests of one file."""
    folder = tmp_path_factory.mktemp("installation")
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name) as running_server:
        yield running_server


@pytest.fixture(scope="module")
def doctor(server: Live) -> Iterator[httpx.Client]:
    """A doctor of the institution whose records are stored."""
    with server.client("practitioner", "Practitioner/dr1") as client:
        yield client


@pytest.fixture(scope="module")
def emr(server: Live) -> Iterator[httpx.Client]:
    """The system of the institution whose records are stored."""
    with server.system() as client:
        yield client
