"""By the clock: requests expire, patients are told once before an authorization ends, by one process at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from typer.testing import CliRunner

from fhir_server.app import assemble, keyring_of
from fhir_server.cli import app
from fhir_server.consenting.reminders import Done
from fhir_server.consenting.ways.box import Box
from fhir_server.consenting.ways.transport import MESSAGES, QUEUE, Message
from tests.consenting.world import ASKS, asked, both, done, organization, person, sees, status, step
from tests.databases import fresh
from tests.live import Clock, Live, live

START = datetime.now(UTC)


def in_days(days: int) -> str:
    """Return the day that comes so many days after the start, which may have been before midnight."""
    return (START + timedelta(days=days)).date().isoformat()


@dataclass
class Site:
    """A server with its clock, and the same installation as another process has it."""

    server: Live
    uri: str
    again: Callable[[], Done | None]

    def at(self, days: float) -> None:
        self.server.clock.now = START + timedelta(days=days)

    def messages(self) -> list[Message]:
        """Return the messages to patients that tell of an end: waiting or sent."""
        box = Box(keyring_of(self.server.settings))
        with MongoClient[dict[str, Any]](self.uri) as client:
            database = client[self.server.settings.database]
            waiting = [Message(**box.opened(f"queued|{each['_id']}", each["body"])) for each in database[QUEUE].find()]
            sent = [Message(**box.opened(f"message|{each['_id']}", each["body"])) for each in database[MESSAGES].find()]
        found = {each.id: each for each in (*waiting, *sent)}
        return [each for each in found.values() if "到期" in each.text and "到期自动失效，您无需操作" in each.text]


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, clock = tmp_path_factory.mktemp("reminders"), Clock()
    chosen = {"message_stand_in": True, "remind_days": 5}
    with fresh(mongo_uri) as name, live(mongo_uri, folder, database=name, clock=clock, **chosen) as server:

        async def once() -> Done | None:
            parts = assemble(server.settings, keyring_of(server.settings), uri=mongo_uri, clock=clock)
            try:
                await parts.definitions.renew()
                return await parts.reminders.once()
            finally:
                await parts.client.close()

        server.put(organization(ASKS, "第一人民医院"), organization=ASKS)
        clock.now = START
        yield Site(server, mongo_uri, lambda: asyncio.run(once()))


def test_a_patient_is_told_once_before_the_end(site: Site) -> None:
    person(site.server, "told", 1)
    site.at(0)
    with both(site.server, "told") as (asking, answering):
        id = asked(asking, "told-1", expires=in_days(20))
        done(answering, id, "confirm")
        site.at(10)
        assert site.again() == Done(0, 0)
        assert not site.messages()
        site.at(16)
        both_times = [site.again(), site.again()]
        assert both_times == [Done(0, 1), Done(0, 0)]
        (message,) = site.messages()
        assert "第一人民医院" in message.text
        assert (message.channel, message.to) == ("sms", "13800000001")
        notices = answering.get("Communication", params={"category": "reminder"}).json()["entry"]
        assert [each["resource"]["about"] for each in notices] == [[{"reference": f"Consent/{id}/_history/3"}]]
        assert sees(asking, "told")
        site.at(22)
        assert site.again() == Done(0, 0, 1)
        assert not sees(asking, "told")
        assert status(asking, "told-1")["status"] == "expired"


def test_of_what_was_revoked_nobody_is_reminded(site: Site) -> None:
    person(site.server, "gone", 2)
    site.at(0)
    with both(site.server, "gone") as (asking, answering):
        id = asked(asking, "gone-1", expires=in_days(20))
        done(answering, id, "confirm")
        done(answering, id, "revoke")
        site.at(17)
        site.again()
        assert "entry" not in answering.get("Communication", params={"category": "reminder"}).json()


def test_what_nobody_answers_expires_by_itself(site: Site) -> None:
    person(site.server, "silent", 3)
    site.at(0)
    with both(site.server, "silent") as (asking, answering):
        id = asked(asking, "silent-1")
        site.at(0.9)
        assert site.again() == Done(0, 0)
        site.at(1.1)
        assert site.again() == Done(1, 0)
        assert site.again() == Done(0, 0)
        ended = answering.get(f"Consent/{id}").json()
        assert ended["status"] == "inactive"
        assert ended["extension"][0]["extension"][0]["valueCode"] == "expired"
        told = answering.get("Provenance", params={"target": f"Consent/{id}"}).json()["entry"]
        assert any(each["resource"]["agent"][0]["who"] == {"display": "fhir-facade"} for each in told)
        assert step(answering, id, "confirm").status_code == 409


def test_what_an_institution_changed_is_put_away_without_a_word(site: Site) -> None:
    person(site.server, "touched", 4)
    site.at(0)
    with both(site.server, "touched") as (asking, _), site.server.system(ASKS) as system:
        id = asked(asking, "touched-1")
        changed = system.get(f"Consent/{id}").json() | {"language": "zh"}
        assert system.put(f"Consent/{id}", json=changed).status_code == 200
        site.at(1.1)
        site.again()
        assert site.again() == Done(0, 0)
        assert system.get(f"Consent/{id}").json()["status"] == "proposed"


def test_the_command_does_it_once(mongo_uri: str, database_name: str, tmp_path: Path) -> None:
    said = {
        "FHIR_MONGODB_URI": mongo_uri,
        "FHIR_DATABASE": database_name,
        "FHIR_DATA": str(tmp_path),
        "FHIR_ZONE": "UTC",
    }
    ran = CliRunner().invoke(app, ["consents", "remind"], env=said)
    assert (ran.exit_code, ran.stdout) == (0, "0 patients reminded, 0 requests expired\n")
