"""The OpenAPI description of what is served beside FHIR: schemathesis asks by it, and finds what it says and no more."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
from starlette.routing import Route

from fhir_server.app import VERSION, assemble, create_app, keyring_of
from tests.live import Live


def root(server: Live) -> str:
    return server.base.removesuffix("/fhir")


def test_schemathesis_finds_nothing(server: Live, tmp_path: Path) -> None:
    """It runs as a process of its own: as a plugin it would take part in every test of the project."""
    code = "import sys; from schemathesis.cli import schemathesis; schemathesis(['run', *sys.argv[1:]])"
    asked = [f"{root(server)}/openapi.json", "--phases=examples,coverage,fuzzing,stateful", "--no-color"]
    done = subprocess.run(
        [sys.executable, "-c", code, *asked], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout
    assert "Tested: 1" in done.stdout  # the description itself is what it reads


def test_every_route_beside_fhir_is_described(server: Live, mongo_uri: str) -> None:
    described = httpx.get(f"{root(server)}/openapi.json").json()
    assert (described["openapi"], described["info"]["version"]) == ("3.1.0", VERSION)
    keyring = keyring_of(server.settings)
    parts = assemble(server.settings, keyring, uri=mongo_uri)
    paths = {each.path for each in create_app(server.settings, parts, keyring).routes if isinstance(each, Route)}
    # The FHIR API and the authorization server describe themselves, each as its standards have it; pages are for people.
    elsewhere = ("/fhir", "/auth/", "/.well-known/", "/my", "/desk", "/consent-prompt", "/pages/")
    assert described["paths"].keys() == {path for path in paths if not path.startswith(elsewhere)}
    asyncio.run(parts.client.close())
