"""The reads of a batch are carried out together; what writes has its own turn between them, and answers keep their order."""

from __future__ import annotations

from typing import Any

import httpx

from fhir_server.interactions.transactions.bundle import AT_ONCE


def entry(method: str, url: str, resource: Any = None) -> dict[str, Any]:
    return {"request": {"method": method, "url": url}, **({"resource": resource} if resource else {})}


def test_reads_see_what_stands_before_them_in_the_batch(emr: httpx.Client) -> None:
    made = {"resourceType": "Basic", "id": "turn", "code": {"text": "-"}}
    names = [f"turn{number}" for number in range(2 * AT_ONCE + 1)]
    asked = [
        entry("GET", "Basic/turn"),
        entry("PUT", "Basic/turn", made),
        *(entry("GET", f"Basic/{name}") for name in names),
        *(entry("PUT", f"Basic/{name}", {**made, "id": name}) for name in names),
        *(entry("GET", f"Basic/{name}") for name in names),
        {"request": "none"},
        entry("DELETE", "Basic/turn"),
        entry("HEAD", "Basic/turn"),
    ]
    answer = emr.post("", json={"resourceType": "Bundle", "type": "batch", "entry": asked}).json()["entry"]
    many = len(names)
    expected = ["404", "201", *["404"] * many, *["201"] * many, *["200"] * many, "400", "204", "410"]
    assert [each["response"]["status"] for each in answer] == expected
    shown = [each["resource"]["id"] for each in answer if "resource" in each and each["response"]["status"] == "200"]
    assert shown == names
