"""Commands as an operator types them, carried out in this process: it has imported what each new one would import anew."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner, Result

from fhir_server.cli import app, main


@dataclass(frozen=True)
class Console:
    """A shell with an environment of its own."""

    environment: Mapping[str, str]

    @property
    def data(self) -> Path:
        return Path(self.environment["FHIR_DATA"])

    def run(self, *words: str | Path, stdin: str = "") -> str:
        """Return what a command prints that succeeds."""
        result = self._invoke(words, stdin)
        if result.exception is not None:
            raise result.exception
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def refused(self, *words: str | Path, stdin: str = "") -> str:
        """Return why a command is refused, in the line that the operator sees."""
        result = self._invoke(words, stdin)
        assert isinstance(result.exception, Exception), result.output
        return str(result.exception)

    def _invoke(self, words: tuple[str | Path, ...], stdin: str) -> Result:
        cleared: dict[str, str | None] = {name: None for name in os.environ if name.startswith("FHIR_")}
        return CliRunner().invoke(app, [str(word) for word in words], input=stdin, env={**cleared, **self.environment})


def console(mongo_uri: str, database: str, folder: Path) -> Console:
    """Return a console for an installation in a folder."""
    own = {"FHIR_MONGODB_URI": mongo_uri, "FHIR_DATABASE": database, "FHIR_DATA": str(folder), "FHIR_ZONE": "UTC"}
    return Console(own)


class Ended(NamedTuple):
    """What a command printed, and of what it complained."""

    stdout: str
    stderr: str


def run(environment: Mapping[str, str], *words: str, status: int = 0) -> Ended:
    """Run a command as its own process would, from its words to the status that it ends with."""
    printed, complained, ended = io.StringIO(), io.StringIO(), 0
    before = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(complained):
        for name in {each for each in (*os.environ, *environment) if each.startswith("FHIR_")}:
            if name in environment:
                patch.setenv(name, environment[name])
            else:
                patch.delenv(name)
        patch.setattr(sys, "argv", ["fhir-facade", *words])
        try:
            main()
        except SystemExit as stop:
            ended = int(stop.code or 0)
        finally:
            signal.signal(signal.SIGTERM, before)
    assert ended == status, complained.getvalue()
    return Ended(printed.getvalue(), complained.getvalue())
