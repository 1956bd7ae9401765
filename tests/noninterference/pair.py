"""Server A, gated, over the whole store; server B, ungated, over what one user may see; and the store both are filled by.

Both have one keyring, one public base URL and one clock that stands still, so that every byte of their answers can be
compared; only the positions in page links are sealed with a random nonce and are compared opened.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx

from consent_engine.decision import Mode
from fhir_server.app import keyring_of
from fhir_server.crypto.keyring import Keyring
from fhir_server.interactions.cursor import opened_cursor
from tests.live import JSON, Clock, Live, live
from tests.noninterference.filled import Store
from tests.noninterference.oracle import NOW, Oracle, User
from tests.noninterference.world import BASE, World
from tests.noninterference.written import Records, Version

REPORTING = "Device/emr-h1"
PAGE = 3
AT_ONCE = 8  # questions that are asked at the same time: the server reads and stores for all of them together
CURSOR = re.compile(re.escape(BASE.encode()) + rb"/?([^?\"]*)\?_cursor=([A-Za-z0-9_-]+)")


class Pair:
    """Both servers, their stores, and a client each. asking: the threads in which questions are asked at the same time."""

    def __init__(
        self,
        a: Live,
        keyring: Keyring,
        stores: Sequence[Store],
        clients: Sequence[httpx.Client],
        asking: ThreadPoolExecutor,
    ) -> None:
        self.a = a
        self.store_a, self.store_b = stores
        self._keyring = keyring
        self._client_a, self._client_b = clients
        self._asking = asking
        self._examples = 0
        self.mode = Mode(a.settings.conflict_mode)

    def fresh(self) -> str:
        """Return the prefix of the ids of a new example; both stores are emptied."""
        self.store_a.empty()
        self.store_b.empty()
        self._examples += 1
        return f"x{self._examples:05d}"

    def oracle(self, world: World, user: User) -> Oracle:
        """Return what says anew what a user may see of a world on the gated server."""
        return Oracle(Records.of(world), user, reporting=REPORTING, mode=self.mode)

    def token(self, user: User) -> str:
        return self.a.bearer.issue(user.claims, lifetime=3600)

    def ask(self, token: str, asked: Asked) -> tuple[Answer, Answer]:
        """Return both servers' answers to one request."""
        return self._one(self._client_a, token, asked), self._one(self._client_b, token, asked)

    def ask_all(self, token: str, asked: Iterable[Asked]) -> list[tuple[Answer, Answer]]:
        """Return both servers' answers to each of these requests, none of which changes anything."""
        return list(self._asking.map(lambda each: self.ask(token, each), asked))

    def difference(self, token: str, asked: Iterable[Asked]) -> str | None:
        """Return where the answers to these requests, none of which changes anything, or to their next links differ."""

        def of_one(each: Asked) -> str | None:
            for gated, reference in self.follow(token, each):
                assert gated.status < 500, each.path
                if difference := gated.differs_from(reference):
                    return f"{each.path} {difference}"
            return None

        return next((found for found in list(self._asking.map(of_one, asked)) if found), None)

    def gated(self, token: str, paths: Iterable[str]) -> list[httpx.Response]:
        """Return the gated server's own answers to these requests."""
        headers = {"Authorization": f"Bearer {token}"}
        return list(self._asking.map(lambda path: self._client_a.get(path, headers=headers), paths))

    def follow(self, token: str, asked: Asked) -> Iterator[tuple[Answer, Answer]]:
        """Yield both answers to a request and to every next link after it."""
        asked_a = asked_b = asked
        for _ in range(40):
            of_a, of_b = self._one(self._client_a, token, asked_a), self._one(self._client_b, token, asked_b)
            yield of_a, of_b
            if of_a.next is None or of_b.next is None:
                return
            asked_a = Asked("GET", of_a.next, headers=asked.headers)
            asked_b = Asked("GET", of_b.next, headers=asked.headers)
        raise AssertionError("the pages do not end")

    def _one(self, client: httpx.Client, token: str, asked: Asked) -> Answer:
        found = client.request(
            asked.method,
            asked.path,
            content=asked.body,
            headers={"Authorization": f"Bearer {token}", "Content-Type": asked.content_type, **dict(asked.headers)},
        )

        def opened(match: re.Match[bytes]) -> bytes:
            requester = self.a.bearer.verify(token, now=0)
            place, cursor = match[1].decode(), match[2].decode()
            try:
                held = opened_cursor(self._keyring.cursor_key, requester, place, cursor)
            except ValueError:
                return match[0]
            return f"{BASE}/{place}?_cursor={held!r}".replace('"', "'").encode()

        headers = {name: value for name, value in found.headers.items() if name not in ("date", "server")}
        next_link = None
        if found.status_code == 200 and b'"relation":"next"' in found.content:
            links = {each["relation"]: each["url"] for each in found.json().get("link", ())}
            # A batch has no links of its own; the searches in it have.
            next_link = links["next"].removeprefix(BASE + "/") if "next" in links else None
        return Answer(found.status_code, CURSOR.sub(opened, found.content), headers, next_link)


