"""The server that the rows are put to: where it is, what it can be made to do, and how a user gets a token there."""

from __future__ import annotations

import shlex
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tests.consent.rows import DEFAULTS


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody who asks. claims: what the token says beside them (reason, patient, department …)."""

    name: str
    role: str
    user: str
    organization: str
    purpose: str
    scope: str
    claims: tuple[tuple[str, Any], ...] = ()

    @property
    def title(self) -> str:
        """The name under which tokens.toml gives the token: "Dr1/TREAT", with claims "Dr1/BTG reason=… patient=…"."""
        return " ".join([f"{self.name}/{self.purpose}", *(f"{name}={value}" for name, value in self.claims)])

    @property
    def said(self) -> dict[str, Any]:
        """What the token is to say, by the names of this project's claims."""
        said = {"role": self.role, "fhirUser": self.user, "org": self.organization}
        return {**said, "purpose": self.purpose, "scope": self.scope, **dict(self.claims)}


class Tokens(Protocol):
    def __call__(self, who: Who) -> str | None:
        """Return a bearer token, None if there is none for this user."""


@dataclass(frozen=True)
class Target:
    """A server under test.

    bases: its FHIR base and those of further processes over the same data. set_clock: None where the clock is the real one.
    settings: those in force, by the names of rows.DEFAULTS. without: doors that it does not offer. lacks: abilities that
    rows need and that it does not claim. key: that of the ids of all rows where users cannot be made; else each row's own.
    at_once: how many doors it is asked through at the same time.
    """

    bases: tuple[str, ...]
    tokens: Tokens
    set_clock: Callable[[datetime], None] | None = None
    settings: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULTS))
    without: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    key: str | None = None
    at_once: int = 8

    def why_not(self, needs: frozenset[str], under: Mapping[str, Any]) -> str | None:
        """Return why a row cannot be asked here; None if it can."""
        if missing := needs & self.lacks:
            return f"the server does not offer: {', '.join(sorted(missing))}"
        other = [
            f"{name} = {value}" for name, value in under.items() if self.settings.get(name, DEFAULTS.get(name)) != value
        ]
        return f"needs the settings {', '.join(other)}" if other else None


class Configured:
    """Tokens out of a file: by title, or printed by a command.

    command: arguments with {role}, {user}, {organization}, {purpose}, {scope} and the names of claims; an option whose
    value is empty is left out with its name.
    """

    def __init__(self, given: Mapping[str, str], command: str | None) -> None:
        self._given = given
        self._command = shlex.split(command) if command else None

    def __call__(self, who: Who) -> str | None:
        if found := self._given.get(who.title):
            return found
        if not self._command or isinstance(who.purpose, list):
            return None
        done = subprocess.run(_arguments(self._command, who), capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip() if done.returncode == 0 else None


def _arguments(command: Sequence[str], who: Who) -> list[str]:
    known = {"name": who.name, "role": who.role, "user": who.user, "organization": who.organization}
    said = {**known, "purpose": who.purpose, "scope": who.scope, **dict(who.claims)}
    filled: list[str] = []
    for part in command:
        if part.startswith("{") and part.endswith("}"):
            value = str(said.get(part[1:-1]) or "")
            if not value and filled and filled[-1].startswith("-"):
                filled.pop()
                continue
            filled.append(value)
        else:
            filled.append(part)
    return filled


def configured(base: str, path: Path) -> Target:
    """Return the target that a base URL and a tokens.toml describe."""
    said = tomllib.loads(path.read_text("utf-8"))
    about = said.get("target", {})
    return Target(
        bases=(base.rstrip("/"), *(each.rstrip("/") for each in about.get("more_bases", ()))),
        tokens=Configured(said.get("tokens", {}), about.get("token_command")),
        settings={**DEFAULTS, **about.get("settings", {})},
        without=frozenset(about.get("without", ())),
        lacks=frozenset(about.get("lacks", ())) | {"clock"},
        key=about.get("key"),
        at_once=int(about.get("at_once", 1)),
    )


def real_now() -> datetime:
    """Return the time to the second, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)
