"""A load from a fixed number of kept-alive connections, and what it measures."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer: status, body, seconds that it took."""

    status: int
    body: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A round: requests per second, and latencies in milliseconds."""

    per_second: float
    p50: float
    p99: float


class Target:
    """A server under load. base: of the FHIR API. token: of the user who asks."""

    def __init__(self, base: str, token: str, *, connections: int = 16) -> None:
        url = urlsplit(base)
        self._host, self._port, self._path = str(url.hostname), url.port or 80, url.path
        self._head = f"Host: {url.netloc}\r\nAuthorization: Bearer {token}\r\nAccept: application/fhir+json\r\n\r\n"
        self._connections = connections

    async def ask(self, paths: Sequence[str]) -> tuple[list[Answered], float]:
        """Return the answers to GETs of these paths, in order, and the seconds from the first to the last."""
        answers: list[Answered | None] = [None] * len(paths)
        waiting = iter(enumerate(paths))
        begun = time.perf_counter()
        await asyncio.gather(*(self._connection(waiting, answers) for _ in range(min(self._connections, len(paths)))))
        return [each for each in answers if each], time.perf_counter() - begun

    async def _connection(self, waiting: object, answers: list[Answered | None]) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port, limit=1 << 26)
        for place, path in waiting:  # type: ignore[attr-defined]
            begun = time.perf_counter()
            writer.write(f"GET {self._path}/{path} HTTP/1.1\r\n{self._head}".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            body = await reader.readexactly(_length(head))
            answers[place] = Answered(int(head[9:12]), body, time.perf_counter() - begun)
        writer.close()
        await writer.wait_closed()


def _length(head: str) -> int:
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0


def measured(answers: Sequence[Answered], seconds: float) -> Measured:
    """Return the figures of one round."""
    taken = sorted(each.seconds * 1_000 for each in answers)
    return Measured(
        len(answers) / seconds, statistics.median(taken), taken[min(len(taken) - 1, int(len(taken) * 0.99))]
    )


def middle(rounds: Sequence[Measured]) -> Measured:
    """Return the median of each figure."""
    return Measured(
        statistics.median(each.per_second for each in rounds),
        statistics.median(each.p50 for each in rounds),
        statistics.median(each.p99 for each in rounds),
    )
