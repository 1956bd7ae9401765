"""Flows: whoever only opens the page stores nothing; a flow is its browser's alone, for a time, and ends once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx

from fhir_server.auth.accounts.flows import FLOWS
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.server.authority import Authority
from tests.auth.accounts.house import Browser, House


def stored(house: House) -> int:
    """Return how many flows are in the store."""

    async def counted(desk: Reception, authority: Authority) -> int:
        return await authority.database[FLOWS].count_documents({})

    return house.run(counted)


def flow_of(browser: Browser) -> str:
    form, _ = browser.form("sign-in")
    return next(each.value for each in form.fields if each.name == "flow")


def test_whoever_does_not_sign_in_stores_no_flow(house: House) -> None:
    before, browser = stored(house), house.browser()
    browser.ask()
    assert browser.open("/auth/authorize", flow=flow_of(browser), lang="en").has("sign-in")
    assert 'lang="en"' in browser.text
    assert stored(house) == before
    assert browser.press("cancel").back["error"] == "access_denied"
    assert stored(house) == before


def test_a_flow_is_of_the_browser_that_it_began_in(house: House) -> None:
    token, other = flow_of(house.browser().ask()), house.browser().ask()
    assert house.browser().open("/auth/authorize", flow=token).page.status_code == 400
    assert other.open("/auth/authorize", flow=token).page.status_code == 400
    changed = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    assert house.browser().open("/auth/authorize", flow=changed).page.status_code == 400


def test_a_flow_that_is_not_stored_is_over_after_twenty_minutes(house: House) -> None:
    browser = house.browser().ask()
    house.server.clock.now = datetime.now(UTC) + timedelta(minutes=21)
    assert browser.open("/auth/authorize", flow=flow_of(browser)).page.status_code == 400


def test_a_flow_ends_once(house: House) -> None:
    browser = house.browser(house.doctor()).ask().sign_in()
    form, button = browser.form("allow")
    pairs = form.pairs({}, button)
    assert "code" in browser.press("allow").back
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    again = browser.http.post(form.action, content=str(httpx.QueryParams(pairs)), headers=headers)
    assert again.status_code == 400
