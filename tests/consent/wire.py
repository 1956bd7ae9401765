"""HTTP as the suite needs it: kept connections of each user, one for each question at the same time; answers as they came.

Only the standard library, so that the suite runs wherever Python does.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

FHIR_JSON = "application/fhir+json"
FORM = "application/x-www-form-urlencoded"
IDLE = 2.0  # seconds after which a connection may have been closed by the server: a new one is made
SAFE = "/?&=:,%$_-.~+*()!@;'"


@dataclass(frozen=True)
class Answer:
    """What a server answered. headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        """The body as JSON; an empty object if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    @cached_property
    def text(self) -> str:
        """The body and the headers, where nothing may stand that is hidden."""
        told = "\n".join(f"{name}: {value}" for name, value in self.headers.items())
        return f"{self.body.decode('utf-8', 'replace')}\n{told}"

    @property
    def entries(self) -> list[Any]:
        return list(self.json.get("entry", ())) if isinstance(self.json, dict) else []

    @property
    def ids(self) -> list[str]:
        """The ids of the resources in a Bundle, in their order."""
        return [str(each["resource"].get("id")) for each in self.entries if "resource" in each]

    def link(self, relation: str) -> str | None:
        """Return the URL of a Bundle's link."""
        return next((str(each["url"]) for each in self.json.get("link", ()) if each["relation"] == relation), None)


class Wire:
    """Connections to a server with one user's token; several threads may ask through them."""

    def __init__(self, base: str, token: str | None) -> None:
        self._base = urlsplit(base)
        self._headers = {"Accept": FHIR_JSON, **({"Authorization": f"Bearer {token}"} if token else {})}
        self._kept: list[tuple[HTTPConnection, float]] = []  # free now, with when they were used last

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, type: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        for connection, _ in self._kept:
            connection.close()

    def get(self, place: str, **headers: str) -> Answer:
        return self.send("GET", place, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, place: str, body: Any) -> Answer:
        """Return the answer to a POST. body: a form as text, or JSON."""
        return self.send("POST", place, body)

    def send(self, method: str, place: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Return the answer to a request. place: relative to the base, or a URL that the server gave."""
        kind = {"Content-Type": FORM if isinstance(body, str) else FHIR_JSON} if body is not None else {}
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body is not None else None
        return self._exchange(method, self._path(place), content, {**self._headers, **kind, **(headers or {})})

    def _path(self, place: str) -> str:
        parts = urlsplit(place)
        if parts.scheme in ("http", "https"):
            return quote(f"{parts.path}?{parts.query}" if parts.query else parts.path, safe=SAFE)
        joint = "" if not place or place.startswith("?") else "/"
        return quote(f"{self._base.path}{joint}{place}", safe=SAFE)

    def _exchange(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        kept = self._free()
        connection = kept or self._connected()
        try:
            connection.request(method, path, content, dict(headers))
            got = connection.getresponse()
            body = got.read()
        except (HTTPException, ConnectionError):
            connection.close()
            if kept is None or method not in ("GET", "HEAD"):
                raise
            return self._exchange(method, path, content, headers)  # a kept connection had been closed
        self._kept.append((connection, time.monotonic()))
        return Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, body)

    def _free(self) -> HTTPConnection | None:
        """Return a kept connection that nobody uses now; None if there is none that the server still has open."""
        with suppress(IndexError):
            while True:
                connection, used = self._kept.pop()
                if time.monotonic() - used <= IDLE:
                    return connection
                connection.close()
        return None

    def _connected(self) -> HTTPConnection:
        host, port = self._base.hostname or "localhost", self._base.port
        if self._base.scheme == "https":
            return HTTPSConnection(host, port, timeout=60, context=ssl.create_default_context())
        return HTTPConnection(host, port, timeout=60)
