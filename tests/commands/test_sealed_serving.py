"""A server whose keyring opens with two shares only: a real process with several workers, none of which has it on a disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.commands.console import Console, console
from tests.live import JSON, free_port


@pytest.fixture
def shell(mongo_uri: str, database_name: str, tmp_path: Path) -> Console:
    return console(mongo_uri, database_name, tmp_path / "var")


@pytest.fixture
def given(shell: Console, tmp_path: Path) -> list[str]:
    paths = shell.run("keys", "split", "--seal", "--to", tmp_path / "shares").split()
    return [word for path in paths[:2] for word in ("--share", path)]


@pytest.fixture
def served(shell: Console, given: list[str]) -> Iterator[httpx.Client]:
    port = free_port()
    words = [sys.executable, "-m", "fhir_server", "serve", "--port", str(port), "--workers", "2", *given]
    process = subprocess.Popen(words, env={**os.environ, **shell.environment}, start_new_session=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/fhir/", timeout=30) as client:
            for _ in range(600):
                assert process.poll() is None
                try:
                    client.get(f"http://127.0.0.1:{port}/health")
                    break
                except httpx.TransportError:
                    time.sleep(0.1)
            user = ("--role", "system", "--user", "Device/emr", "--organization", "org1", "--scope", "system/*.cruds")
            bearer = shell.run("token", *user).strip()
            client.headers.update({"Authorization": f"Bearer {bearer}", "Accept": JSON, "Content-Type": JSON})
            yield client
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def test_two_shares_start_it_and_its_master_key_is_rotated_while_it_serves(
    shell: Console, given: list[str], served: httpx.Client
) -> None:
    def put(id: str) -> int:
        return served.put(f"Patient/{id}", json={"resourceType": "Patient", "id": id}).status_code

    assert {path.name for path in shell.data.glob("keyring*")} == {"keyring.sealed"}
    assert [put(f"before-{n}") for n in range(4)] == [201] * 4
    shell.run("keys", "rotate-master", *given)
    shell.run("keys", "rotate-master", "--retire", *given)
    assert [put(f"after-{n}") for n in range(4)] == [201] * 4
    found = [served.get(f"Patient/{when}-{n}").status_code for when in ("before", "after") for n in range(4)]
    assert found == [200] * 8
    assert {path.name for path in shell.data.glob("keyring*")} == {"keyring.sealed"}


def test_without_enough_shares_it_does_not_start(shell: Console, given: list[str]) -> None:
    assert "2 different shares are needed" in shell.refused("serve", *given[:2])
    assert "--share" in shell.refused("serve")
    assert not (shell.data / "keyring.json").exists()
