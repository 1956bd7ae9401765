"""The doctor's view in a headless Chromium: launched by the EMR, through the real pages, against the real server."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.examples.doctor_view import FOREIGN, HARMFUL, OWN, PERSON, hospitals, launch, messages, settled
from tests.smart.browser import Browser, opened, packages
from tests.smart.test_browser import pick, sign_in
from tests.smart.world import World

DESKTOP, PHONE = (1280, 800), (320, 640)
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
SOURCES = "[...document.querySelectorAll('#timeline .source')].map((each) => each.textContent)"
FOREIGN_KINDS = """Object.fromEntries([...document.querySelectorAll("#timeline .entry.foreign")]
  .map((each) => [each.dataset.kind, each.querySelector(".source").textContent]))"""
TITLES = "[...document.querySelectorAll('#timeline h4')].map((each) => each.textContent)"
# What the rules for paper change of the mark.
PRINTED = """[...document.styleSheets[0].cssRules].filter(({media}) => media?.mediaText === "print")
  .flatMap(({cssRules}) => [...cssRules]).filter(({selectorText}) => selectorText.includes("watermark"))
  .flatMap(({style}) => [...style])"""
# WCAG 2.0 to 2.2, levels A and AA, as axe-core names them.
AXE = """axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
  .then(({violations}) => violations.map(({id, nodes}) => `${id}: ${nodes.map(({html}) => html).join(" ")}`))"""


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    with hospitals(mongo_uri, tmp_path_factory.mktemp("installation")) as made:
        yield made


@pytest.fixture(scope="module")
def running() -> Iterator[Browser]:
    with opened() as browser:
        browser.visit(DESKTOP)
        yield browser


@pytest.fixture
def browser(running: Browser) -> Browser:
    """A new visitor at a desk."""
    running.visit(DESKTOP)
    return running


@pytest.fixture
def own(running: Browser, site: tuple[World, str]) -> Browser:
    """The app with all that the own institution has, loaded; opened anew in the tab where it was launched once."""
    made, origin = site
    if running.url.startswith(origin) and running.evaluate("!!sessionStorage.getItem('doctor-view.session')"):
        running.goto(f"{origin}/index.html")
        settled(running)
    else:
        running.visit(DESKTOP)
        launch(running, made, origin, 2)
    loaded(running)
    return running


def violations(browser: Browser) -> list[str]:
    """Return what axe-core finds against WCAG AA on the page as it is, under the watermark, through which it cannot see."""
    browser.evaluate("document.querySelector('.watermark')?.remove()")
    browser.evaluate((packages() / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8") + ";null")
    found: list[str] = browser.evaluate(AXE)
    return found


def screen(browser: Browser, name: str) -> None:
    browser.click(f"button[data-screen={name}]")


def standing(browser: Browser, state: str) -> None:
    """Wait until the authorization is shown to be in a state."""
    browser.wait(f"#state[data-state={state}]")


def loaded(browser: Browser) -> None:
    """Load the timeline to its end."""
    settled(browser)
    while browser.count("#more"):
        browser.click("#more")
        settled(browser)


def as_patient(made: World, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what the patient is answered, who uses another app."""
    with made.live.client("patient", f"Patient/{PERSON}", purpose="PATRQT") as client:
        answer = client.post(path, json=body or {"resourceType": "Parameters"})
        assert answer.status_code in (200, 201), answer.text
        said: dict[str, Any] = answer.json()
        return said


WAYS = {"app": "自己的手机应用", "sms": "短信", "paper": "纸质"}


def asked(made: World, browser: Browser, way: str, kind: str | None = None) -> str:
    """Ask for everything, or for records of one kind, by a way; return the id of the Consent, as the patient finds it."""
    screen(browser, "authorization")
    browser.click("#ask")
    browser.check(f"input[name=way][value={way}]")
    if kind:
        browser.check("input[name=extent][value=some]")
        browser.check(f"input[name=kind][value={kind}]")
    browser.click("#request button")
    browser.wait(f"#waiting:has-text('{WAYS[way]}')")
    with made.live.client("patient", f"Patient/{PERSON}", purpose="PATRQT") as client:
        found = client.get("Consent", params={"patient": f"Patient/{PERSON}", "status": "proposed"}).json()
        return str(found["entry"][0]["resource"]["id"])


