"""What is refused because it was changed behind the server's back looks, from outside, as if it were not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pymongo import MongoClient

from tests.auth.accounts.house import PASSWORD, House, app


@contextmanager
def changed(house: House, account: str) -> Iterator[None]:
    """Take the second factor from an account, and give a client what another one seals, as long as this lasts."""
    with MongoClient[dict[str, Any]](house.uri) as mongo:
        raw = mongo[house.server.settings.database]
        before = [raw.auth_accounts.find_one({"_id": account}), raw.auth_clients.find_one({"_id": "changed"})]
        other = raw.auth_clients.find_one({"_id": "other"})
        assert other
        raw.auth_accounts.update_one({"_id": account}, {"$unset": {"secret": ""}})
        raw.auth_clients.update_one({"_id": "changed"}, {"$set": {"body": other["body"]}})
        yield
        for rows, row in zip((raw.auth_accounts, raw.auth_clients), before, strict=True):
            assert row
            rows.replace_one({"_id": row["_id"]}, row)


def test_a_changed_account_or_app_is_answered_as_an_unknown_one(house: House, caplog: pytest.LogCaptureFixture) -> None:
    account = house.doctor()
    house.register(app("changed"))
    with changed(house, account.id):
        refused, unknown = (
            house.browser(account).ask().press("sign-in", login=login, password=PASSWORD)
            for login in (account.login, f"{account.login}-x")
        )
        pages = [house.browser().ask(client_id=id).page for id in ("changed", "unknown")]
    assert refused.has("sign-in")
    assert refused.page.status_code == unknown.page.status_code
    assert [page.status_code for page in pages] == [400, 400]
    assert pages[0].text.replace("changed", "unknown") == pages[1].text
    assert f"auth_accounts/{account.id} was changed behind the server's back" in caplog.text
    with house.server.client("auditor", "Practitioner/auditor") as auditor:
        found = auditor.get("AuditEvent", params={"type": "110113", "outcome": "4", "_sort": "-date"}).json()
    told = [entry["resource"]["outcomeDesc"] for entry in found["entry"]]
    assert any(f"auth_accounts/{account.id} was changed" in each for each in told)
    assert any("auth_clients/changed was changed" in each for each in told)
    assert account.login not in str(found) + caplog.text
    assert house.browser(account).ask().sign_in().has("allow")
    assert house.browser().ask(client_id="changed").has("sign-in")
