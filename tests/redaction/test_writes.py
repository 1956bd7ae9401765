"""What a requester is shown only in part they cannot change (consent.md, D5, D16; consent-scenarios.md, D5)."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.live import Live
from tests.redaction.world import LABEL, PHONE, Json, composition, obliged, observation, patient, section

PATCH = {"Content-Type": "application/json-patch+json"}
ADDED = [{"op": "add", "path": "/language", "value": "zh"}]
LABELS = {"resourceType": "Parameters", "parameter": [{"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}


@pytest.fixture(scope="module", autouse=True)
def stored(server: Live) -> None:
    server.put(
        patient("p"),
        patient("q"),
        observation("o", "p"),
        composition("x", "p", section("labs", "Observation/o"), section("gone", "Observation/never")),
        composition("y", "p", section("labs", "Observation/o")),
        obliged("k", "p", "Patient.telecom"),
    )


Write = Callable[[httpx.Client, Json], httpx.Response]


def place(resource: Json) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def transaction(client: httpx.Client, *entries: Json) -> httpx.Response:
    return client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": list(entries)})


WRITES: dict[str, Write] = {
    "update": lambda client, each: client.put(place(each), json=each),
    "conditional update": lambda client, each: client.put(f"{each['resourceType']}?_id={each['id']}", json=each),
    "patch": lambda client, each: client.patch(place(each), json=ADDED, headers=PATCH),
    "conditional patch": lambda client, each: client.patch(
        f"{each['resourceType']}?_id={each['id']}", json=ADDED, headers=PATCH
    ),
    "delete": lambda client, each: client.delete(place(each)),
    "conditional delete": lambda client, each: client.delete(f"{each['resourceType']}?_id={each['id']}"),
    "$meta-add": lambda client, each: client.post(f"{place(each)}/$meta-add", json=LABELS),
    "$meta-delete": lambda client, each: client.post(f"{place(each)}/$meta-delete", json=LABELS),
    "update in a transaction": lambda client, each: transaction(
        client, {"resource": each, "request": {"method": "PUT", "url": place(each)}}
    ),
    "deletion in a transaction": lambda client, each: transaction(
        client, {"request": {"method": "DELETE", "url": place(each)}}
    ),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("resource", [patient("p"), composition("x", "p", section("labs", "Observation/o"))], ids=place)
def test_what_is_shown_in_part_is_not_changed(server: Live, doctor: httpx.Client, resource: Json, write: str) -> None:
    with server.client("patient", "Patient/p", purpose="PATRQT") as own:
        before = own.get(f"{place(resource)}/_history").json()
        answer = WRITES[write](doctor, resource)
        assert answer.status_code == 403, answer.text
        assert "part" in answer.json()["issue"][0]["diagnostics"]
        assert own.get(f"{place(resource)}/_history").json() == before


@pytest.mark.parametrize("expected", ['W/"1"', 'W/"7"'])
@pytest.mark.parametrize("path", ["Patient/p", "Composition/x"])
def test_what_is_expected_of_it_makes_no_difference(doctor: httpx.Client, path: str, expected: str) -> None:
    for headers in ({"If-Match": expected}, {"If-None-Match": expected}):
        assert doctor.delete(path, headers=headers).status_code == 403


@pytest.mark.parametrize("type", ["Patient", "Composition"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_redacted_copy_cannot_be_stored(server: Live, doctor: httpx.Client, type: str, method: str) -> None:
    """Not by whom it was shown, nor by one who owes nothing and was handed it."""
    shown = doctor.get("Patient/p" if type == "Patient" else "Composition/x").json()
    assert LABEL in shown["meta"]["security"]
    path = type if method == "POST" else place(shown)
    for role, user in (("practitioner", "Practitioner/dr1"), ("system", "Device/emr-org1")):
        scope = "system/*.cruds" if role == "system" else "user/*.cruds"
        with server.client(role, user, scope=scope) as client:
            answer = client.request(method, path, json=shown)
            assert answer.status_code == 422, answer.text
            assert answer.json()["issue"][0]["expression"] == [f"{type}.meta.security"]
            entry = {"resource": shown, "request": {"method": method, "url": path}}
            assert transaction(client, entry).status_code == 422
    with server.system() as whole:
        assert PHONE in whole.get("Patient/p").text


def test_what_is_shown_whole_can_be_changed(server: Live, doctor: httpx.Client) -> None:
    assert doctor.put("Patient/q", json={**patient("q"), "active": True}).status_code == 200
    changed = doctor.put("Composition/y", json=composition("y", "p", section("labs", "Observation/o"), title="new"))
    assert changed.status_code == 200
    with server.system() as emr:
        assert emr.put("Patient/p", json={**patient("p"), "active": True}).status_code == 200


def test_a_deletion_of_what_is_hidden_is_answered_as_ever(server: Live) -> None:
    with server.client("practitioner", "Practitioner/dr9", "org9") as stranger:
        hidden, absent = stranger.delete("Patient/p"), stranger.delete("Patient/never")
    assert (hidden.status_code, hidden.content) == (404, absent.content)
