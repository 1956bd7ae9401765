"""docs/guide.md, every command of it, in its order, against the demo; then what README.md and the demo tell to type."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import chdir, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
from pymongo import MongoClient
from rich.console import Console as Screen

from fhir_server.app import Parts, assemble, keyring_of
from fhir_server.consenting.ways.transport import Message
from fhir_server.demo import run as demo
from tests.commands.console import Console
from tests.databases import fresh
from tests.live import Live, live
from tests.test_documents import ROOT, text

T = TypeVar("T")
COMMAND = re.compile(r"(?:((?:openssl|echo) [^|\n]*)\| )?\.venv/bin/fhir-facade ([^\n)]*)")
STATUSES = "curl() { command curl -w '%{stderr}%{http_code}\\n' \"$@\"; }; set -a"
# What the guide says is not answered by 2xx.
ANSWERED = {'$OTHER_DOCTOR" $BASE/Patient/pat-a-001': 404, "If-None-Match": 304, "If-Match": 412, "000000": 422}
WRONG_CODE = "000000"


def lines(document: str) -> list[str]:
    """Return the commands of a document's blocks of shell."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text(document), re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@dataclass(frozen=True)
class Said:
    """What a line gave. codes: HTTP statuses, in their order."""

    line: str
    out: str
    codes: list[int]

    @property
    def found(self) -> Any:
        return orjson.loads(self.out)


@dataclass
class Shell:
    """A terminal in the project's folder, whose `fhir-facade` runs in this process."""

    folder: Path
    environment: dict[str, str]
    said: list[Said] = field(default_factory=list)

    def type(self, line: str) -> Said:
        """Carry a line out; what it sets stays set."""
        after = self.folder / "environment"
        typed = f"{STATUSES}; {COMMAND.sub(self._run, line)}\nenv -0 >{shlex.quote(str(after))}"
        run = ["bash", "-c", typed]
        done = subprocess.run(run, env=self.environment, cwd=self.folder, capture_output=True, check=True, timeout=300)
        self.environment = dict(each.split("=", 1) for each in after.read_text("utf-8").split("\0") if each)
        self.environment.pop("BASH_FUNC_curl%%", None)
        self.said.append(Said(line, done.stdout.decode(), [int(each) for each in done.stderr.split()]))
        return self.said[-1]

    def gave(self, *parts: str) -> list[Said]:
        """Return what the lines gave in which these parts stand."""
        found = [each for each in self.said if all(part in each.line for part in parts)]
        assert found, f"no line with {parts} was typed"
        return found

    def _run(self, typed: re.Match[str]) -> str:
        """Return what stands for a command in its line: what prints its output."""
        before = subprocess.run(["bash", "-c", typed[1] or ":"], capture_output=True, check=True)
        console = Console({name: value for name, value in self.environment.items() if name.startswith("FHIR_")})
        with chdir(self.folder):
            said = console.run(*shlex.split(typed[2]), stdin=before.stdout.decode())
        return f"printf %s {shlex.quote(said)}"