def test_every_kind_is_shown_newest_first(own: Browser, tmp_path: Path) -> None:
    kinds = set(own.evaluate("[...document.querySelectorAll('.entry')].map((each) => each.dataset.kind)"))
    assert kinds >= {"visit", "diagnosis", "result", "report", "prescription", "vaccination", "allergy"}
    assert kinds >= {"transfusion", "donation", "checkup"}
    days = own.evaluate("[...document.querySelectorAll('.entry time')].map((each) => each.textContent.slice(0, 10))")
    assert days == sorted(days, reverse=True)
    own.click("[data-kind=checkup]")
    own.screenshot(tmp_path / "checkups.png")
    own.click("[data-kind=checkup]")
    own.click("[data-kind=donation]")
    assert own.evaluate(TITLES) == ["无偿献血"]


def test_texts_of_records_are_never_markup(own: Browser) -> None:
    own.click("[data-kind=diagnosis]")
    assert HARMFUL in own.evaluate(TITLES)
    assert HARMFUL in own.text("#timeline dd >> nth=0")
    assert own.evaluate("window.harmed === undefined")
    assert own.count("main img") == own.count("main script") == 0
    refused = "new Promise((done) => { try { document.body.innerHTML = '<b></b>'; done(false) } catch { done(true) } })"
    assert own.evaluate(refused), "the policy lets text become markup"


def test_the_users_name_is_over_everything(own: Browser) -> None:
    mark = "document.querySelector('.watermark')"
    assert own.evaluate(f"{mark}.textContent").startswith(f"李医生2 {time.strftime('%Y')}")
    box = own.evaluate(f"(({{width, height}}) => [width, height])({mark}.getBoundingClientRect())")
    assert box == list(DESKTOP)
    style = f"getComputedStyle({mark})"
    assert own.evaluate(f"[{style}.position, {style}.pointerEvents, {style}.display]") == ["fixed", "none", "block"]
    assert own.evaluate(PRINTED) == ["fill-opacity"], "the mark is printed, and printed darker"


def test_trends_are_drawn_and_told(own: Browser, tmp_path: Path) -> None:
    own.click("#timeline button:has-text('糖化血红蛋白') >> nth=0")
    assert own.count("#trends .chart") == 1
    assert own.count("#trends circle.point") == 7
    assert own.count("#trends rect.usual") == 1
    latest = own.text("#trends output")
    own.click("#trends .stepping button >> nth=0")
    earlier = own.text("#trends output")
    assert latest != earlier
    assert "参考范围 4.0–6.0 %" in latest
    own.click("#trends summary")
    rows = own.evaluate("[...document.querySelectorAll('#trends tbody tr')].map((each) => each.textContent)")
    assert len(rows) == 7
    assert all(OWN in each for each in rows)
    own.screenshot(tmp_path / "trends.png")
    assert violations(own) == []


def test_what_the_patient_permits_and_no_more(browser: Browser, site: tuple[World, str], tmp_path: Path) -> None:
    made, origin = site
    launch(browser, made, origin, 1)
    assert browser.text("#patient") == "张秀兰"
    assert browser.url == f"{origin}/index.html"
    loaded(browser)
    assert {each.partition(" · ")[2] for each in browser.evaluate(SOURCES)} == {OWN}
    screen(browser, "authorization")
    standing(browser, "none")

    consent = asked(made, browser, "app")
    standing(browser, "verifying")
    browser.screenshot(tmp_path / "verifying.png")
    as_patient(made, f"Consent/{consent}/$confirm")
    browser.click("#refresh")
    standing(browser, "active")
    browser.screenshot(tmp_path / "active.png")
    assert violations(browser) == []

    screen(browser, "timeline")
    loaded(browser)
    assert set(browser.evaluate(SOURCES)) == {f"本院 · {OWN}", f"外院 · {FOREIGN}"}
    browser.evaluate("document.querySelector('#institution').value = 'Organization/org2'")
    browser.evaluate("document.querySelector('#institution').dispatchEvent(new Event('change'))")
    assert set(browser.evaluate(SOURCES)) == {f"外院 · {FOREIGN}"}

    as_patient(made, f"Consent/{consent}/$revoke")
    browser.evaluate(
        "document.dispatchEvent(new Event('visibilitychange'))"
    )  # as when the doctor comes back to the page
    standing(browser, "revoked")
    assert "患者已撤销" in browser.text("button[data-screen=authorization]")
    settled(browser)
    assert set(browser.evaluate(SOURCES)) == {f"本院 · {OWN}"}
    assert [each for each in browser.told() if each.startswith("error")] == []


