"""Revocation: RFC 7009; consent.md, D14 (it holds for whatever begins after its answer, in every worker)."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fhir_server.auth.bearer import requester_of
from fhir_server.auth.server.clients import Kind
from fhir_server.auth.server.revocation import Revocations, revoke_token
from fhir_server.errors import Unauthenticated
from fhir_server.store.commit import Unit
from fhir_server.store.consents import Epochs
from tests.auth.server.apps import App, Desk, app
from tests.live import Live, live


def revoked(app: App, token: str, **more: Any) -> None:
    answer = app.desk.post("revoke", {"token": token, **app.proof(), **more})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("which", ["refresh_token", "access_token"])
def test_a_revoked_token_ends_the_grant_and_all_its_tokens(public_app: App, which: str) -> None:
    first = public_app.signed_in()
    second = public_app.refresh(first["refresh_token"]).json()
    assert public_app.desk.read(first["access_token"]) == public_app.desk.read(second["access_token"]) == 200
    revoked(public_app, second[which], token_type_hint="refresh_token")
    assert public_app.desk.read(first["access_token"]) == public_app.desk.read(second["access_token"]) == 401
    assert public_app.refresh(second["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_backend_client_revokes_one_token_of_its_own(backend: App) -> None:
    one, other = (backend.backend().json()["access_token"] for _ in range(2))
    revoked(backend, one)
    assert (backend.desk.read(one), backend.desk.read(other)) == (401, 200)


def test_what_is_not_the_clients_own_stays_and_nobody_learns_of_it(desk: Desk, public_app: App) -> None:
    said = public_app.signed_in()
    other = app(desk)
    for token in (said["access_token"], said["refresh_token"], said["id_token"], "x", "é.é.é"):
        revoked(other, token)
    assert desk.read(said["access_token"]) == 200
    assert public_app.refresh(said["refresh_token"]).status_code == 200
    assert desk.post("revoke", {"token": said["access_token"]}).json()["error"] == "invalid_client"
    assert desk.post("revoke", public_app.proof()).json()["error"] == "invalid_request"


def test_a_client_that_is_removed_loses_everything(desk: Desk) -> None:
    for client in (app(desk), app(desk, Kind.BACKEND)):
        said = client.signed_in() if client.key is None else client.backend().json()
        assert desk.read(said["access_token"]) == 200
        desk.run(lambda authority, client=client: authority.remove(client.client))
        assert desk.read(said["access_token"]) == 401
        assert client.backend().json()["error"] == "invalid_client"
        again = desk.register(client.client)  # one of the same name begins anew
        assert desk.read(said["access_token"]) == 401
        if again.kind is Kind.BACKEND:
            assert desk.read(client.backend().json()["access_token"]) == 200


def test_a_revocation_holds_in_every_worker_from_its_answer_on(public_app: App, server: Live, mongo_uri: str) -> None:
    settings = server.settings
    with live(mongo_uri, settings.data, database=settings.database, base_url=settings.public_base) as second:
        other = Live(f"http://127.0.0.1:{second.settings.port}/fhir", server.bearer, second.settings)
        workers = (public_app.desk, Desk(other, mongo_uri))
        said = [public_app.signed_in() for _ in range(6)]
        for each in said:  # both know every token
            assert [worker.read(each["access_token"]) for worker in workers] == [200, 200]

        def end(each: dict[str, Any]) -> list[int]:
            revoked(public_app, each["access_token"])
            return [worker.read(each["access_token"]) for worker in workers for _ in range(3)]

        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(end, said)) == [[401] * 6] * 6


def test_the_rows_are_read_only_when_the_count_has_changed(desk: Desk) -> None:
    claims = {"role": "system", "fhirUser": "Device/d", "org": "org1", "purpose": "TREAT", "jti": "j1"}
    requester = requester_of(claims)

    async def work(authority: Any) -> None:
        revocations = Revocations(authority.database)
        await revocations.check(requester, Epochs(revocations=1_000_000))
        unit = Unit()
        revoke_token("j1", unit)
        await authority.committer.commit(unit)
        await revocations.check(requester, Epochs(revocations=1_000_000))
        for _ in range(2):
            with pytest.raises(Unauthenticated):
                await revocations.check(requester, Epochs(revocations=1_000_001))
        await asyncio.gather(*(told(revocations, number) for number in range(5)))

    async def told(revocations: Revocations, number: int) -> None:
        with pytest.raises(Unauthenticated):
            await revocations.check(requester, Epochs(revocations=2_000_000 + number))

    desk.run(work)


DOORS = [
    ("GET", "Patient/x", None), ("GET", "Patient", None), ("POST", "Patient/_search", None),
    ("GET", "Patient/x/_history", None),
    ("GET", "Patient/x/_history/1", None), ("GET", "_history", None), ("GET", "Patient/x/$everything", None),
    ("GET", "Patient/x/Observation", None), ("GET", "Observation/$lastn?patient=x&code=y", None),
    ("GET", "Patient/x/$meta", None), ("GET", "Patient/x/_history/1/$meta", None), ("GET", "Composition/x/$document", None),
    ("GET", "Patient/x/$explain-access", None), ("GET", "AuditEvent/x/$replay", None),
    ("GET", "Consent/x/$enforcement", None),
    ("GET", "ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender", None),
    ("PATCH", "Patient/x", [{"op": "replace", "path": "/active", "value": True}]),
    ("PUT", "Patient?_id=x", {"resourceType": "Patient"}),
    ("POST", "Patient", {"resourceType": "Patient"}), ("PUT", "Patient/y", {"resourceType": "Patient", "id": "y"}),
    ("DELETE", "Patient/x", None), ("DELETE", "Patient?_id=x", None),
    ("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Patient/x"}}]}),
    ("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": []}),
    ("POST", "", {"resourceType": "Bundle", "type": "batch", "entry": []}),
]  # fmt: skip


def test_a_revoked_token_opens_no_door(backend: App) -> None:
    token = backend.backend().json()["access_token"]
    revoked(backend, token)
    with backend.desk.server.bearing(token) as client:
        answers = [(door, statuses(client.request(door[0], door[1], json=door[2]))) for door in DOORS]
    assert [(door, found) for door, found in answers if found != {401}] == []


def statuses(answer: Any) -> set[int]:
    """Return the status of an answer, or those of a batch's entries."""
    body = answer.json()
    if answer.status_code == 200 and body.get("resourceType") == "Bundle" and body["type"].endswith("-response"):
        return {int(each["response"]["status"].split()[0]) for each in body.get("entry", [])} or {200}
    return {answer.status_code}
