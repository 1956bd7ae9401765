"""The audit desk in a headless Chromium, on a phone and on a screen: it fits, it can be used, and it is WCAG AA."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
from pymongo import MongoClient

from fhir_server.auth.requester import Role
from tests.auth.accounts.house import PASSWORD, SECRET, House
from tests.databases import fresh
from tests.live import live
from tests.smart.browser import Browser, opened, packages

SIZES = {"phone": (390, 844), "desktop": (1280, 900)}
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
AXE = """axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
  .then(({violations}) => violations.map(({id, nodes}) => `${id}: ${nodes.map(({html}) => html).join(" ")}`))"""


@pytest.fixture(scope="module")
def house(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A hospital of which somebody has searched, been refused, and broken the glass; one event was tampered with."""
    with fresh(mongo_uri) as name, live(mongo_uri, tmp_path_factory.mktemp("house"), database=name) as server:
        made = House(server, mongo_uri)
        subject = {"reference": "Patient/p-2026-0001"}
        record = {"resourceType": "Observation", "id": "o1", "status": "final", "code": {"text": "x"}}
        server.put(
            {"resourceType": "Organization", "id": "org1", "name": "第一人民医院"},
            {"resourceType": "Practitioner", "id": "dr1", "name": [{"text": "欧阳小明"}]},
            {"resourceType": "Patient", "id": "p-2026-0001", "name": [{"text": "张三丰"}]},
            {**record, "subject": subject},
        )
        said = {
            "purpose": "ETREAT",
            "patient": "Patient/p-2026-0001",
            "reason": "昏迷患者抢救，需要了解过敏史和近期用药",
        }
        with server.client("practitioner", "Practitioner/dr1") as doctor:
            doctor.get("Observation", params={"patient": "Patient/p-2026-0001"})
            doctor.get("Observation/none")
        with server.client("practitioner", "Practitioner/er-physician-0042", "org2", **said) as doctor:
            assert doctor.get("Observation/o1").status_code == 200
        yield made


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    with opened() as browser:
        yield browser


def enter(browser: Browser, house: House) -> None:
    """Sign in as an auditor, from the page that the desk shows to nobody."""
    account = house.account(Role.AUDITOR, "Practitioner/aud", "org1", name="审计员李")
    assert browser.goto(f"{house.origin}/desk") == 401
    browser.click("main a")
    browser.fill("#login", account.login)
    browser.fill("#password", PASSWORD)
    browser.click("button[value=sign-in]")
    browser.wait("#code")
    browser.fill("#code", pyotp.TOTP(SECRET).at(int(house.server.clock().timestamp())))
    browser.click("button[value=code]")
    browser.click("main a[href='/auth/desk']")
    browser.wait("#patient")


def looked_at(browser: Browser, folder: Path, name: str) -> None:
    """Check the page as it is, and keep its picture."""
    browser.evaluate((packages() / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8") + ";null")
    assert browser.evaluate(AXE) == [], name
    assert browser.evaluate(FITS), name
    browser.screenshot(folder / f"{name}.png")


@pytest.mark.parametrize("size", SIZES)
def test_an_auditor_works_at_the_desk(
    running: Browser, house: House, size: str, tmp_path: Path, mongo_uri: str
) -> None:
    running.visit(SIZES[size])
    enter(running, house)
    looked_at(running, tmp_path, "search")
    running.fill("#patient", "张三")
    running.click("button[value=search]")
    running.wait("div[role=alert] a[href='#patient']")
    looked_at(running, tmp_path, "unclear")
    running.fill("#patient", "p-2026-0001")
    running.click("button[value=search]")
    running.wait("table")
    looked_at(running, tmp_path, "found")
    running.fill("#user", "欧阳")
    running.click("button[value=search]")
    running.wait("tbody")
    running.click("tbody tr:first-child td:last-child a")
    running.wait("dl.told")
    looked_at(running, tmp_path, "event")
    running.click("main a[href$='/replay']")
    running.wait("p.verdict")
    looked_at(running, tmp_path, "replay")
    running.click("nav li:nth-child(2) a")
    running.click("ul.choices li:last-child a")
    running.wait("tbody")
    looked_at(running, tmp_path, "emergencies")
    running.click("tbody tr:first-child td:last-child a")
    running.wait("#note")
    running.click("button[value=questioned]")
    running.wait("div[role=alert]")
    running.fill("#note", "抢救记录中未见该患者，请说明。")
    running.click("button[value=questioned]")
    running.wait("h2 + dl")
    looked_at(running, tmp_path, "emergency")
    with MongoClient[dict[str, object]](mongo_uri) as client:
        log = client[house.server.settings.database]["AuditEvent"]
        log.update_one({"org": "org1"}, {"$inc": {"at": 1_000}})
    running.click("nav li:nth-child(3) a")
    running.click("button[value=chain]")
    while running.count("p.verdict") == 0 or running.count("main a[href='/desk/chain']"):
        running.goto(f"{house.origin}/desk/chain")
    looked_at(running, tmp_path, "chain")
    assert [each for each in running.told() if "Failed to load resource" not in each] == []
