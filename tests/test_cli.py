"""The command line as an operator uses it, on a real MongoDB: in processes of its own, or as such a process runs it.

To start a process takes longer than most commands do. So each thing that a process alone can show is seen in one: what it
prints where, how it ends, what several processes do with one store.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from fhir_server.resident_id import check_character
from tests.commands.console import Ended, run
from tests.shared import SHARED

CLI = [sys.executable, "-m", "fhir_server"]
NUMBER = "11010119900307001" + check_character("11010119900307001")
BUNDLE = min((SHARED / "data" / "synthea").glob("*.json.gz"), key=lambda path: path.stat().st_size)


@pytest.fixture
def environment(mongo_uri: str, database_name: str, tmp_path: Path) -> dict[str, str]:
    own = {"FHIR_MONGODB_URI": mongo_uri, "FHIR_DATABASE": database_name, "FHIR_DATA": str(tmp_path / "var")}
    return {**os.environ, **own, "FHIR_ZONE": "UTC"}


def process(environment: dict[str, str], *words: str, status: int = 0) -> Ended:
    """Run a command as a process."""
    done = subprocess.run([*CLI, *words], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stderr
    return Ended(done.stdout, done.stderr)


def token(environment: dict[str, str], role: str, user: str, *more: str, organization: str = "hospital-a") -> str:
    return run(
        environment, "token", "--role", role, "--user", user, "--organization", organization, *more
    ).stdout.strip()


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def served(environment: dict[str, str], port: int) -> Iterator[str]:
    process = subprocess.Popen(
        [*CLI, "serve", "--port", str(port), "--workers", "2"], env=environment, start_new_session=True
    )
    base = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urlopen(f"{base}/health", timeout=1).close()
            break
        except (URLError, ConnectionError):
            time.sleep(0.1)
    yield f"{base}/fhir"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) in (0, -signal.SIGINT, 130)


def get(base: str, path: str, bearer: str) -> dict[str, object]:
    with urlopen(Request(f"{base}/{path}", headers={"Authorization": f"Bearer {bearer}"}), timeout=20) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def test_a_token_is_printed_and_nothing_else(environment: dict[str, str]) -> None:
    done = process(environment, "token", "--role", "system", "--user", "Device/emr", "--organization", "hospital-a")
    assert len(done.stdout.split()) == 1
    assert done.stdout.count(".") == 2
    assert done.stderr == ""


def test_a_token_says_that_its_user_may_break_the_glass(environment: dict[str, str]) -> None:
    said = token(environment, "practitioner", "Practitioner/dr", "--purpose", "ETREAT", "--btg").split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)))["btg"] is True


@pytest.mark.parametrize(
    "words",
    [
        ("--role", "patient", "--user", "Practitioner/x", "--organization", "o"),
        ("--role", "system", "--user", "Device/x", "--organization", "Organization/o"),
        ("--role", "system", "--user", "Device/x", "--organization", "o", "--purpose", "TREAT HRESCH"),
        ("--role", "system", "--user", "Device/x", "--organization", "o", "--patient", "x"),
    ],
)
def test_claims_that_do_not_fit_are_refused_in_one_line(environment: dict[str, str], words: tuple[str, ...]) -> None:
    done = run(environment, "token", *words, status=2)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_loading_twice_changes_nothing(environment: dict[str, str], served: str) -> None:
    first = process(environment, "load", str(BUNDLE), "--organization", "hospital-a").stdout
    stored = int(first.split()[0])
    assert stored > 10
    assert first.endswith("0 rejected\n")
    again = run(environment, "load", str(BUNDLE), "--organization", "hospital-a").stdout
    assert again == f"0 stored, {stored} unchanged, 0 rejected\n"
    doctor = token(environment, "practitioner", "Practitioner/dr", "--scope", "user/*.rs")
    assert get(served, "Patient?_summary=count", doctor)["total"] == 1
    stranger = token(environment, "practitioner", "Practitioner/dr", "--scope", "user/*.rs", organization="hospital-b")
    assert get(served, "Patient?_summary=count", stranger)["total"] == 0
    auditor = token(environment, "auditor", "Practitioner/auditor", "--scope", "user/*.rs")
    assert get(served, "AuditEvent?agent=Device/fhir-facade-load&_summary=count", auditor)["total"]


def test_what_is_rejected_is_listed_and_the_rest_goes_on(environment: dict[str, str], tmp_path: Path) -> None:
    lines = [
        {"resourceType": "Patient", "id": "good-1", "name": [{"text": "王五"}]},
        {"resourceType": "Patient", "id": "bad", "gender": "王五"},
        {"resourceType": "MedicinalProduct", "id": "unserved"},
        {"resourceType": "AuditEvent", "id": "ours"},
        {"resourceType": "Patient", "id": NUMBER},
        {"resourceType": "Patient", "id": "good-2"},
    ]
    source = tmp_path / "records.ndjson"
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    source.write_text(f"{text}\nnot json 王五\n", encoding="utf-8")
    done = run(environment, "load", str(source), "--organization", "hospital-a", status=1)
    assert done.stdout.startswith("2 stored, 0 unchanged, 5 rejected")
    (listed,) = (tmp_path / "var").glob("rejects-*.ndjson")
    assert listed.stat().st_mode & 0o077 == 0
    rejects = [json.loads(line) for line in listed.read_text().splitlines()]
    assert {each["position"] for each in rejects} == {"line 2", "line 3", "line 4", "line 5", "line 7"}
    assert "王五" not in listed.read_text() + done.stderr
    other = process(environment, "load", str(source), "--organization", "hospital-b", status=1)
    assert other.stdout.startswith("0 stored")


def test_a_missing_file_and_a_wrong_setting_are_said_in_a_line(environment: dict[str, str]) -> None:
    assert "nowhere" in run(environment, "load", "/nowhere", "--organization", "o", status=2).stderr
    done = process({**environment, "FHIR_PORT": "many"}, "serve", status=2)
    assert "FHIR_PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_zone_or_keyring_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    run(environment, "load", str(BUNDLE), "--organization", "o")
    zone = run({**environment, "FHIR_ZONE": "Asia/Shanghai"}, "load", str(BUNDLE), "--organization", "o", status=2)
    assert "FHIR_ZONE=UTC" in zone.stderr
    elsewhere = {**environment, "FHIR_DATA": str(tmp_path / "other")}
    assert "keyring" in run(elsewhere, "load", str(BUNDLE), "--organization", "o", status=2).stderr


@pytest.mark.parametrize("command", [(), ("serve",), ("load",), ("token",), ("demo",)])
def test_every_command_has_help(environment: dict[str, str], command: tuple[str, ...]) -> None:
    assert "--data" in run(environment, *command, "--help").stdout
