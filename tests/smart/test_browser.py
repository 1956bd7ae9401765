"""The real SMART client for JavaScript in a headless Chromium, on an app of another origin, through the real pages."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pyotp
import pytest

from tests.smart.browser import PHONE, Browser, opened, packages
from tests.smart.cast import PASSWORD, SECRET
from tests.smart.site import APP, serving
from tests.smart.world import World, world

EHR = "launch openid fhirUser patient/Patient.rs patient/Observation.rs patient/Encounter.rs"
ALONE = "launch/patient openid fhirUser patient/Patient.rs patient/Observation.rs"
FITS = "document.documentElement.scrollWidth <= innerWidth"  # nothing is to be pushed aside to be read


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of the app: its own pages, and the library's build for browsers."""
    folder = tmp_path_factory.mktemp("app")
    shutil.copytree(APP, folder, dirs_exist_ok=True)
    shutil.copy(packages() / "node_modules" / "fhirclient" / "build" / "fhir-client.js", folder)
    with serving(folder) as origin:
        yield origin


@pytest.fixture(scope="module")
def smart(mongo_uri: str, site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(mongo_uri, tmp_path_factory.mktemp("installation"), redirect=f"{site}/index.html") as made:
        yield made


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    with opened() as browser:
        yield browser


@pytest.fixture
def browser(running: Browser, tmp_path: Path) -> Iterator[Browser]:
    """A new visitor. What the last page looked like is kept beside the test's other files."""
    running.visit()
    yield running
    running.screenshot(tmp_path / "last.png")


def launch(browser: Browser, smart: World, site: str, scope: str, **more: str) -> None:
    """Open the app where it starts."""
    browser.goto(f"{site}/launch.html?{urlencode({'iss': smart.base, 'scope': scope, **more})}")


def sign_in(browser: Browser, login: str, folder: Path | None = None) -> None:
    """Sign in, with the second factor where one is asked for. folder: for pictures of the pages."""
    browser.wait("#password")
    if folder:
        browser.screenshot(folder / "1-sign-in.png")
    browser.fill("#login", login)
    browser.fill("#password", PASSWORD)
    browser.click("button[value=sign-in]")
    if login.startswith("doctor"):
        browser.wait("#code")
        if folder:
            browser.screenshot(folder / "2-code.png")
        browser.fill("#code", pyotp.TOTP(SECRET).at(int(time.time())))
        browser.click("button[value=code]")


def pick(browser: Browser, query: str, folder: Path | None = None) -> None:
    """Find a patient and pick the one that is found."""
    browser.wait("#q")
    browser.fill("#q", query)
    browser.click("button[value=search]")
    browser.wait("input[name=patient]")
    browser.check("input[name=patient]")
    if folder:
        browser.screenshot(folder / "3-patient.png")
    browser.click("button[value=patient]")


def allow(browser: Browser, folder: Path | None = None) -> None:
    """Approve, and wait until the app has what it shows."""
    browser.wait("button[value=allow]")
    if folder:
        browser.screenshot(folder / "4-approve.png")
    browser.click("button[value=allow]")
    settled(browser)
    assert browser.text("#state") == "ready", browser.text()


def settled(browser: Browser) -> None:
    browser.wait("#state:not(:empty)")


def ehr_launch(browser: Browser, smart: World, site: str, user: str, scope: str = EHR) -> None:
    """Start the app from the EMR, which has made a context for this doctor."""
    answer = smart.launch(user=f"Practitioner/{user}")
    assert answer.status_code in (200, 201), answer.text
    launch(browser, smart, site, scope, launch=answer.json()["launch"])


def test_launched_by_the_emr(browser: Browser, smart: World, site: str, tmp_path: Path) -> None:
    ehr_launch(browser, smart, site, "d1")
    sign_in(browser, "doctor1", tmp_path)
    allow(browser, tmp_path)
    assert browser.text("#patient") == "王小明"
    assert browser.text("#user") == "Practitioner/d1"
    assert browser.text("#encounter") == "e1"
    assert set(browser.text("#observations").split()) == {"laboratory-1", "vital-signs-1"}
    assert browser.url.split("?")[0] == f"{site}/index.html"
    assert not {"code=", "state="} & {part[:6] for part in browser.url.split("&")}
    assert not [each for each in browser.told() if "CORS" in each or each.startswith("error: Refused")]


def test_a_session_needs_no_second_sign_in(browser: Browser, smart: World, site: str) -> None:
    ehr_launch(browser, smart, site, "d2")
    sign_in(browser, "doctor2")
    allow(browser)
    ehr_launch(browser, smart, site, "d2")
    browser.wait("button[value=allow]")
    assert browser.count("#password") == 0
    allow(browser)
    assert browser.text("#patient") == "王小明"


def test_alone_with_a_patient_who_is_picked(browser: Browser, smart: World, site: str, tmp_path: Path) -> None:
    launch(browser, smart, site, ALONE)
    sign_in(browser, "doctor3")
    pick(browser, "MRN-2", tmp_path)
    allow(browser, tmp_path)
    assert browser.text("#patient") == "刘小红"
    assert set(browser.text("#observations").split()) == {"laboratory-2", "vital-signs-2"}


def test_refreshing(browser: Browser, smart: World, site: str) -> None:
    launch(browser, smart, site, f"{ALONE} offline_access")
    sign_in(browser, "doctor4")
    pick(browser, "王小明")
    allow(browser)
    before, after = (
        browser.evaluate(f"{step}.then(() => smart.state.tokenResponse)")
        for step in ("Promise.resolve()", "smart.refresh()")
    )
    assert before["access_token"] != after["access_token"]
    assert before["refresh_token"] != after["refresh_token"]
    assert browser.evaluate("smart.patient.read().then((each) => each.name[0].text)") == "王小明"


def test_signing_out_ends_online_access(browser: Browser, smart: World, site: str, tmp_path: Path) -> None:
    launch(browser, smart, site, f"{ALONE} online_access")
    sign_in(browser, "doctor5")
    pick(browser, "MRN-1")
    allow(browser)
    given = browser.evaluate("smart.state.tokenResponse")
    assert smart.get("Patient/p1", given["access_token"]).status_code == 200
    hint = {"id_token_hint": given["id_token"], "post_logout_redirect_uri": f"{site}/index.html", "state": "bye"}
    browser.goto(f"{smart.origin}/auth/sign-out?{urlencode(hint)}")
    if browser.count("button[value=sign-out]"):
        browser.screenshot(tmp_path / "5-sign-out.png")
        browser.click("button[value=sign-out]")
    settled(browser)
    assert browser.url.startswith(f"{site}/index.html")
    assert smart.get("Patient/p1", given["access_token"]).status_code == 401
    fields = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"]}
    assert smart.form(fields).json()["error"] == "invalid_grant"
    launch(browser, smart, site, ALONE)
    browser.wait("#password")


def test_a_patients_own_app_on_a_phone(running: Browser, smart: World, site: str, tmp_path: Path) -> None:
    running.visit(PHONE)
    laboratory = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
    launch(running, smart, site, f"openid fhirUser patient/Patient.rs patient/Observation.rs?category={laboratory}")
    sign_in(running, "patient1", tmp_path)
    running.wait("button[value=allow]")
    assert running.evaluate(FITS)
    assert running.evaluate("document.documentElement.lang").startswith("zh")
    allow(running, tmp_path)
    assert running.text("#patient") == "王小明"
    assert running.text("#user") == "Patient/p1"
    assert running.text("#observations") == "laboratory-1"


def test_the_first_sign_in_binds_an_authenticator(running: Browser, smart: World, site: str, tmp_path: Path) -> None:
    running.visit(PHONE)
    launch(running, smart, site, ALONE)
    running.wait("#password")
    running.fill("#login", "newcomer")
    running.fill("#password", PASSWORD)
    running.click("button[value=sign-in]")
    running.wait("svg")
    running.screenshot(tmp_path / "2-enrol.png")
    assert running.evaluate(FITS)
    running.fill("#code", pyotp.TOTP(running.text(".key").replace(" ", "")).at(int(time.time())))
    running.click("button[value=enrol]")
    pick(running, "MRN-2", tmp_path)
    allow(running)
    assert running.text("#patient") == "刘小红"


def test_who_denies_is_taken_back_with_nothing(browser: Browser, smart: World, site: str) -> None:
    launch(browser, smart, site, ALONE)
    sign_in(browser, "patient1")
    browser.wait("button[value=deny]")
    browser.click("button[value=deny]")
    settled(browser)
    assert browser.text("#state") == "failed"
    assert browser.text("#scope").startswith("access_denied")
    assert browser.evaluate("window.smart === undefined")


def test_a_scope_that_is_not_ticked_is_not_granted(browser: Browser, smart: World, site: str) -> None:
    launch(browser, smart, site, ALONE)
    sign_in(browser, "patient1")
    browser.wait("button[value=allow]")
    browser.check('input[name=scope][value="patient/Observation.rs"]', on=False)
    browser.click("button[value=allow]")
    settled(browser)
    scope = browser.evaluate(
        "JSON.parse(sessionStorage.getItem(JSON.parse(sessionStorage.SMART_KEY))).tokenResponse.scope"
    )
    assert "patient/Patient.rs" in scope.split()
    assert "patient/Observation.rs" not in scope.split()


def test_pages_need_no_script_and_load_nothing_from_elsewhere(browser: Browser, smart: World, site: str) -> None:
    launch(browser, smart, site, ALONE)
    browser.wait("#password")
    assert browser.count("script") == 0
    loaded = browser.evaluate("performance.getEntriesByType('resource').map((each) => new URL(each.name).origin)")
    assert set(loaded) <= {smart.origin}
    assert [each for each in browser.told() if "Content Security Policy" in each] == []


def test_the_cookie_is_out_of_reach_of_scripts_and_other_paths(browser: Browser, smart: World, site: str) -> None:
    launch(browser, smart, site, ALONE)
    sign_in(browser, "patient1")
    browser.wait("button[value=allow]")
    cookies = browser.cookies()
    assert cookies
    for cookie in cookies:
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Lax"
        assert cookie["path"].startswith("/auth")
    assert browser.evaluate("document.cookie") == ""


def test_all_can_be_done_with_the_keyboard(browser: Browser, smart: World, site: str) -> None:
    launch(browser, smart, site, ALONE)
    browser.wait("#password")
    browser.fill("#login", "patient1")
    browser.fill("#password", PASSWORD)
    browser.press("Enter")
    browser.wait("button[value=allow]")
    focus = "document.activeElement.value ?? document.activeElement.className"
    for _ in range(30):
        browser.press("Tab")
        if browser.evaluate(focus) == "allow":
            break
    assert browser.evaluate(focus) == "allow"
    browser.press("Enter")
    settled(browser)
    assert browser.text("#state") == "ready"
