"""Commands as an operator types them, carried out in this process: it has imported what each new one would import anew."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from fhir_server.cli import app


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
