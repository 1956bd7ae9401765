"""docs/drills.md, every command of it, in its order."""

from __future__ import annotations

import glob
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fhir_server.crypto.custodian import answers
from tests.commands.console import Console
from tests.databases import fresh

DRILLS = Path(__file__).parents[2] / "docs" / "drills.md"
REFUSED = "# refused"
UNCHANGED = "0 stored, 1 unchanged, 0 rejected\n"


def lines() -> list[str]:
    """Return the commands of the document."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", DRILLS.read_text(encoding="utf-8"), re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@dataclass
class Shell:
    """Follows the document: remembers what it exports, and what it started."""

    environment: dict[str, str]
    databases: dict[str, str]
    said: list[tuple[str, str, bool]] = field(default_factory=list)
    job: subprocess.Popen[bytes] | None = None

    def follow(self, line: str) -> None:
        command, refused = line.removesuffix(REFUSED).strip(), line.endswith(REFUSED)
        if command.startswith("export "):
            self._export(*command.removeprefix("export ").split("=", 1))
        elif command == "kill %1":
            self.end()
        elif command.endswith("&"):
            self._start(self._words(command.removesuffix("&")))
        elif command.startswith("fhir-facade "):
            words, console = self._words(command), Console(self.environment)
            self.said.append((command, (console.refused if refused else console.run)(*words[1:]), refused))
        else:
            subprocess.run(["bash", "-ec", command], env={**os.environ, **self.environment}, check=True)

    def end(self) -> None:
        if self.job is not None:
            self.job.terminate()
            self.job.wait(30)
            self.job = None

    def _export(self, name: str, value: str) -> None:
        if name == "FHIR_DATABASE":
            self.environment[name] = self.databases[value]
        elif name != "DRILL":
            echoed = subprocess.run(
                ["bash", "-ec", f'echo "{value}"'],
                env={**os.environ, **self.environment},
                check=True,
                capture_output=True,
            )
            self.environment[name] = echoed.stdout.decode().strip()

    def _words(self, command: str) -> list[str]:
        found = []
        for word in shlex.split(command):
            whole = re.sub(r"\$(\w+)", lambda name: self.environment[name[1]], word)
            found += sorted(glob.glob(whole)) if "*" in whole else [whole]
        return found

    def _start(self, words: list[str]) -> None:
        program = [sys.executable, "-m", "fhir_server", *words[1:]]
        self.job = subprocess.Popen(program, env={**os.environ, **self.environment}, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not answers(Path(self.environment["FHIR_DATA"]) / "custodian.sock"):
            assert self.job.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.fixture
def shell(mongo_uri: str, tmp_path: Path) -> Iterator[Shell]:
    with ExitStack() as stack:
        named = {each for each in re.findall(r"FHIR_DATABASE=(\w+)", DRILLS.read_text(encoding="utf-8"))}
        databases = {each: stack.enter_context(fresh(mongo_uri)) for each in named}
        shell = Shell({"DRILL": str(tmp_path / "drill"), "FHIR_MONGODB_URI": mongo_uri}, databases)
        try:
            yield shell
        finally:
            shell.end()


def test_every_command_does_what_the_document_says(shell: Shell) -> None:
    found = lines()
    for line in found[:-1]:
        shell.follow(line)
    loads = [text for command, text, refused in shell.said if command.startswith("fhir-facade load") and not refused]
    assert loads == ["1 stored, 0 unchanged, 0 rejected\n", *[UNCHANGED] * 3]
    masters = [text.count("\n") for command, text, _ in shell.said if command == "fhir-facade keys masters"]
    assert masters == [1, 2, 1]
    assert sum(text.endswith("data keys\n") for _, text, _ in shell.said) == 2
    reasons = ("Backups need", "There is no keyring", "2 different shares are needed", "is not empty", "is sealed")
    for text, reason in zip([text for _, text, refused in shell.said if refused], reasons, strict=True):
        assert reason in text
    assert {path.name for path in (Path(shell.environment["FHIR_DATA"])).glob("keyring*")} == {"keyring.json"}
    shell.follow(found[-1])
    assert not Path(shell.environment["DRILL"]).exists()
