"""Every `fhir-facade …` in the documents is a command that exists, with options that it has, and nothing missing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from typer.core import TyperCommand, TyperGroup

from tests.test_documents import COMMAND, DOCUMENTS, ROOT, code_blocks, without_code

# A call ends where its line, its inline code, its substitution or its part of a pipe does, or a remark begins.
CALL = re.compile(r"fhir-facade ((?:[a-z]|--)(?:'[^']*'|\"[^\"\n]*\"|[^'\"\n`)|&;>#])*)")


def calls(text: str) -> Iterator[str]:
    yield from (found.strip() for found in CALL.findall(text.replace("\\\n", " ")))


def rows(*, in_blocks: bool) -> list[tuple[str, str]]:
    """Return (document, call) for what stands in code blocks, or for what the text mentions."""
    found = []
    for path in DOCUMENTS:
        document = path.read_text("utf-8")
        parts = code_blocks(document) if in_blocks else [without_code(document)]
        found += [(path.relative_to(ROOT).as_posix(), call) for part in parts for call in calls(part)]
    return found


def entered(words: list[str]) -> tuple[TyperCommand | TyperGroup, list[str]]:
    """Return the command that words lead to, and the words that are left for it. Raises AssertionError."""
    command = COMMAND
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    assert isinstance(command, TyperCommand | TyperGroup)
    return command, words


@pytest.mark.parametrize(("document", "call"), rows(in_blocks=True))
def test_what_a_code_block_types_is_taken(document: str, call: str) -> None:
    command, words = entered(shlex.split(call))
    if "{" not in call:  # a template: its parts are filled in by a program
        command.make_context(command.name, words)


@pytest.mark.parametrize(("document", "call"), sorted(set(rows(in_blocks=False))))
def test_what_the_text_mentions_exists(document: str, call: str) -> None:
    command, words = entered(shlex.split(call))
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known


def test_the_documents_type_many() -> None:
    assert len(rows(in_blocks=True)) > 60
