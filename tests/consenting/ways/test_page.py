"""The page of messages: for operators who are signed in, where the stand-in is in use; each look is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fhir_server.auth.requester import Role
from tests.auth.accounts.house import Browser, House
from tests.consenting.ways.reading import code_for
from tests.consenting.world import asked, doctor, person
from tests.databases import fresh
from tests.live import live

OPERATOR = "Practitioner/operator"


@pytest.fixture(scope="module")
def trial(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("trial")
    with (
        fresh(mongo_uri) as name,
        live(mongo_uri, folder, database=name, message_stand_in=True, operators=[OPERATOR]) as server,
    ):
        house = House(server, mongo_uri)
        yield house
        house.close()


def signed_in(trial: House, role: Role, user: str) -> Browser:
    """Return the browser of somebody who has signed in, with a second factor if their role needs one."""
    return trial.browser(trial.account(role, user)).open("/auth/sign-in").sign_in()


def test_operators_see_what_was_sent_and_their_look_is_recorded(trial: House, mongo_uri: str) -> None:
    person(trial.server, "shown", 350)
    with doctor(trial.server) as client:
        asked(client, "shown-1", way="sms")
    code = code_for(trial.server, mongo_uri, "shown-1")
    browser = signed_in(trial, Role.PRACTITIONER, OPERATOR).open("/pages/messages")
    assert (browser.page.status_code, browser.page.url.path) == (200, "/pages/messages")
    assert code in browser.text
    assert "13800000001" in browser.text
    assert "Messages sent" in browser.open("/pages/messages", lang="en").text
    with trial.server.client("auditor", "Practitioner/auditor") as auditor:
        found = auditor.get("AuditEvent", params={"entity": "Patient/shown-1", "agent": OPERATOR}).json()
    assert found["total"] == 2


@pytest.mark.parametrize(("role", "user"), [(Role.PRACTITIONER, "Practitioner/dr9"), (Role.PATIENT, "Patient/shown-1")])
def test_nobody_else_does(trial: House, role: Role, user: str) -> None:
    browser = signed_in(trial, role, user).open("/pages/messages")
    assert (browser.page.status_code, "13800000001" in browser.text) == (403, False)


def test_who_is_not_signed_in_is_led_to_the_sign_in(trial: House) -> None:
    assert trial.browser().open("/pages/messages").page.url.path == "/auth/sign-in"


def test_without_the_stand_in_there_is_no_page_and_no_way_by_messages(
    mongo_uri: str, database_name: str, tmp_path: Path
) -> None:
    with live(mongo_uri, tmp_path, database=database_name) as server, doctor(server) as client:
        assert httpx.get(f"{server.settings.origin}/pages/messages").status_code == 404
        person(server, "real", 351)
        for way in ("sms", "message", "guardian"):
            body = {"resourceType": "Parameters", "parameter": [{"name": "way", "valueString": way}]}
            answer = client.post("Patient/real-1/$request-authorization", json=body)
            assert (answer.status_code, "message_stand_in" in answer.text) == (422, True)
        assert asked(client, "real-1", way="app")
        assert asked(client, "real-1", way="paper", type=["Condition"])
