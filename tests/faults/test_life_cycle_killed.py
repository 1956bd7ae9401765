"""The server killed in the middle of authorizations: each step is there as a whole or not at all, and can be gone on with."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from pymongo import MongoClient

from tests.consenting.ways.reading import code_for
from tests.consenting.world import ASKS, DOCTOR, done, organization, parameters, person, said, sees, step
from tests.databases import fresh
from tests.live import JSON, Live, free_port, live

Json = dict[str, Any]
PEOPLE = 3
STEPS = 18  # acknowledged before the server is killed
A_DAY = 1_000
VICTIM = "victim"
# What is told to those outside of a version, by its state.
TOLD = {"active": "consent-active", "revoked": "consent-revoked"}


@contextmanager
def victim(server: Live, uri: str, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the same installation as a process of its own; yield it and its base URL."""
    port = free_port()
    named = f"{uri}{'&' if '?' in uri else '/?'}appName={VICTIM}-{port}"
    chosen = {
        "DATA": folder, "MONGODB_URI": named, "DATABASE": server.settings.database, "ZONE": "UTC", "PORT": port,
        "MESSAGE_STAND_IN": "true", "AUTHORIZATION_REQUESTS_A_DAY": A_DAY, "BASE_URL": server.base,
    }  # fmt: skip
    environment = {**os.environ, **{f"FHIR_{name}": str(value) for name, value in chosen.items()}}
    run = f"import uvicorn; uvicorn.run('fhir_server.app:worker', factory=True, port={port}, log_level='critical')"
    process = subprocess.Popen([sys.executable, "-c", run], env=environment, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            time.sleep(0.05)
        yield process, f"http://127.0.0.1:{port}/fhir/"
    finally:
        process.kill()
        process.wait(10)
        end_what_it_left_open(uri, f"{VICTIM}-{port}")


def end_what_it_left_open(uri: str, name: str) -> None:
    """End the transactions of a process that is gone, as MongoDB does by itself after a minute."""
    with MongoClient[Json](uri) as client:
        looking = [{"$currentOp": {"allUsers": True, "idleSessions": True}}, {"$match": {"appName": name}}]
        found = [each["lsid"] for each in client.admin.aggregate(looking) if "lsid" in each]
        sessions = [{"id": each["id"]} for each in found]
        if sessions:
            client.admin.command("killSessions", sessions)


class Lives:
    """Authorizations of several people, one after the other, until the server is gone; what was acknowledged of them."""

    def __init__(self, server: Live, uri: str, base: str) -> None:
        self.acknowledged: list[tuple[str, str]] = []  # id of the Consent, the state that it came to
        self.gone = threading.Event()
        self._server, self._uri, self._base = server, uri, base

    def live(self, number: int) -> None:
        asker, patient = self._client("practitioner", DOCTOR), self._client("patient", f"Patient/k{number}-1")
        turn = number
        with suppress(httpx.HTTPError), asker as asking, patient as answering:
            while not self.gone.is_set():
                self._once(asking, answering, f"k{number}-1", by_code=turn % 2 == 0)
                turn += 1

    def _once(self, asking: httpx.Client, answering: httpx.Client, patient: str, *, by_code: bool) -> None:
        asked = parameters(way="sms" if by_code else "app", purpose="TREAT")
        id = self._took(asking.post(f"Patient/{patient}/$request-authorization", json=asked))
        if by_code:
            code = code_for(self._server, self._uri, patient)
            self._took(asking.post(f"Consent/{id}/$verify", json=parameters(code=code)))
        else:
            self._took(answering.post(f"Consent/{id}/$confirm"))
        self._took(answering.post(f"Consent/{id}/$revoke"))

    def _took(self, answer: httpx.Response) -> str:
        assert answer.status_code in (200, 201), answer.text
        consent = answer.json()
        self.acknowledged.append((consent["id"], said(consent)["state"]))
        return str(consent["id"])

    def _client(self, role: str, user: str) -> httpx.Client:
        purpose = "PATRQT" if role == "patient" else "TREAT"
        headers = {"Accept": JSON, "Content-Type": JSON, "Authorization": f"Bearer {self._token(role, user, purpose)}"}
        return httpx.Client(base_url=self._base, headers=headers, timeout=20)

    def _token(self, role: str, user: str, purpose: str) -> str:
        return self._server.token(role, user, ASKS, purpose)


def test_each_step_of_an_authorization_survives_a_kill_as_a_whole(mongo_uri: str, tmp_path: Path) -> None:
    chosen = {"message_stand_in": True, "authorization_requests_a_day": A_DAY}
    with fresh(mongo_uri) as name, live(mongo_uri, tmp_path, database=name, **chosen) as server:
        server.put(organization(ASKS, "第一人民医院"), organization=ASKS)
        for number in range(PEOPLE):
            person(server, f"k{number}", 500 + number)
        with victim(server, mongo_uri, tmp_path) as (process, base), ThreadPoolExecutor(PEOPLE) as pool:
            lives = Lives(server, mongo_uri, base)
            under_way = [pool.submit(lives.live, number) for number in range(PEOPLE)]
            until = time.monotonic() + 60
            while len(lives.acknowledged) < STEPS and time.monotonic() < until:
                time.sleep(0.002)
            process.kill()
            lives.gone.set()
            for each in under_way:
                each.result()
        assert len(lives.acknowledged) >= STEPS
        with MongoClient[Json](mongo_uri) as client, server.system(ASKS) as system:
            for number in range(PEOPLE):
                check(server, system, client[name], f"k{number}", lives.acknowledged)
                if gone_on_with(server, system, f"k{number}"):
                    check(server, system, client[name], f"k{number}", lives.acknowledged)
            kept = {each["_id"] for each in client[name]["Consent"].find({}, {"_id": 1})}
            assert {id for id, _ in lives.acknowledged} <= kept


def found(client: httpx.Client, query: str) -> list[Json]:
    answer = client.get(f"{query}&_count=500").json()
    return [each["resource"] for each in answer.get("entry", ())]


def check(server: Live, system: httpx.Client, database: Any, name: str, acknowledged: list[tuple[str, str]]) -> None:
    """Every version of every Consent of a person has all that belongs to it, and nothing is there of any other."""
    told = Counter[str]()
    consents = found(system, f"Consent?patient=Patient/{name}-1")
    for consent in consents:
        id, last = consent["id"], int(consent["meta"]["versionId"])
        history = [each["resource"] for each in system.get(f"Consent/{id}/_history").json()["entry"]]
        states = [said(each)["state"] for each in reversed(history)]
        assert len(states) == last
        told.update(TOLD[each] for each in states if each in TOLD)
        assert {each for of, each in acknowledged if of == id} <= {*states}
        versions = [f"Consent/{id}/_history/{number}" for number in range(1, last + 1)]
        provenance = found(system, f"Provenance?target=Consent/{id}")
        assert sorted(each["target"][0]["reference"] for each in provenance) == versions
        with server.client("auditor", "Practitioner/auditor", ASKS, "HOPERAT", scope="user/*.rs") as auditor:
            events = found(auditor, f"AuditEvent?entity=Consent/{id}&type=110113&outcome=0")
        assert sorted(each["entity"][0]["what"]["reference"] for each in events) == versions
        row = database["authorizations"].find_one({"_id": id})
        assert (row["version"], row["state"]) == (last, states[-1])
        ends = database["authorization_ends"].find_one({"_id": id})
        assert bool(ends and ends["until"]) == (states[-1] == "active")
    person_key = database["Patient"].find_one({"_id": f"{name}-1"})["pat"]
    entries = database["outbox"].find({"person": person_key}).to_list()
    assert Counter(each["kind"] for each in entries) == told


def gone_on_with(server: Live, system: httpx.Client, name: str) -> bool:
    """Take the steps that are left of a person's authorizations; return whether there were any."""
    left = found(system, f"Consent?patient=Patient/{name}-1&status=proposed,active")
    with server.client("patient", f"Patient/{name}-1", ASKS, "PATRQT") as answering:
        for consent in left:
            if consent["status"] == "proposed":
                done(answering, consent["id"], "confirm")
            with server.client("practitioner", DOCTOR, ASKS) as asking:
                assert sees(asking, name)
                done(answering, consent["id"], "revoke")
                assert not sees(asking, name)
            assert step(answering, consent["id"], "confirm").status_code == 409
    return bool(left)
