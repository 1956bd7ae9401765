"""A headless Chromium, driven line by line through node/driver.mjs, and the folder that its packages are kept in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

NODE = Path(__file__).with_name("node")
DESKTOP, PHONE = (1024, 768), (360, 740)  # width and height in CSS pixels


class Failed(AssertionError):
    """The browser could not do what it was told; the message is its own."""


def packages() -> Path:
    """Return the folder in which the packages of the lock file are installed, once for each lock file.

    Skips the test where node or npm are missing; that the packages cannot be had is an error.
    """
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are needed for the SMART client in a browser")
    named = sha256(b"".join((NODE / name).read_bytes() for name in ("package.json", "package-lock.json"))).hexdigest()
    kept = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fhir-facade-tests" / named[:16]
    if not kept.is_dir():
        _install(kept)
    latest = shutil.copy(NODE / "driver.mjs", kept / f"{os.getpid()}.mjs")
    os.replace(latest, kept / "driver.mjs")  # another process may be starting it now
    return kept


def _install(kept: Path) -> None:
    """Install beside, then move: what bears the name is whole, and of two that install at once one stays."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=kept.parent))
    for name in ("package.json", "package-lock.json", "driver.mjs"):
        shutil.copy(NODE / name, beside)
    (beside / "tmp").mkdir()
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], beside)
    _run(["node", "driver.mjs", "--unpack"], beside)
    try:
        beside.rename(kept)
    except OSError:
        shutil.rmtree(beside)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, env=_environment(folder), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def _environment(folder: Path) -> dict[str, str]:
    """The browser is unpacked into the temporary folder, where it is found again the next time."""
    return {**os.environ, "TMPDIR": str(folder / "tmp")}


class Browser:
    """What a person does in a browser, one method for each; selectors as Playwright writes them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _does(self, what: str, **how: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"does": what, **how}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the browser has ended"
        said = json.loads(line)
        if "failed" in said:
            raise Failed(f"{what} {how}: {said['failed']}")
        return said["value"]

    def visit(self, size: tuple[int, int] = DESKTOP, locale: str = "zh-CN") -> None:
        """Begin as a new visitor, with no cookie and no storage."""
        self._does("visit", width=size[0], height=size[1], locale=locale)

    def goto(self, url: str) -> int | None:
        """Open a URL. Returns the status of the last answer."""
        status: int | None = self._does("goto", url=url)
        return status

    def fill(self, selector: str, text: str) -> None:
        self._does("fill", selector=selector, text=text)

    def click(self, selector: str) -> None:
        self._does("click", selector=selector)

    def check(self, selector: str, on: bool = True) -> None:
        self._does("check" if on else "uncheck", selector=selector)

    def wait(self, selector: str) -> None:
        self._does("wait", selector=selector)

    def press(self, key: str) -> None:
        self._does("press", key=key)

    def text(self, selector: str = "body") -> str:
        return str(self._does("text", selector=selector))

    def count(self, selector: str) -> int:
        return int(self._does("count", selector=selector))

    @property
    def url(self) -> str:
        return str(self._does("url"))

    def evaluate(self, script: str) -> Any:
        """Return what an expression of JavaScript is in the page; a promise is waited for."""
        return self._does("evaluate", script=script)

    def cookies(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._does("cookies")
        return found

    def screenshot(self, path: Path) -> None:
        self._does("screenshot", path=str(path))

    def told(self) -> list[str]:
        """What the pages wrote to the console since the visit began."""
        found: list[str] = self._does("told")
        return found


@contextmanager
def opened() -> Iterator[Browser]:
    """Yield a running browser."""
    folder = packages()
    process = subprocess.Popen(
        ["node", "driver.mjs"],
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Browser(process)
    finally:
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
