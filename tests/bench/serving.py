"""A server of its own process over a store, for as long as it is asked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from fhir_server.app import bearer_of, keyring_of
from fhir_server.settings import Settings


class Served(NamedTuple):
    """A running server: a token of an institution's system, and the process that all of its others are below."""

    token: str
    pid: int


@contextmanager
def server(settings: Settings, uri: str, *, organization: str) -> Iterator[str]:
    """Run the server over a store; yield a token of an institution's system."""
    with served(settings, uri, organization=organization) as running:
        yield running.token


@contextmanager
def served(settings: Settings, uri: str, *, organization: str) -> Iterator[Served]:
    """Run the server over a store, in as many workers as its settings say."""
    environment = {
        **os.environ,
        "FHIR_MONGODB_URI": uri,
        "FHIR_DATABASE": settings.database,
        "FHIR_ZONE": settings.zone,
        "FHIR_MAX_PAGE_SIZE": str(settings.max_page_size),
        "FHIR_WORKERS": str(settings.workers),
    }
    command = [sys.executable, "-m", "fhir_server", "serve", "--data", str(settings.data), "--port", str(settings.port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    claims = {
        "role": "system",
        "fhirUser": "Device/bench",
        "org": organization,
        "purpose": "TREAT",
        "scope": "system/*.cruds",
    }
    try:
        _wait_for(f"http://127.0.0.1:{settings.port}/health", process)
        yield Served(bearer_of(keyring_of(settings)).issue(claims, lifetime=24 * 3600), process.pid)
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            sys.exit("the server ended")
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit("the server did not start within 30 seconds")