@dataclass
class Demo:
    """The demo's server, and a terminal beside it."""

    server: Live
    shell: Shell
    uri: str

    def run(self, work: Callable[[Parts], Awaitable[T]]) -> T:
        """Return what work returns with the parts of the installation."""
        settings = self.server.settings

        async def within() -> T:
            parts = assemble(settings, keyring_of(settings), uri=self.uri)
            try:
                await parts.ready()
                return await work(parts)
            finally:
                await parts.close()

        return asyncio.run(within())

    def fill(self) -> list[str]:
        """Fill the store, as the demo does; return the lines that it tells to type."""
        self.run(lambda parts: demo.fill(parts.services, Screen(quiet=True)))
        with redirect_stdout(StringIO()) as printed:
            demo.show(self.server.settings, self.server.bearer)
        return [line for line in printed.getvalue().splitlines() if line.startswith(("export ", "curl "))]

    def follow_guide(self) -> None:
        for line in lines("docs/guide.md"):
            if line.startswith("export BASE="):
                line = f"export BASE={self.server.base}"
            self.shell.type(line)
            if WRONG_CODE in line:
                self.shell.type(line.replace(WRONG_CODE, self.code()))
                self.shell.type(self.shell.gave("/Immunization?")[0].line)

    def code(self) -> str:
        """Return the code that the page of messages shows."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            for each in self.run(delivered):
                if sent := re.search(r"\b\d{6}\b", each.text):
                    return sent[0]
            time.sleep(0.2)
        raise AssertionError("no code was sent")


async def delivered(parts: Parts) -> list[Message]:
    """Return what stands on the page of messages."""
    assert parts.ways.stand_in
    return await parts.ways.stand_in.delivered()


@pytest.fixture(scope="module")
def followed(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo, after everything was typed that the documents tell to."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "examples").symlink_to(ROOT / "examples")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FHIR_")}
    with fresh(mongo_uri) as name:
        own = {"FHIR_MONGODB_URI": mongo_uri, "FHIR_DATABASE": name, "FHIR_ZONE": "Asia/Shanghai"}
        with live(
            mongo_uri,
            folder / "var",
            database=name,
            zone="Asia/Shanghai",
            message_stand_in=True,
            operators=frozenset({"Device/emr-a"}),
        ) as server:
            found = Demo(server, Shell(folder, {**kept, **own}), mongo_uri)
            told = found.fill()
            found.follow_guide()
            for line in (*lines("README.md"), *told):
                if not line.startswith("make "):
                    found.shell.type(line)
            yield found


def test_every_line_is_answered_as_the_guide_says(followed: Demo) -> None:
    for each in followed.shell.said:
        expected = next((status for part, status in ANSWERED.items() if part in each.line), None)
        assert all(code == expected if expected else 200 <= code < 300 for code in each.codes), each


def totals(found: list[Said]) -> list[int]:
    return [each.found["total"] for each in found]


def test_loading_again_changes_nothing(followed: Demo) -> None:
    told = [each.out for each in followed.shell.gave("fhir-facade load")]
    assert told == ["2 stored, 0 unchanged, 0 rejected\n", "0 stored, 2 unchanged, 0 rejected\n"]


def test_a_consent_opens_and_a_denial_closes(followed: Demo) -> None:
    none, all_records = totals(followed.shell.gave("$OTHER_DOCTOR", "&_count=1"))
    assert (none, all_records > 100) == (0, True)
    shown, hidden = totals(followed.shell.gave("/Condition?", "_security=PSY"))
    assert (shown, hidden) == (1, 0)


def test_a_code_that_the_patient_gives_opens_what_it_was_sent_for(followed: Demo) -> None:
    before, after = totals(followed.shell.gave("/Immunization?"))
    assert (before, after) == (2, 4)


def test_an_authorization_that_is_confirmed_is_active_until_it_is_revoked(followed: Demo) -> None:
    assert [each.found["status"] for each in followed.shell.gave("$ASKED/")] == ["active", "inactive"]


def test_a_batch_answers_each_entry_and_a_transaction_stores_all(followed: Demo) -> None:
    answers = followed.shell.gave("Content-Type: application/fhir+json' ", "$BASE -d")
    statuses = [[each["response"]["status"][:3] for each in answer.found["entry"]] for answer in answers]
    assert statuses == [["200", "404"], ["201", "201"]]


def test_a_decision_comes_out_again(followed: Demo) -> None:
    (replay,) = followed.shell.gave("replay")
    assert {"name": "same", "valueBoolean": True} in replay.found["parameter"]


def test_an_emergency_opens_and_the_patient_is_told(followed: Demo) -> None:
    assert totals(followed.shell.gave("$EMERGENCY")) == [2]
    (notices,) = followed.shell.gave("/Communication?")
    (notice,) = notices.found["entry"]
    told = notice["resource"]["payload"][0]["contentString"]
    assert "查阅机构：示范市中医医院；查阅人：李济生；理由：unconscious in the emergency room。" in told


def test_the_log_is_whole_and_so_is_the_backup(followed: Demo) -> None:
    assert followed.shell.gave("audit verify")[0].out.endswith("Nothing was changed.\n")
    assert "is whole" in followed.shell.gave("facade verify")[0].out


def test_what_the_demo_tells_to_type_shows_consent_at_work(followed: Demo) -> None:
    assert [each > 0 for each in totals(followed.shell.gave("Patient/pat-a-001&_count=2'"))] == [True, False, True]


@pytest.mark.parametrize("name", ["SYSTEM", "DOCTOR", "OTHER_DOCTOR", "EMERGENCY", "PATIENT", "RELATED", "AUDITOR"])
def test_every_token_of_the_readme_is_taken(followed: Demo, name: str) -> None:
    with followed.server.bearing(followed.shell.environment[name]) as client:
        assert client.get("Organization/hospital-a").status_code == 200


def test_what_lies_beside_the_records_is_described(followed: Demo) -> None:
    described = text("docs/architecture.md")
    with MongoClient[dict[str, Any]](followed.uri) as mongo:
        names = mongo[followed.server.settings.database].list_collection_names()
    ours = {name for name in names if not name[0].isupper() and not name.startswith("auth_")}
    assert {name for name in ours if f"`{name}`" not in described} == set()
