"""A bare HTTP/1.1 client, for tens of thousands of requests: httpx spends more time on one than the server does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType

import httptools


@dataclass
class Answered:
    """A response. headers: by name in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


class _Reading:
    """What httptools tells of one response."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.complete = True


class Connection:
    """One connection, opened again when the server closes it; one request at a time."""

    def __init__(self, host: str, port: int, *, timeout: float) -> None:
        self._address = (host, port)
        self._timeout = timeout  # seconds for a whole answer
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._close()

    async def ask(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answered:
        """Return the answer to a request. Raises TimeoutError, ConnectionError."""
        said = {
            "Host": "localhost",
            **headers,
            **({"Content-Length": str(len(body))} if body or method != "GET" else {}),
        }
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in said.items())
        raw = head.encode("latin-1") + b"\r\n" + body
        async with asyncio.timeout(self._timeout):
            fresh = self._streams is None
            try:
                return await self._exchange(raw, method)
            except ConnectionError:  # the server may have closed a connection that was idle
                self._close()
                if fresh:
                    raise
                return await self._exchange(raw, method)

    async def _exchange(self, raw: bytes, method: str) -> Answered:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(raw)
        reading = _Reading()
        parser = httptools.HttpResponseParser(reading)
        ended = b""
        while not reading.complete:
            part = await reader.read(65536)
            if not part:
                raise ConnectionError("the connection was closed")
            parser.feed_data(part)
            ended += part if method == "HEAD" else b""
            if method == "HEAD" and b"\r\n\r\n" in ended:  # the headers are those of GET, and no body follows
                break
        if reading.headers.get("connection") == "close":
            self._close()
        return Answered(parser.get_status_code(), reading.headers, bytes(reading.body))

    def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
