"""What is hidden costs MongoDB as many commands as what is not there, and is answered with the same headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any

import httpx
import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from fhir_server import app
from tests.consent_engine.build import HIV, coding
from tests.databases import fresh
from tests.live import Clock, Live, live
from tests.noninterference.both import parameters
from tests.noninterference.oracle import NOW
from tests.noninterference.test_found import denial, patient, record

Json = dict[str, Any]
REPEATED = 3  # what goes on beside the requests is not in all of them


@dataclass
class Commands(CommandListener):
    """The commands of one database, by name and collection, since they were last taken."""

    database: str
    found: Counter[tuple[str, str]] = field(default_factory=Counter)

    def started(self, event: CommandStartedEvent) -> None:
        if event.database_name == self.database:
            self.found[event.command_name, str(event.command[event.command_name])] += 1

    def succeeded(self, event: CommandSucceededEvent) -> None:
        return

    def failed(self, event: CommandFailedEvent) -> None:
        return

    def taken(self) -> Counter[tuple[str, str]]:
        found, self.found = self.found, Counter()
        return found


@dataclass
class House:
    """A server with records of two institutions, and what is asked of its database."""

    server: Live
    commands: Commands
    doctor: httpx.Client

    def asked(
        self, method: str, path: str, body: Json | None = None
    ) -> tuple[httpx.Response, Counter[tuple[str, str]]]:
        """Return the answer to a request, and the commands that it takes."""
        found = []
        for _ in range(REPEATED + 1):
            self.commands.taken()
            answer = self.doctor.request(method, path, json=body)
            found.append(self.commands.taken())
        return answer, reduce(lambda one, two: one & two, found[1:])


@pytest.fixture(scope="module")
def house(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with fresh(mongo_uri) as name, pytest.MonkeyPatch.context() as patched:
        commands = Commands(name)
        patched.setattr(app, "AsyncMongoClient", partial(AsyncMongoClient, event_listeners=[commands]))
        with live(mongo_uri, tmp_path_factory.mktemp("house"), database=name, clock=Clock(NOW)) as server:
            server.put(
                {"resourceType": "Organization", "id": "org1", "name": "First"}, patient("shown"), patient("own")
            )
            server.put(denial("d", "own", securityLabel=[coding(*HIV)]))
            server.put(patient("shut"), denial("ds", "shut"))
            server.put(record("labelled", "own", meta={"security": [coding(*HIV)]}))
            server.put(patient("other"), record("elsewhere", "other"), organization="org2")
            with server.client("practitioner", "Practitioner/dr1") as doctor:
                yield House(server, commands, doctor)


# Of another institution; and of the own one, which the patient denies to the doctor.
HIDDEN = {"Observation": ("elsewhere", "labelled"), "Patient": ("other", "shut")}
ASKED = [
    ("Observation", "GET", "Observation/{}"),
    ("Observation", "HEAD", "Observation/{}"),
    ("Observation", "GET", "Observation/{}/_history"),
    ("Observation", "GET", "Observation/{}/_history/1"),
    ("Observation", "GET", "Observation?_id={}"),
    ("Observation", "GET", "Observation?_id={}&_summary=count"),
    ("Observation", "GET", "Observation?_id={}&_include=*"),
    ("Observation", "GET", "Patient?_has:Observation:subject:_id={}"),
    ("Observation", "GET", "Observation/{}/$meta"),
    ("Observation", "PUT", "Observation/{}"),
    ("Observation", "DELETE", "Observation/{}"),
    ("Patient", "GET", "Patient/{}"),
    ("Patient", "GET", "Patient?_id={}&_revinclude=Observation:subject"),
    ("Patient", "GET", "Patient/{}/Observation"),
    ("Patient", "GET", "Patient/{}/$everything"),
    ("Patient", "GET", "Patient/{}/$authorization-status"),
    ("Patient", "GET", "Observation?subject:Patient._id={}"),
    ("Patient", "POST", "Patient/{}/$request-authorization"),
]


@pytest.mark.parametrize(("kind", "method", "path"), ASKED)
def test_what_is_hidden_takes_what_absence_takes(house: House, kind: str, method: str, path: str) -> None:
    for hidden in HIDDEN[kind]:
        never = "x" * len(hidden)
        (denied, taken), (absent, expected) = (
            house.asked(method, path.format(each), body(method, each)) for each in (hidden, never)
        )
        assert (denied.status_code, told(denied, hidden)) == (absent.status_code, told(absent, never))
        assert denied.text.replace(hidden, never) == absent.text
        assert taken == expected, (taken - expected, expected - taken)


def body(method: str, id: str) -> Json | None:
    if method == "PUT":
        return record(id, "own")
    return parameters(way="app") if method == "POST" else None


def told(answer: httpx.Response, id: str) -> list[tuple[str, str]]:
    return sorted((name, value.replace(id, "x" * len(id))) for name, value in answer.headers.items() if name != "date")
