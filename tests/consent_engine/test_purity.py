"""The engine takes values and returns values: it imports nothing that reads or writes, and reads no clock."""

import ast
from pathlib import Path

import pytest

import consent_engine

FILES = sorted(Path(consent_engine.__file__).parent.glob("*.py"))
# Modules of the standard library that hold values and their types; beside these only the engine itself.
ALLOWED = {"__future__", "collections", "dataclasses", "datetime", "enum", "re", "types", "typing", "consent_engine"}
# What reads a clock, the environment, a file or the interpreter although no import tells it.
FORBIDDEN = {
    "now",
    "utcnow",
    "today",
    "fromtimestamp",
    "open",
    "input",
    "print",
    "eval",
    "exec",
    "__import__",
    "globals",
}


def trees() -> list[tuple[str, ast.Module]]:
    return [(file.name, ast.parse(file.read_text("utf-8"))) for file in FILES]


def imported(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add((node.module or "").split(".")[0])
    return found


def names(tree: ast.Module) -> set[str]:
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@pytest.mark.parametrize(("name", "tree"), trees(), ids=[name for name, _ in trees()])
def test_nothing_is_imported_that_reads_or_writes(name, tree):
    assert imported(tree) <= ALLOWED


@pytest.mark.parametrize(("name", "tree"), trees(), ids=[name for name, _ in trees()])
def test_no_clock_and_no_file_is_read(name, tree):
    assert not names(tree) & FORBIDDEN


@pytest.mark.parametrize(
    ("code", "found"), [("datetime.now(zone)", "now"), ("open('x')", "open"), ("date.today", "today")]
)
def test_what_is_forbidden_would_be_found(code, found):
    assert names(ast.parse(code)) & FORBIDDEN == {found}


@pytest.mark.parametrize("code", ["import os.path", "from time import time", "from fhir_server import app"])
def test_what_must_not_be_imported_would_be_found(code):
    assert not imported(ast.parse(code)) <= ALLOWED


def test_modules_stay_small():
    assert {file.name: len(file.read_text("utf-8").splitlines()) for file in FILES} == {
        file.name: lines for file in FILES if (lines := len(file.read_text("utf-8").splitlines())) <= 250
    }
