"""Reading the rows: one YAML file for each group of scenarios, checked when it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.consent.vocabulary import Unreadable

HERE = Path(__file__).parent
FOLDER = HERE / "rows"
ASKS = frozenset(["sees", "shows", "hides", "ask", "pages", "race"])
DOES = frozenset(["clock", "give", "change", "store", "delete"])
BESIDE = frozenset(
    [
        "who",
        "doors",
        "expect",
        "headers",
        "body",
        "times",
        "remember",
        "through",
        "reads",
        "while",
        "by",
        "note",
        "needs",
    ]
)
DEFAULTS: Mapping[str, Any] = {"implicit_policy": "deny", "conflict_mode": "deny-overrides", "strictest_label": True}


@dataclass(frozen=True, slots=True)
class Row:
    """One scenario: what is given, then what is done and asked, step by step.

    rules, traps: the numbers of consent.md that it stands for. settings: those that it needs, beside DEFAULTS.
    records: further records, or other forms of the fixture's, by name. needs: abilities that a target may lack.
    """

    id: str
    group: str
    zh: str
    en: str
    steps: tuple[Mapping[str, Any], ...]
    given: tuple[Any, ...] = ()
    records: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    traps: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()

    @property
    def under(self) -> Mapping[str, Any]:
        """The settings that the row is to be asked under."""
        return {**DEFAULTS, **self.settings}


@dataclass(frozen=True, slots=True)
class Fixture:
    """The people, codes and records that all rows share."""

    people: Mapping[str, Mapping[str, Any]]
    institutions: tuple[str, ...]
    codes: Mapping[str, str]
    sets: Mapping[str, tuple[str, ...]]
    records: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Group:
    """A file of rows."""

    name: str
    zh: str
    en: str
    rows: tuple[Row, ...]


def fixture() -> Fixture:
    read = _yaml(HERE / "fixture.yaml")
    sets = {name: tuple(members) for name, members in read["sets"].items()}
    return Fixture(read["people"], tuple(read["institutions"]), read["codes"], sets, read["records"])


def groups(folder: Path = FOLDER) -> tuple[Group, ...]:
    """Return all groups in the order of their files. Raises Unreadable."""
    return tuple(_group(path) for path in sorted(folder.glob("*.yaml")))


@cache
def all_rows() -> tuple[Row, ...]:
    """Return all rows. Raises Unreadable if two have the same id."""
    found = [row for group in groups() for row in group.rows]
    if twice := {row.id for row in found if sum(other.id == row.id for other in found) > 1}:
        raise Unreadable(f"several rows have the id {', '.join(sorted(twice))}")
    return tuple(found)


def _group(path: Path) -> Group:
    read = _yaml(path)
    name = str(read["group"])
    return Group(name, read["zh"], read["en"], tuple(_rows(name, read["rows"])))


def _rows(group: str, given: list[dict[str, Any]]) -> Iterator[Row]:
    for each in given:
        told = dict(each)
        for name in ("given", "rules", "traps", "steps"):
            told[name] = tuple(told.get(name) or ())
        told["needs"] = frozenset(told.get("needs") or ())
        try:
            row = Row(group=group, **told)
        except TypeError as error:
            raise Unreadable(f"row {each.get('id')}: {error}") from None
        for step in row.steps:
            _check(row, step)
        yield row


def _check(row: Row, step: Mapping[str, Any]) -> None:
    """Refuse a step that says nothing, several things, or a word that is not known."""
    if unknown := step.keys() - ASKS - DOES - BESIDE:
        raise Unreadable(f"row {row.id}: unknown words {', '.join(sorted(unknown))}")
    if len(step.keys() & (ASKS | DOES)) != 1 and not step.keys() & ASKS <= {"shows", "hides"}:
        raise Unreadable(f"row {row.id}: a step does or asks one thing, not {', '.join(sorted(step))}")
    if bool(step.keys() & ASKS) != ("who" in step):
        raise Unreadable(f"row {row.id}: who asks? {', '.join(sorted(step))}")
    if bool(step.keys() & {"ask", "pages"}) != ("expect" in step):
        raise Unreadable(f"row {row.id}: a request needs what is expected of it")


def _yaml(path: Path) -> dict[str, Any]:
    return dict(yaml.load(path.read_text("utf-8"), Loader=_Words))


class _Words(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # ten times as fast, where it is there
    """YAML without dates: 2026-01-01 is the text that FHIR writes."""


_Words.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
