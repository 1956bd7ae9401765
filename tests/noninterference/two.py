"""Two servers that are gated alike: one holds everything, the other only what is visible to a doctor who asks both."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from fhir_server.app import keyring_of
from fhir_server.interactions.cursor import opened_cursor
from tests.databases import fresh
from tests.live import JSON, Clock, Live, live
from tests.noninterference.oracle import NOW
from tests.noninterference.world import BASE

Json = dict[str, Any]
CURSOR = re.compile(re.escape(BASE) + r"/?([^?\"]*)\?_cursor=([A-Za-z0-9_-]+)")


@dataclass
class Two:
    """A server that holds everything, one that holds what is visible, and a doctor's clients of both."""

    whole: Live
    clients: tuple[httpx.Client, httpx.Client]

    def answers(self, path: str) -> Iterator[tuple[httpx.Response, str]]:
        for client in self.clients:
            answer = client.get(path)
            yield answer, CURSOR.sub(self._opened, answer.text)

    def _opened(self, link: re.Match[str]) -> str:
        token = self.clients[0].headers["Authorization"].removeprefix("Bearer ")
        requester = self.whole.bearer.verify(token, now=0)
        key = keyring_of(self.whole.settings).cursor_key
        return f"{link[1]} {opened_cursor(key, requester, link[1], link[2])!r}"


@contextmanager
def serving(
    mongo_uri: str, folder: Path, everything: Mapping[str, Iterable[Json]], visible: Iterable[Json], **settings: Any
) -> Iterator[Two]:
    """Run both servers. everything: by institution, what the one holds; visible: what the other holds, all of org1."""
    common: dict[str, Any] = {"base_url": BASE, "clock": Clock(NOW), **settings}
    with ExitStack() as stack:
        names = [stack.enter_context(fresh(mongo_uri)) for _ in "ab"]
        both = [stack.enter_context(live(mongo_uri, folder, database=name, **common)) for name in names]
        for server, held in zip(both, (everything, {"org1": visible}), strict=True):
            for organization, resources in held.items():
                token = server.token("system", f"Device/{organization}", organization, scope="system/*.cruds")
                _store(stack.enter_context(_client(server, token)), resources)
        token = both[0].token("practitioner", "Practitioner/dr1")
        doctors = [stack.enter_context(_client(each, token)) for each in both]
        yield Two(both[0], (doctors[0], doctors[1]))


def _client(server: Live, token: str) -> httpx.Client:
    """Return a client of a server that is known to the world under another name."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": JSON, "Accept": JSON}
    return httpx.Client(base_url=f"http://127.0.0.1:{server.settings.port}/fhir/", headers=headers, timeout=60)


def _store(system: httpx.Client, resources: Iterable[Json]) -> None:
    for each in resources:
        answer = system.put(f"{each['resourceType']}/{each['id']}", json=each)
        assert answer.status_code == 201, answer.text