def test_how_much_is_shown_is_told(own: Browser) -> None:
    own.goto(own.url)
    settled(own)
    first = numbers(own)
    assert first["shown"] < first["loaded"] < first["total"]
    assert own.count("#more") == 1
    loaded(own)
    last = numbers(own)
    assert last["shown"] == last["loaded"] == last["total"] == first["total"]


def numbers(browser: Browser) -> dict[str, int]:
    """Return how many entries the line above the timeline says are shown, loaded, and on the server."""
    found = re.findall(r"\d+", browser.text("#counted"))
    return dict(zip(("shown", "loaded", "total"), map(int, found), strict=False))


# A timeline of a search that the server refuses, over the app's own modules and token.
REFUSED = """(async () => {
  const [{Fhir}, {Timeline, Stream}, {TimelineView}, {saying}] = await Promise.all(
    ["fhir", "timeline", "timeline-view", "words"].map((name) => import(`./js/${name}.js`)));
  const {base, access} = JSON.parse(sessionStorage.getItem("doctor-view.session"));
  const fhir = new Fhir(base, async () => access);
  const timeline = new Timeline(fhir, "pat-a-001");
  const search = {...timeline.streams[0].search, sort: "no-such-parameter"};
  timeline.streams = [new Stream(fhir, "pat-a-001", search)];
  const sources = {place: async () => null};
  const view = new TimelineView(document.createElement("div"), {timeline, sources, say: saying("zh-CN")});
  await view.load();
  return view.element.querySelector("[role=alert]").textContent;
})()"""


def test_what_could_not_be_loaded_is_named_as_missing(own: Browser) -> None:
    told = own.evaluate(REFUSED)
    assert told.startswith("下列类别没有载入，时间线不完整：就诊：服务器不能处理这个请求。")
    assert "_sort takes search parameters" in told, "what the server said of it"


def test_without_leave_to_read_the_reason_is_told(browser: Browser, site: tuple[World, str]) -> None:
    _, origin = site
    browser.goto(origin)
    browser.click("main a.button")
    sign_in(browser, "doctor4")
    pick(browser, "张秀兰")
    browser.wait("button[value=allow]")
    browser.check("input[name=scope][value='patient/*.rs']", on=False)
    browser.click("button[value=allow]")
    browser.wait(".problem")
    assert browser.text(".problem").startswith("没有这个权限。")
    assert browser.count("#timeline") == 0


