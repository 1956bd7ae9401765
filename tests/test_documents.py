"""The documents say what the program has: settings, commands, options; and they agree with each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from starlette.routing import Route
from typer.core import TyperGroup

from fhir_server.app import assemble, create_app, keyring_of
from fhir_server.cli import app as command_line
from fhir_server.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted(path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
COMMAND = typer.main.get_command(command_line)


def text(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def code_blocks(document: str) -> list[str]:
    return re.findall(r"```\w*\n(.*?)```", document, re.DOTALL)


def without_code(document: str) -> str:
    return re.sub(r"```.*?```", "", document, flags=re.DOTALL)


def shown(name: str) -> str:
    """Return how the operations manual prints the default of a setting."""
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return "that of the machine"
    default = field.default
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    return "empty" if default in (frozenset(), ()) else str(default)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_manual_with_its_default(name: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \| \S", text("docs/operations.md"), re.MULTILINE))
    assert rows.get(name) == shown(name)


def test_a_gateway_is_told_every_path_to_pass_on(tmp_path: Path) -> None:
    settings = Settings.load(tmp_path, message_stand_in=True)
    keyring = keyring_of(settings)
    app = create_app(settings, assemble(settings, keyring, uri="mongodb://127.0.0.1/?replicaSet=none"), keyring)
    told = re.search(r"^- \*\*TLS\*\*.*$", text("docs/operations.md"), re.MULTILINE)
    assert told
    for route in app.routes:
        assert isinstance(route, Route)
        assert f"`/{route.path.split('/')[1]}`" in told[0]


def test_the_manual_names_no_other_setting() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `[^`]+` \|", text("docs/operations.md"), re.MULTILINE)
    assert set(rows) == set(Settings.model_fields)


def options() -> Iterator[tuple[str, str]]:
    assert isinstance(COMMAND, TyperGroup)
    for name, command in COMMAND.commands.items():
        yield name, f"fhir-facade {name}"
        for parameter in command.params:
            yield from ((name, option) for option in parameter.opts if option.startswith("--"))


@pytest.mark.parametrize(("command", "word"), sorted(set(options())))
def test_every_command_and_option_is_documented(command: str, word: str) -> None:
    documents = text("README.md") + text("docs/guide.md")
    assert re.search(re.escape(word) + r"(?![\w-])", documents), f"{word} of {command}"


def test_the_chinese_readme_has_the_same_commands_and_sections() -> None:
    english, chinese = text("README.md"), text("README.zh-CN.md")
    assert code_blocks(chinese) == code_blocks(english)
    levels = [re.findall(r"^(#+) ", without_code(each), re.MULTILINE) for each in (english, chinese)]
    assert levels[0] == levels[1]
    rows = [len(re.findall(r"^(?:\||- |\d\. )", without_code(each), re.MULTILINE)) for each in (english, chinese)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text("utf-8"))):
        if not re.match(r"[a-z]+:|#", target):
            assert (document.parent / target.partition("#")[0]).is_file(), target


@pytest.mark.parametrize("name", DECISIONS)
def test_every_decision_is_in_the_index_under_its_title(name: str) -> None:
    title = text(f"docs/adr/{name}").splitlines()[0]
    number, title = re.fullmatch(r"# 0*(\d+)\.? (.+)", title).groups()  # type: ignore[union-attr]
    assert int(number) == int(name[:4])
    assert f"{number}. [{title}]({name})" in text("docs/adr/README.md")
