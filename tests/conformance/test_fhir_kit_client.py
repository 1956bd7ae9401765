"""fhir-kit-client, a client for JavaScript, against the running server; what it does stands in node/client.mjs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.live import Live

HERE = Path(__file__).with_name("node")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the package of the lock file; skipped where there is no node, no npm, or no package to be had."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are needed for fhir-kit-client")
    for each in HERE.iterdir():
        shutil.copy(each, tmp_path)
    done = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        pytest.skip("fhir-kit-client could not be installed")
    return tmp_path


def test_the_client_does_its_work(server: Live, installed: Path) -> None:
    token = server.token("system", "Device/emr", scope="system/*.cruds")
    done = subprocess.run(
        ["node", "client.mjs", server.base, token],
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
