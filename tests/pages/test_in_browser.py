"""Patients' pages in a headless Chromium, on a phone and on a desk: what they look like, and WCAG 2.1 AA by axe-core."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.auth.accounts.house import PASSWORD
from tests.consent_engine.build import ACT_REASON, actor, codings, deny, permit
from tests.pages.ward import Ward, number, observation, phone
from tests.smart.browser import Browser, opened, packages

SIZES = {"phone": (320, 640), "desk": (1280, 800)}
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PICTURES = os.environ.get("FHIR_TEST_PICTURES")  # a folder to keep pictures of the pages in
# How high what is pressed has to be at least, in CSS pixels (WCAG 2.2, 2.5.5).
TARGET = 44


@cache
def axe() -> str:
    return (packages() / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def judged(browser: Browser) -> list[str]:
    """Return what axe-core finds wrong with a page: the rule and the places."""
    browser.evaluate(f"(() => {{ {axe()}; return true; }})()")
    run = f"axe.run({{runOnly: {{type: 'tag', values: {json.dumps(TAGS)}}}}})"
    found: list[Any] = browser.evaluate(f"{run}.then(found => found.violations)")
    return [f"{each['id']}: {[node['target'] for node in each['nodes']]}" for each in found]


def small(browser: Browser) -> list[str]:
    """Return the links, buttons and fields of a page that are too low to be pressed with a finger."""
    low = f"each => each.offsetHeight && each.offsetHeight < {TARGET}"
    every = "[...document.querySelectorAll('a:not(.skip), button, input:not([type=hidden])')]"
    found: list[str] = browser.evaluate(f"{every}.filter({low}).map(each => each.textContent || each.name)")
    return found


class Looking:
    """A browser of one size and language, every page of which is judged."""

    def __init__(self, browser: Browser, ward: Ward, name: str, lang: str) -> None:
        self.browser, self.ward, self.name, self.lang = browser, ward, name, lang
        browser.visit(SIZES[name], {"zh": "zh-CN", "en": "en-GB"}[lang])

    def open(self, path: str) -> None:
        self.browser.goto(f"{self.ward.house.origin}{path}")

    def press(self, selector: str) -> None:
        """Press what leads to another page, and wait until it is there."""
        self.browser.evaluate("document.documentElement.classList.add('left')")
        self.browser.click(selector)
        self.browser.wait("html:not(.left)")

    def fine(self, called: str) -> None:
        """Fail unless the page that is shown is as it should be."""
        browser = self.browser
        if PICTURES:
            browser.screenshot(Path(PICTURES) / f"{called}-{self.name}-{self.lang}.png")
        assert judged(browser) == []
        assert browser.evaluate(FITS)
        assert small(browser) == []
        assert browser.evaluate("document.documentElement.lang") == {"zh": "zh-CN", "en": "en"}[self.lang]
        assert not [each for each in browser.told() if each.startswith("error") and "Failed to load" not in each]

    def sign_in(self, login: str) -> None:
        self.browser.fill("#login", login)
        self.browser.fill("#password", PASSWORD)
        self.press("button[value=sign-in]")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with opened() as browser:
        yield browser


@pytest.mark.parametrize(("size", "lang"), [("phone", "zh"), ("desk", "en")])
def test_a_patient_goes_through_their_pages(chromium: Browser, ward: Ward, size: str, lang: str) -> None:
    known = number(secrets.randbelow(300_000))
    id = ward.person(number=known)
    there = ward.person(number=known, organization="org2")
    ward.server.put(observation(f"o-{there}", there), organization="org2")
    asked, account = ward.asked(id), ward.account(id)
    inner = deny(actor=[actor("Practitioner/dr-org2")])
    ward.granted(id, provision=permit(purpose=codings(ACT_REASON, "HRESCH"), provision=[inner]))
    given = ward.granted(id)
    emergency = {"purpose": "ETREAT", "reason": "患者昏迷", "patient": f"Patient/{there}"}
    with ward.doctor("org2") as doctor, ward.doctor("org1", **emergency) as er:
        doctor.get("Observation", params={"patient": f"Patient/{there}"})
        assert er.get(f"Patient/{there}").status_code == 200
    with ward.server.client("system", "Device/report", "org1", purpose="PUBHLTH", scope="system/*.rs") as reporting:
        reporting.get(f"Patient/{id}")
    with ward.doctor("org1") as own:
        own.get(f"Patient/{there}")
    looking = Looking(chromium, ward, size, lang)
    looking.open("/my/authorizations")
    looking.fine("sign-in")
    looking.browser.fill("#login", account.login)
    looking.browser.fill("#password", "something else")
    looking.press("button[value=sign-in]")
    looking.fine("sign-in-wrong")
    looking.sign_in(account.login)
    looking.fine("list")
    looking.press(f"a[href='/my/authorizations/{asked}']")
    looking.fine("asked")
    looking.press("button[value=agree]")
    looking.fine("agreed")
    looking.open(f"/my/authorizations/{given}")
    looking.press("a.button")
    looking.fine("revoke")
    looking.press("button[value=revoke]")
    looking.fine("revoked")
    looking.open("/my/authorizations")
    looking.fine("list-after")
    looking.press("a[href='/my/access']")
    looking.fine("access")
    looking.open("/my/authorizations/never")
    looking.fine("absent")


@pytest.mark.parametrize(("size", "lang"), [("phone", "zh")])
def test_a_booking_sends_somebody_to_the_page_and_gets_them_back(
    chromium: Browser, ward: Ward, size: str, lang: str
) -> None:
    known, to = number(secrets.randbelow(300_000)), f"138{secrets.randbelow(10**8):08}"
    id, _ = (ward.person(number=known, organization=each, **phone(to)) for each in ("org1", "org2"))
    account = ward.account(id)
    looking = Looking(chromium, ward, size, lang)
    browser = looking.browser
    url = ward.prompt(id, return_url=ward.back, lang=lang).json()["url"]
    browser.goto(url)
    looking.fine("prompt")
    looking.press("button[value=send]")
    looking.fine("prompt-code")
    browser.fill("#code", "000000")
    looking.press("button[value=verify]")
    looking.fine("prompt-code-wrong")
    browser.fill("#code", ward.code(to))
    looking.press("button[value=verify]")
    assert browser.url.startswith(f"{ward.back}?state=s1&status=agreed&consent=")
    browser.evaluate("history.back()")
    browser.wait("p.done")
    looking.fine("prompt-done")
    browser.goto(ward.prompt(id, return_url=ward.back, purpose="HRESCH", lang=lang).json()["url"])
    looking.press("a[href*='step=sign-in']")
    looking.fine("prompt-sign-in")
    looking.sign_in(account.login)
    looking.fine("prompt-signed-in")
    looking.press("button[value=decline]")
    assert browser.url.startswith(f"{ward.back}?state=s1&status=declined")
