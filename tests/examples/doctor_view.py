"""Two hospitals that know the same person, and the doctor's view (examples/doctor-view) served for one of their doctors."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from pymongo import AsyncMongoClient

from fhir_server.app import keyring_of
from fhir_server.consenting.ways.box import Box
from fhir_server.consenting.ways.transport import Message, StandIn
from fhir_server.demo.clinical import record
from fhir_server.demo.institutions import Doctor, Institution, staff
from fhir_server.demo.people import Registered, patient, registered
from tests.live import free_port
from tests.smart.browser import Browser
from tests.smart.test_browser import sign_in
from tests.smart.world import World, world

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "doctor-view"
CLIENT = "doctor-view"
SCOPES = (
    "launch launch/patient openid fhirUser online_access patient/*.rs patient/Consent.cu patient/DocumentReference.c"
)
OWN, FOREIGN = "示范市第一人民医院", "示范市中医医院"
HARMFUL = '<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>'

_DEPARTMENTS = (("internal", "内科"), ("laboratory", "检验科"))
HOSPITALS = (
    Institution("org1", "a", OWN, "100-0000-1000", _DEPARTMENTS, tuple(
        Doctor(f"d{number}", "李", f"医生{number}", "female", "internal", "主任医师") for number in range(1, 9)
    )),
    Institution("org2", "b", FOREIGN, "100-0000-2000", _DEPARTMENTS, (
        Doctor("d9", "赵", "医生", "male", "internal", "主任中医师"),
    )),
)  # fmt: skip
PERSON = "pat-a-001"  # at the own hospital; pat-b-001 at the other


def known(at: Institution) -> Registered:
    """Return the person of these tests as a hospital knows them."""
    return next(iter(registered(at)))


def more(of: Registered) -> Iterator[dict[str, Any]]:
    """Yield what the demo's records have none of: a transfusion, a blood donation, a check-up, and texts that mean harm."""
    procedure = {"resourceType": "Procedure", "status": "completed", "subject": of.subject()}
    yield {**procedure, "id": of.key("transfused"), "code": {"text": "输血"}, "performedDateTime": "2025-06-01"}
    yield {**procedure, "id": of.key("donated"), "code": {"text": "无偿献血"}, "performedDateTime": "2020-02-03"}
    checkup = {"system": "http://hl7.org/fhir/sid/icd-10", "code": "Z00.0"}
    ambulatory = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    yield {
        "resourceType": "Encounter",
        "id": of.key("checked"),
        "status": "finished",
        "class": ambulatory,
        "subject": of.subject(),
        "reasonCode": [{"coding": [checkup], "text": "年度健康检查"}],
        "period": {"start": "2026-04-01T08:00:00+08:00", "end": "2026-04-01T11:00:00+08:00"},
    }
    yield {
        "resourceType": "Condition",
        "id": of.key("harmful"),
        "code": {"text": HARMFUL},
        "subject": of.subject(),
        "recordedDate": "2026-06-02",
        "note": [{"text": HARMFUL}],
    }


def transaction(resources: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Return a transaction that stores resources under their own ids."""
    entries = [
        {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
        for each in resources
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _all(at: Institution) -> Iterator[dict[str, Any]]:
    of = known(at)
    yield from staff(at)
    yield patient(of)
    yield from record(of)
    yield from more(of)


@contextmanager
def hospitals(mongo_uri: str, folder: Path) -> Iterator[tuple[World, str]]:
    """Run the server with both hospitals in it, and the example beside it. Yields the server and the app's origin."""
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    with world(mongo_uri, folder, redirect=f"{origin}/index.html", message_stand_in=True) as made:
        for at in HOSPITALS:
            with made.live.system(at.id) as emr:
                answer = emr.post("", json=transaction(_all(at)))
                assert answer.status_code == 200, answer.text
        add = f"client add {CLIENT} --kind public --name 跨机构病历 --redirect {origin}/index.html"
        made.command(*add.split(), "--launch-uri", f"{origin}/index.html", "--scope", SCOPES)
        with served(port, made.base):
            yield made, origin


@contextmanager
def served(port: int, base: str) -> Iterator[None]:
    """Run serve.py as it stands."""
    command = [sys.executable, str(EXAMPLE / "serve.py"), "--port", str(port), "--server", base]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline().strip() == f"http://127.0.0.1:{port}/"
        _answers(f"http://127.0.0.1:{port}/config.json")
        yield
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout:
            process.stdout.close()


def _answers(url: str) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the example does not answer")


def messages(made: World) -> list[Message]:
    """Return what was sent to patients, newest first."""

    async def delivered() -> list[Message]:
        async with AsyncMongoClient[dict[str, Any]](made.mongo_uri) as mongo:
            settings = made.live.settings
            return await StandIn(mongo[settings.database], Box(keyring_of(settings)), made.live.clock).delivered()

    return asyncio.run(delivered())


def launch(browser: Browser, made: World, origin: str, number: int, **more: str) -> None:
    """Open the app from the EMR for one of the doctors, sign in, approve, and wait for the timeline."""
    answer = made.launch(user=f"Practitioner/d{number}", patient=PERSON, encounter="enc-a-001-7")
    assert answer.status_code in (200, 201), answer.text
    given = {"iss": made.base, "launch": answer.json()["launch"], **more}
    browser.goto(f"{origin}/index.html?{urlencode(given)}")
    sign_in(browser, f"doctor{number}")
    browser.wait("button[value=allow]")
    browser.click("button[value=allow]")
    settled(browser)


def settled(browser: Browser) -> None:
    """Wait until the timeline is there with what it has loaded."""
    browser.wait("#timeline #counted:not(:has(~ p[role=status]))")
