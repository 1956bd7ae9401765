"""What goes straight to the FHIR endpoint is answered as what goes by way of all that stands around it."""

from __future__ import annotations

import pytest

from tests.live import Live

PATHS = [
    "Patient/nobody",
    "Patient?name=x",
    "Patient/a%20b",
    "Patient/%0A",
    "%0A",
    "",
    "/",
    "Patient//",
    "metadata",
    "nothing/at/all/here",
    ".well-known/smart-configuration",
    ".well-known/nothing",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_request_is_answered_alike_whichever_way_it_goes(server: Live, path: str) -> None:
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        straight = doctor.get(path)
        around = doctor.get(path, headers={"Origin": "https://app.example"})
    assert (straight.status_code, straight.content) == (around.status_code, around.content)
    assert straight.headers["Content-Type"] == around.headers["Content-Type"]