@dataclass(frozen=True)
class Asked:
    """One request: method, path below the base with its query, body, headers."""

    method: str
    path: str
    body: bytes | None = None
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Answer:
    """What is compared of a response; next is the path of the next page."""

    status: int
    body: bytes
    headers: dict[str, str]
    next: str | None

    def differs_from(self, other: Answer) -> str | None:
        """Return where this answer differs from another, None if it does not; in a batch, the first entry that does."""
        if self.status != other.status or (self.headers != other.headers and self.body == other.body):
            return f"{self.status} {self.headers}\n{other.status} {other.headers}"
        if self.body == other.body or (self.headers == other.headers and self.reads_like(other)):
            return None
        mine, theirs = (json.loads(each.body).get("entry", []) for each in (self, other))
        for number, (one, two) in enumerate(zip_longest(mine, theirs)):
            if one != two:
                return f"entry {number}:\n{json.dumps(one)}\n{json.dumps(two)}"
        return f"{self.body!r}\n{other.body!r}"

    def reads_like(self, other: Answer) -> bool:
        """Return whether both say the same of something redacted, where the order of properties is nobody's secret."""
        if b'"REDACTED"' not in self.body or b'"REDACTED"' not in other.body:
            return False
        return bool(json.loads(self.body) == json.loads(other.body))


def visible(oracle: Oracle) -> list[tuple[Version, bool]]:
    """Return the versions that the oracle's user may see by a read or a search, as shown, each with whether it is current.

    Where the scopes allow only one of the two, both servers refuse the other whatever they hold.
    """
    found = []
    for versions in oracle.records.versions.values():
        for each in versions:
            if oracle.sees(each, "r") or oracle.sees(each, "s"):
                found.append((oracle.shown(each), each is versions[-1] and each.resource is not None))
    return found


def _kept_for_good(store: Store) -> None:
    """Drop the indexes by which MongoDB deletes what has ended: its clock goes on, the servers' stands still at NOW.

    Once a minute it would take codes, grants and counts that hold, from one of the two servers before the other.
    """
    for name in store.database.list_collection_names(filter={"name": {"$regex": "^[a-z]"}}):
        for index, said in store.database[name].index_information().items():
            if "expireAfterSeconds" in said:
                store.database[name].drop_index(index)


@contextmanager
def pair(
    mongo_uri: str, folder: Path, *, gated: bool = False, kept: type[Store] = Store, **settings: Any
) -> Iterator[Pair]:
    """Run both servers with these settings, over two databases that are dropped in the end.

    gated: whether the second is gated as the first is. kept: what fills and empties their databases.
    """
    common: dict[str, Any] = {
        "base_url": BASE,
        "page_size": PAGE,
        "reporting_clients": frozenset({REPORTING}),
        "clock": Clock(NOW),
        **settings,
    }
    names = [f"test_{secrets.token_hex(6)}" for _ in "ab"]
    with (
        live(mongo_uri, folder, database=names[0], **common) as a,
        live(mongo_uri, folder, database=names[1], gated=gated, **common) as b,
    ):
        keyring = keyring_of(a.settings)
        stores = [kept(mongo_uri, each.settings, keyring) for each in (a, b)]
        for each in stores:
            _kept_for_good(each)
        clients = [
            httpx.Client(base_url=f"http://127.0.0.1:{each.settings.port}/fhir/", headers={"Accept": JSON}, timeout=60)
            for each in (a, b)
        ]
        try:
            with ThreadPoolExecutor(AT_ONCE) as asking:
                yield Pair(a, keyring, stores, clients, asking)
        finally:
            for client in clients:
                client.close()
            for store in stores:
                store.close()
