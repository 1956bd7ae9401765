"""Labels over HTTP: whatever door a record comes in by, it is labelled; nobody takes a label off; Consents go by them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from consent_engine.vocabulary import ACT_CODE, CONFIDENTIALITY
from fhir_server.app import assemble, keyring_of
from fhir_server.fhir_json import dump
from fhir_server.loading.files import Raw
from fhir_server.loading.load import load
from fhir_server.reindexing.everything import reindex
from fhir_server.settings import Settings
from tests.live import Live, live

Json = dict[str, Any]
ICD, LOINC = "http://hl7.org/fhir/sid/icd-10", "http://loinc.org"
PATIENT = {"resourceType": "Patient", "id": "p"}
OWN = {"resourceType": "Practitioner", "id": "dr"}


def condition(code: str, *, id: str | None = "c") -> Json:
    named = {"id": id} if id else {}
    subject = {"reference": "Patient/p"}
    return {
        "resourceType": "Condition",
        **named,
        "subject": subject,
        "code": {"coding": [{"system": ICD, "code": code}]},
    }


def codes(resource: Json) -> list[str]:
    return [each["code"] for each in resource["meta"].get("security", ())]


@pytest.fixture
def server(mongo_uri: str, database_name: str, tmp_path: Path) -> Iterator[Live]:
    with live(mongo_uri, tmp_path, database=database_name) as running:
        running.put(PATIENT, OWN)
        yield running


@pytest.fixture
def emr(server: Live) -> Iterator[httpx.Client]:
    with server.system() as client:
        yield client


def created(emr: httpx.Client) -> Json:
    return dict(emr.post("Condition", json=condition("B24", id=None)).json())


def updated(emr: httpx.Client) -> Json:
    emr.put("Condition/c", json=condition("E11.9"))
    return dict(emr.put("Condition/c", json=condition("B24")).json())


def patched(emr: httpx.Client) -> Json:
    emr.put("Condition/c", json=condition("E11.9"))
    change = [{"op": "replace", "path": "/code/coding/0/code", "value": "B24"}]
    headers = {"Content-Type": "application/json-patch+json"}
    return dict(emr.patch("Condition/c", content=json.dumps(change), headers=headers).json())


def transacted(emr: httpx.Client) -> Json:
    entry = {"resource": condition("B24"), "request": {"method": "PUT", "url": "Condition/c"}}
    answer = emr.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert answer.status_code == 200, answer.text
    return dict(emr.get("Condition/c").json())


@pytest.mark.parametrize("written", [created, updated, patched, transacted])
def test_every_write_labels(emr: httpx.Client, written: Callable[[httpx.Client], Json]) -> None:
    found = written(emr)
    assert codes(found) == ["HIV", "R"]
    assert emr.get(f"Condition/{found['id']}").json() == found
    for asked in (f"_security={ACT_CODE}|HIV", f"_security={CONFIDENTIALITY}|R"):
        assert emr.get(f"Condition?{asked}&_summary=count").json()["total"] == 1


def test_what_is_sent_again_is_no_new_version_with_the_labels_or_without(emr: httpx.Client) -> None:
    first = emr.put("Condition/c", json=condition("B24")).json()
    turned = {**first, "meta": {"security": first["meta"]["security"][::-1]}}
    for again in (condition("B24"), first, turned):
        answer = emr.put("Condition/c", json=again)
        assert (answer.status_code, answer.json()) == (200, first)


def test_nobody_takes_off_what_follows_from_the_content(emr: httpx.Client) -> None:
    first = emr.put("Condition/c", json=condition("B24")).json()
    meta = {"name": "meta", "valueMeta": {"security": first["meta"]["security"]}}
    said = {"resourceType": "Parameters", "parameter": [meta]}
    assert emr.post("Condition/c/$meta-delete", json=said).status_code == 200
    assert emr.put("Condition/c", json=condition("B24")).status_code == 200
    assert emr.get("Condition/c").json() == first


def test_a_condition_within_a_transaction_finds_what_will_be_labelled(emr: httpx.Client) -> None:
    search = f"_security={ACT_CODE}%7CHIV"
    entries = [
        {"resource": condition("B24", id=None), "fullUrl": "urn:uuid:7b3b5d3c-6c2a-4f0a-9a64-0f1c7d1f1f01",
         "request": {"method": "POST", "url": "Condition"}},
        {"resource": condition("B24", id=None), "fullUrl": "urn:uuid:7b3b5d3c-6c2a-4f0a-9a64-0f1c7d1f1f02",
         "request": {"method": "POST", "url": "Condition", "ifNoneExist": search}},
    ]  # fmt: skip
    answer = emr.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200, answer.text
    assert emr.get("Condition?_summary=count").json()["total"] == 1


def seen(server: Live, id: str) -> int:
    with server.client("practitioner", "Practitioner/dr") as doctor:
        return doctor.get(f"Condition/{id}").status_code


def denial(code: str) -> Json:
    coded = [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
    return {
        "resourceType": "Consent", "id": "deny", "status": "active", "patient": {"reference": "Patient/p"},
        "scope": {"coding": coded}, "category": [{"coding": [{"system": LOINC, "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": ACT_CODE, "code": "OPTIN"}]},
        "provision": {"provision": [{"type": "deny", "securityLabel": [{"system": ACT_CODE, "code": code}]}]},
    }  # fmt: skip


def test_a_consent_goes_by_labels_that_nobody_stated(server: Live) -> None:
    server.put(condition("B24"), condition("E11.9", id="other"), denial("HIV"))
    assert (seen(server, "c"), seen(server, "other")) == (404, 200)


def test_what_was_sensitive_once_is_judged_so_for_ever(server: Live) -> None:
    server.put(condition("B24"), condition("E11.9"), denial("HIV"))
    assert seen(server, "c") == 404


def test_what_a_consent_names_is_no_finding(server: Live) -> None:
    server.put(denial("HIV"))
    with server.system() as client:
        assert codes(client.get("Consent/deny").json()) == []


def test_a_value_set_of_ones_own_labels_as_well(mongo_uri: str, database_name: str, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    row = {"file": "vip.json", "labels": [{"system": "urn:hospital", "code": "staff", "display": "本院职工"}]}
    (folder / "manifest.json").write_text(json.dumps({"labels": [row]}))
    include = [{"system": "urn:hospital:diagnoses", "filter": [{"property": "code", "op": "regex", "value": "9.*"}]}]
    (folder / "vip.json").write_text(json.dumps({"resourceType": "ValueSet", "compose": {"include": include}}))
    own = condition("B24")
    own["code"]["coding"].append({"system": "urn:hospital:diagnoses", "code": "917"})
    with (
        live(mongo_uri, tmp_path, database=database_name, label_value_sets=folder) as server,
        server.system() as client,
    ):
        server.put(PATIENT, own)
        assert codes(client.get("Condition/c").json()) == ["HIV", "staff", "R"]


def test_records_from_before_are_labelled_by_reindex_without_a_new_version(
    mongo_uri: str, database_name: str, tmp_path: Path
) -> None:
    records = (PATIENT, OWN, condition("B24"), condition("B24", id="was"), condition("E11.9", id="was"), denial("HIV"))
    with live(mongo_uri, tmp_path, database=database_name, labelling=False) as server, server.system() as client:
        server.put(*records, condition("B24", id="gone"))
        assert client.delete("Condition/gone").status_code in (200, 204)
        assert [seen(server, id) for id in ("c", "was")] == [200, 200]
    settings = Settings.load(tmp_path, database=database_name, zone="UTC")

    async def anew() -> None:
        parts = assemble(settings, keyring_of(settings), uri=mongo_uri)
        try:
            await parts.ready(any_layout=True)
            committer = parts.services.committer
            await reindex(parts.database, parts.definitions, parts.collections, committer, progress=lambda _: None)
        finally:
            await parts.client.close()

    asyncio.run(anew())
    with live(mongo_uri, tmp_path, database=database_name) as server, server.system() as client:
        assert [seen(server, id) for id in ("c", "was")] == [404, 404]
        with server.client("practitioner", "Practitioner/dr") as doctor:
            assert doctor.get("Condition/_history").json()["total"] == 0
        with MongoClient[Json](mongo_uri) as mongo:
            stored = mongo[database_name]["Condition"].find_one({"_id": "c"})
            assert stored is not None
            assert stored["v"] == 1
            assert len(stored["lab"]) == 2
            assert all(len(each["lab"]) == 2 for each in mongo[database_name]["Condition_history"].find({"id": "gone"}))


def test_a_load_labels_and_what_is_loaded_again_is_unchanged(server: Live, mongo_uri: str) -> None:
    chunk = tuple(Raw("f", f"line {n}", dump(each)) for n, each in enumerate((PATIENT, condition("B24")), 1))

    def loaded() -> tuple[int, int]:
        told = {"reject": lambda _: None, "progress": lambda _: None}
        keyring = keyring_of(server.settings)
        tally = asyncio.run(load(server.settings, keyring, mongo_uri, "org1", [chunk], processes=1, **told))
        return tally.stored, tally.unchanged

    assert [loaded(), loaded()] == [(1, 1), (0, 2)]
    with server.system() as client:
        assert codes(client.get("Condition/c").json()) == ["HIV", "R"]