def code_sent(made: World) -> str:
    """Return the code of the newest message to the patient, when it has arrived."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if found := [each for each in messages(made) if each.channel == "sms"]:
            return re.findall(r"\b\d{6}\b", found[0].text)[0]
        time.sleep(0.2)
    raise AssertionError("no message has come")


def test_a_code_that_the_patient_tells(browser: Browser, site: tuple[World, str], tmp_path: Path) -> None:
    made, origin = site
    launch(browser, made, origin, 8)
    asked(made, browser, "sms", "result")
    assert "验证码" in browser.text("#said")
    code = code_sent(made)
    browser.fill("#verify input", "12345")
    browser.click("#verify button")
    assert browser.text("#authorization .problem") == "验证码是六位数字。"
    browser.fill("#verify input", f"{(int(code) + 1) % 1_000_000:06}")
    browser.click("#verify button")
    browser.wait(".problem:has-text('不正确')")
    assert "还可尝试 4 次" in browser.text("#authorization .problem")
    browser.screenshot(tmp_path / "wrong.png")
    browser.fill("#verify input", code)
    browser.click("#verify button")
    standing(browser, "active")
    screen(browser, "timeline")
    loaded(browser)
    assert browser.evaluate(FOREIGN_KINDS) == {"result": f"外院 · {FOREIGN}"}, "what was asked for, and no more"

    more = asked(made, browser, "app")
    as_patient(made, f"Consent/{more}/$confirm")
    browser.click("#refresh")
    browser.wait("#authorization:not(:has(#waiting))")
    standing(browser, "active")
    screen(browser, "timeline")
    settled(browser)
    assert len(browser.evaluate(FOREIGN_KINDS)) > 4
    revoke(made)


SIGNED = """(() => {
  const given = new DataTransfer();
  given.items.add(new File(["signed"], "form.png", {type: "image/png"}));
  document.querySelector("#verify input").files = given.files;
})()"""


def test_a_signed_form_opens_what_the_own_institution_keeps(browser: Browser, site: tuple[World, str]) -> None:
    made, origin = site
    launch(browser, made, origin, 3)
    asked(made, browser, "paper")
    assert OWN in browser.text("#said"), "the text to be signed"
    browser.click("#verify button")
    assert "PDF" in browser.text("#authorization .problem")
    browser.evaluate(SIGNED)
    browser.click("#verify button")
    standing(browser, "active")
    assert "只对本院保存的记录有效" in browser.text("#authorization")
    screen(browser, "timeline")
    loaded(browser)
    assert set(browser.evaluate(SOURCES)) == {f"本院 · {OWN}"}
    assert "form.png" in browser.text("#timeline")
    revoke(made)


def revoke(made: World) -> None:
    """Take back what the patient has given."""
    with made.live.client("patient", f"Patient/{PERSON}", purpose="PATRQT") as client:
        found = client.get("Consent", params={"patient": f"Patient/{PERSON}", "status": "active"}).json()
        for each in found["entry"]:
            as_patient(made, f"Consent/{each['resource']['id']}/$revoke")


def test_on_a_phone_in_english(running: Browser, site: tuple[World, str], tmp_path: Path) -> None:
    made, origin = site
    running.visit(PHONE, "en-GB")
    launch(running, made, origin, 6)
    for name in ("timeline", "trends", "authorization"):
        screen(running, name)
        running.wait({"authorization": "#state"}.get(name, f"#{name} h2"))
        assert running.evaluate(FITS), name
        if name != "timeline":  # which is long
            running.screenshot(tmp_path / f"{name}.png")
        assert name == "trends" or violations(running) == []
    assert running.evaluate("document.documentElement.lang") == "en"
    token = running.evaluate("JSON.parse(sessionStorage.getItem('doctor-view.session')).access")
    assert made.get(f"Patient/{PERSON}", token).status_code == 200
    running.click("#sign-out")
    running.wait("main a.button")
    assert made.get(f"Patient/{PERSON}", token).status_code == 401
    assert "张秀兰" not in running.text()
    assert running.evaluate("sessionStorage.getItem('doctor-view.session')") is None


def test_alone_with_a_patient_who_is_picked(browser: Browser, site: tuple[World, str]) -> None:
    made, origin = site
    browser.goto(f"{origin}/?lang=en")
    browser.click("main a.button")
    sign_in(browser, "doctor7")
    pick(browser, "张秀兰")
    browser.wait("button[value=allow]")
    browser.click("button[value=allow]")
    settled(browser)
    assert browser.text("#patient") == "张秀兰"
    assert browser.text("button[data-screen=timeline]") == "Timeline"
    called = browser.evaluate("performance.getEntriesByType('resource').map((each) => new URL(each.name).origin)")
    assert set(called) <= {origin, made.origin}
    urls = browser.evaluate("performance.getEntriesByType('resource').map((each) => decodeURIComponent(each.name))")
    assert not [each for each in urls if "张" in each]
    assert browser.evaluate("localStorage.length") == 0


def test_a_launch_by_an_unknown_server_is_refused(browser: Browser, site: tuple[World, str]) -> None:
    _, origin = site
    browser.goto(f"{origin}/index.html?iss=http://127.0.0.1:1/fhir&launch=x")
    browser.wait(".problem")
    assert "不在设置之内" in browser.text(".problem")
    assert browser.url.startswith(origin)


def test_a_sign_in_that_was_not_begun_here_is_refused(browser: Browser, site: tuple[World, str]) -> None:
    _, origin = site
    browser.goto(f"{origin}/index.html?code=stolen&state=invented")
    browser.wait(".problem")
    assert "不是从本页发起" in browser.text(".problem")
    assert browser.url == f"{origin}/index.html"


# A clock that the test turns: how long is waited (in minutes) at first and after a key was pressed, and how often it ended.
IDLE = """import('./js/idle.js').then(({watchIdle}) => {
  const [real, set, ended] = [window.setTimeout, [], []];
  window.setTimeout = (work, after) => set.push([work, after]);
  watchIdle(() => ended.push("ended"));
  dispatchEvent(new KeyboardEvent("keydown"));
  window.setTimeout = real;
  set.at(-1)[0]();
  return [set.map(([, after]) => after / 60_000), ended];
})"""


def test_who_leaves_is_signed_out(browser: Browser, site: tuple[World, str]) -> None:
    browser.goto(f"{site[1]}/index.html")
    assert browser.evaluate(IDLE) == [[15, 15], ["ended"]]


MERGED = """import('./js/timeline.js').then(({merged}) => {
  const stream = (more, ...at) => ({items: at.map((each) => ({at: each})), down: more ? at[at.length - 1] : -Infinity});
  return [
    merged([stream(false, 9, 3), stream(false, 5, 1)]),
    merged([stream(true, 9, 3), stream(false, 5, 1)]),
    merged([stream(true, 9, 7), stream(true, 5, 1)]),
  ].map((items) => items.map(({at}) => at));
})"""


def test_nothing_is_shown_that_something_newer_may_still_come_before(browser: Browser, site: tuple[World, str]) -> None:
    browser.goto(f"{site[1]}/index.html")
    assert browser.evaluate(MERGED) == [[9, 5, 3, 1], [9, 5, 3], [9, 7]]


def test_decimals_keep_their_digits(browser: Browser, site: tuple[World, str]) -> None:
    browser.goto(f"{site[1]}/index.html")
    read = "import('./js/fhir.js').then(({parsed}) => parsed('{\"value\": 36.50}').value)"
    assert str(browser.evaluate(read)) == "36.50"


# Two records of which a part is withheld.
WITHHELD = """Promise.all(["entries", "words"].map((name) => import(`./js/${name}.js`))).then(([{entryOf}, {saying}]) => {
  const meta = {security: [{code: "REDACTED"}]};
  return ["Condition", "Observation"].map((resourceType) => {
    const {title, status} = entryOf({resourceType, meta}, saying("zh-CN"));
    return [title, status];
  });
})"""


def test_that_a_part_of_a_record_is_withheld_is_told(browser: Browser, site: tuple[World, str]) -> None:
    browser.goto(f"{site[1]}/index.html")
    assert browser.evaluate(WITHHELD) == [["诊断", ["部分内容未开放"]], ["检验与测量", ["部分内容未开放"]]]


PERIODS = """import('./js/reading.js').then(({period}) => [
  ["2026-04-01T08:00:00+08:00", "2026-04-01T11:00:00+08:00"], ["2026-04-01", "2026-04-03"], ["2026-04-01", "2026-04-01"],
].map(([start, end]) => period({start, end})))"""


def test_a_period_within_a_day_names_the_day_once(browser: Browser, site: tuple[World, str]) -> None:
    browser.goto(f"{site[1]}/index.html")
    told = ["2026-04-01 08:00 – 11:00", "2026-04-01 – 2026-04-03", "2026-04-01"]
    assert browser.evaluate(PERIODS) == told


KEYS = "(words) => Object.keys(words)"
HOLES = r"(words) => Object.values(words).map((word) => (word.match(/\{\w+\}/g) ?? []).sort().join())"


def test_both_languages_say_the_same(browser: Browser, site: tuple[World, str]) -> None:
    browser.goto(f"{site[1]}/index.html")
    chinese, english = browser.evaluate(
        f"import('./js/words.js').then(({{LANGUAGES}}) => Object.values(LANGUAGES).map({KEYS}))"
    )
    assert chinese == english
    chinese, english = browser.evaluate(
        f"import('./js/words.js').then(({{LANGUAGES}}) => Object.values(LANGUAGES).map({HOLES}))"
    )
    assert chinese == english
