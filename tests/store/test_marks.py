"""What decides who sees a record is held to what the server stored: whoever changes it in MongoDB opens nothing by it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from fhir_server.app import Parts, assemble, keyring_of
from fhir_server.reindexing.checking import check
from fhir_server.reindexing.everything import reindex
from fhir_server.store.marks import COVERED, FIELD, Marks
from tests.databases import fresh
from tests.live import Live, live

Json = dict[str, Any]
SECRET = "what-only-some-may-read"
DENIED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "HIV"}
SUBJECT = {"reference": "Patient/p"}


def observation(id: str, patient: str = "p", **more: Any) -> Json:
    coded = {"coding": [{"system": "http://loinc.org", "code": "4548-4"}]}
    said = {"status": "final", "code": coded, "subject": {"reference": f"Patient/{patient}"}, "valueString": SECRET}
    return {"resourceType": "Observation", "id": id, "effectiveDateTime": "2026-01-02", **said, **more}


def patient(id: str) -> Json:
    return {"resourceType": "Patient", "id": id, "gender": "female"}


def consent(id: str, kind: str, patient: str, actor: str, **more: Any) -> Json:
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "PRCP"}]}
    scope = {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
    policy = "OPTIN" if kind == "permit" else "OPTOUT"
    return {
        "resourceType": "Consent",
        "id": id,
        "status": "active",
        "patient": {"reference": f"Patient/{patient}"},
        "scope": {"coding": [scope]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": policy}]},
        "provision": {"type": kind, "actor": [{"role": role, "reference": {"reference": actor}}], **more},
    }


REPORT = {
    "resourceType": "DiagnosticReport", "id": "r", "status": "final", "subject": SUBJECT,
    "code": {"text": "report"}, "result": [{"reference": "Observation/o"}],
}  # fmt: skip
# Every door by which the record o can leave.
DOORS = (
    "Observation/o",
    "Observation/o/_history/2",
    "Observation?_id=o",
    "Observation?patient=p&code=4548-4",
    "DiagnosticReport?_include=DiagnosticReport:result",
    "Patient?_id=p&_revinclude=Observation:subject",
    "Patient/p/Observation",
    "Patient/p/$everything",
    "Observation/o/_history",
    "Observation/_history",
    "_history",
)


class Site(NamedTuple):
    """A running server, and its database as somebody reaches it who is not the server."""

    server: Live
    raw: Database[Json]
    uri: str


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with (
        fresh(mongo_uri) as name,
        live(mongo_uri, tmp_path_factory.mktemp("marks"), database=name) as server,
        MongoClient[Json](mongo_uri) as mongo,
    ):
        server.put(patient("p"), patient("q"), {"resourceType": "Practitioner", "id": "dr"})
        server.put(observation("o"), observation("o", status="amended"), observation("of-q", "q"), REPORT)
        server.put(observation("elsewhere"), organization="org2")
        server.put(consent("no", "deny", "p", "Practitioner/dr", securityLabel=[DENIED]))
        server.put(observation("labelled", meta={"security": [DENIED]}))
        yield Site(server, mongo[name], mongo_uri)


@contextmanager
def changed(collection: Any, id: str, change: Json) -> Iterator[None]:
    """Have a document changed by somebody who is not the server."""
    before = collection.find_one({"_id": id})
    assert collection.update_one({"_id": id}, change).modified_count == 1
    try:
        yield
    finally:
        collection.replace_one({"_id": id}, before)


def doctor(site: Site, organization: str = "org1") -> httpx.Client:
    return site.server.client("practitioner", "Practitioner/dr", organization)


def disclosing(client: httpx.Client, doors: tuple[str, ...] = DOORS) -> list[str]:
    return [each for each in doors if SECRET in client.get(each).text]


CHANGES: dict[str, Json] = {
    "at": {"$inc": {"at": 1}},
    "org": {"$set": {"org": "org3"}},
    "pat": {"$inc": {"pat": 1}},
    "pats": {"$set": {"pats": [1]}},
    "no persons": {"$set": {"pats": []}},
    "pr": {"$set": {"pr": ["q"]}},
    "me": {"$set": {"me": 1}},
    "lab": {"$set": {"lab": [1]}},
    "c": {"$pop": {"c": 1}},
    "w": {"$set": {"w.lo": 0}},
    "by": {"$set": {"by": "patient"}},
    "dl": {"$set": {"dl": "d1"}},
    "deleted": {"$set": {"deleted": True}},
    "purged": {"$set": {"purged": False}},
    "no mark": {"$unset": {FIELD: ""}},
    "another mark": {"$set": {FIELD: bytes(16)}},
    "no bytes": {"$set": {FIELD: "x"}},
    "no list": {"$set": {"lab": 5}},
}


def test_all_that_decides_is_changed_below() -> None:
    assert {*COVERED} <= CHANGES.keys()


def test_each_door_discloses_what_nobody_changed(site: Site) -> None:
    with site.server.system() as client:
        assert disclosing(client) == [*DOORS]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_record_of_which_something_was_changed_leaves_by_no_door(site: Site, change: Json) -> None:
    with site.server.system() as client, changed(site.raw["Observation"], "o", change):
        only = "DiagnosticReport?_include=DiagnosticReport:result", "Observation?_id=o", "Observation/o"
        assert disclosing(client, only) == []


@pytest.mark.parametrize("name", ["org", "pat"])
def test_no_door_is_left_open(site: Site, name: str) -> None:
    with site.server.system() as client, changed(site.raw["Observation"], "o", CHANGES[name]):
        # Lists hold the first version and other records as well: either they are refused whole, or without this one.
        assert '"amended"' not in "".join(client.get(each).text for each in DOORS)


def test_a_record_of_another_institution_does_not_become_ones_own(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with doctor(site) as client:
        assert client.get("Observation/elsewhere").status_code == 404
        with changed(site.raw["Observation"], "elsewhere", {"$set": {"org": "org1"}}), caplog.at_level(logging.ERROR):
            answer = client.get("Observation/elsewhere")
            assert answer.status_code == 500
            assert SECRET not in answer.text
        assert "a stored Observation was changed behind the server's back" in caplog.text
        assert "elsewhere" not in caplog.text
        assert client.get("Observation/elsewhere").status_code == 404


def test_a_label_that_is_taken_off_does_not_open_what_it_closed(site: Site) -> None:
    with doctor(site) as client:
        assert client.get("Observation/labelled").status_code == 404
        with changed(site.raw["Observation"], "labelled", {"$unset": {"lab": ""}}):
            assert client.get("Observation/labelled").status_code == 500
            assert client.get("Observation?_id=labelled").status_code == 500
            assert client.get("Observation/labelled/_history").status_code == 500


def test_the_mark_of_one_document_is_none_of_another(site: Site) -> None:
    one, other = (site.raw["Observation"].find_one({"_id": id}) or {} for id in ("o", "of-q"))
    taken = {"$set": {name: other[name] for name in ("pat", "pr", FIELD)}}
    with site.server.system() as client, changed(site.raw["Observation"], "o", taken):
        assert client.get("Observation/o").status_code == 500
    exchanged = {"$set": {name: other[name] for name in other if name != "_id"}}
    back = {"$set": {name: one[name] for name in one if name != "_id"}}
    with (
        site.server.system() as client,
        changed(site.raw["Observation"], "o", exchanged),
        changed(site.raw["Observation"], "of-q", back),
    ):
        assert disclosing(client, ("Observation/o", "Observation/of-q", "Observation?code=4548-4")) == []


def test_an_earlier_version_and_a_deletion_are_held_to_what_was_stored_as_well(site: Site) -> None:
    site.server.put(observation("gone"), organization="org2")
    history = site.raw["Observation_history"]
    with site.server.system("org2") as client:
        assert client.delete("Observation/gone").status_code in (200, 204)
    with doctor(site) as client:
        doors = ("Observation/gone/_history/1", "Observation/gone/_history", "Observation/_history", "Observation/gone")
        assert [each for each in doors if "Observation/gone" in client.get(each).text] == []
        for id in ("gone/1", "gone/2"):
            with changed(history, id, {"$set": {"org": "org1"}}):
                told = [client.get(each) for each in doors]
                assert [each.status_code for each in told if "Observation/gone" in each.text] == []
                assert SECRET not in told[1].text


def test_what_was_revoked_is_not_put_back_from_its_history(site: Site) -> None:
    given = consent("given", "permit", "q", "Organization/org5")
    site.server.put(given, {**given, "status": "inactive"})
    current, history = site.raw["Consent"].find_one({"_id": "given"}), site.raw["Consent_history"]
    first = history.find_one({"_id": "given/1"})
    terms = site.raw["Consent"].find_one({"_id": "no"})
    assert current
    assert first
    assert terms
    with doctor(site, "org5") as client:
        assert client.get("Observation/of-q").status_code == 404
        for more in ({}, {"id": "given"}):
            back = {key: value for key, value in first.items() if key != "id"} | {
                "_id": "given",
                "ix": terms["ix"],
                **more,
            }
            site.raw["Consent"].replace_one({"_id": "given"}, back)
            site.server.put(consent("another", "permit", "q", "Organization/org9"))  # what was known is read anew
            seen = client.get("Observation/of-q").status_code
            site.raw["Consent"].replace_one({"_id": "given"}, current)
            site.raw["Consent"].delete_one({"_id": "another"})
            assert seen == 500
    site.raw["Consent_history"].delete_many({"id": "another"})


def test_a_consent_counts_for_nobody_else_and_for_nobody_more(site: Site) -> None:
    site.server.put(consent("yes", "permit", "q", "Organization/org2"))
    own, other = (site.raw["Patient"].find_one({"_id": id}) or {} for id in ("q", "p"))
    with doctor(site, "org2") as client:
        assert client.get("Observation/of-q").status_code == 200
        for change in ({"$set": {"pat": other["me"]}}, {"$set": {"by": "patient"}}, {"$set": {"org": "org2"}}):
            with changed(site.raw["Consent"], "yes", change):
                site.server.put(consent("another", "permit", "p", "Organization/org9"))  # what was known is read anew
                assert client.get("Observation/o").status_code != 200
    assert own["me"] != other["me"]


def test_a_persons_row_that_was_changed_files_nothing_and_finds_nothing(site: Site) -> None:
    site.raw["persons"].update_one({"_id": "q"}, {"$set": {"key": 1}}, upsert=True)
    with site.server.system() as client, site.server.client("patient", "Patient/q", patient="Patient/q") as person:
        assert client.put("Observation/new", json=observation("new", "q")).status_code == 500
        assert person.get("Observation?patient=q").status_code == 500
    site.raw["persons"].delete_one({"_id": "q"})


def test_what_was_changed_is_not_carried_over_into_the_next_version(site: Site) -> None:
    with site.server.system() as client, changed(site.raw["Observation"], "of-q", CHANGES["lab"]):
        assert client.put("Observation/of-q", json=observation("of-q", "q", status="amended")).status_code == 500
        assert client.delete("Observation/of-q").status_code == 500


def anew(site: Site) -> list[str]:
    """File everything anew; return what was refused."""
    refused: list[str] = []
    keyring = keyring_of(site.server.settings)

    async def run() -> None:
        parts: Parts = assemble(site.server.settings, keyring, uri=site.uri)
        try:
            await parts.ready(any_layout=True)
            given = (parts.database, parts.definitions, parts.collections, parts.services.committer)
            await reindex(*given, progress=lambda _: None, refused=refused.append)
        finally:
            await parts.close()

    asyncio.run(run())
    return refused


def test_reindex_marks_nothing_that_was_changed(site: Site) -> None:
    with changed(site.raw["Observation"], "elsewhere", {"$set": {"org": "org1"}}), doctor(site) as client:
        assert anew(site) == ["Observation/elsewhere/_history/1"]
        assert client.get("Observation/elsewhere").status_code == 500
    with doctor(site) as client:
        assert client.get("Observation/elsewhere").status_code == 404


def looked_through(site: Site) -> list[str]:
    faults: list[str] = []
    keyring = keyring_of(site.server.settings)

    async def run() -> None:
        parts: Parts = assemble(site.server.settings, keyring, uri=site.uri)
        try:
            await parts.ready()
            assert await check(parts.database, parts.services, faults.append) > 20
        finally:
            await parts.close()

    asyncio.run(run())
    return faults


def test_a_check_names_what_was_changed_removed_or_hidden(site: Site) -> None:
    assert looked_through(site) == []
    denial, first = (
        site.raw[name].find_one({"_id": id}) for name, id in (("Consent", "no"), ("Observation_history", "o/1"))
    )
    assert denial
    assert first
    site.raw["Observation_history"].delete_one({"_id": "o/1"})
    site.raw["persons"].update_one({"_id": "q"}, {"$set": {"key": 1}}, upsert=True)
    with (
        changed(site.raw["Consent"], "no", {"$set": {"ix": []}}),
        changed(site.raw["Observation"], "labelled", {"$unset": {"lab": ""}}),
        changed(site.raw["Observation_history"], "gone/2", {"$set": {"org": "org1"}}),
    ):
        found = looked_through(site)
    site.raw["persons"].delete_one({"_id": "q"})
    site.raw["Observation_history"].insert_one(first)
    assert sorted(found) == [
        "Consent/no is not found by what it says",
        "Observation/gone/_history/2 was changed behind the server's back",
        "Observation/labelled/_history/1 was changed behind the server's back",
        "Observation/o/_history/1 was removed behind the server's back",
        "the person of Patient/q was changed behind the server's back",
    ]
    current = site.raw["Observation"].find_one_and_delete({"_id": "o"})
    assert current
    assert looked_through(site) == ["Observation/o/_history/2 was removed behind the server's back"]
    site.raw["Observation"].insert_one(current)


def test_what_an_earlier_version_stored_is_marked_by_what_its_body_says(site: Site) -> None:
    names = ("Observation", "Patient", "Consent", "Practitioner", "DiagnosticReport", "AuditEvent", "persons")
    kept = {name: list(site.raw[name].find()) for each in names for name in (each, f"{each}_history")}
    for name in kept:
        site.raw[name].update_many({}, {"$unset": {FIELD: ""}})
    site.raw["installation"].update_one({}, {"$set": {"layout": 4}})
    site.raw["Observation"].update_one({"_id": "elsewhere"}, {"$set": {"org": "org1"}})
    site.raw["Observation"].update_one({"_id": "of-q"}, {"$inc": {"pat": 1}, "$set": {"c": [1], "w.lo": 0}})
    try:
        assert anew(site) == ["Observation/elsewhere/_history/1"] * 2
        without = {"$unset": {"d": ""}}
        site.raw["Observation"].update_one({"_id": "elsewhere"}, {"$set": {"org": "org2"}})
        for name, documents in kept.items():
            for each in documents:
                site.raw[name].update_one({"_id": each["_id"]}, without)
                found = site.raw[name].find_one({"_id": each["_id"]})
                if each["_id"] != "elsewhere":
                    assert found == {key: value for key, value in each.items() if key != "d"}
    finally:
        for name, documents in kept.items():
            for each in documents:
                site.raw[name].replace_one({"_id": each["_id"]}, each)


def test_two_documents_that_differ_have_other_marks() -> None:
    marks = Marks(bytes(32))
    base: Json = {"_id": "a", "v": 1, "at": 0, "org": "o", "w": {"lo": 0, "hi": 0}}
    others: tuple[Json, ...] = (
        {"lab": [1]}, {"c": [1]}, {"pats": []}, {"pats": [1]}, {"pat": 0}, {"pat": 1}, {"me": 0}, {"v": 2}, {"_id": "b"},
        {"by": "o", "org": ""}, {"pr": ["o"]}, {"dl": "o"}, {"pr": ["x", "y"]}, {"pr": ["xy"]}, {"purged": True},
    )  # fmt: skip
    found = [marks.of("Observation", each["_id"], each) for each in ({**base, **more} for more in ({}, *others))]
    assert len(set(found)) == len(found)
    assert marks.of("Patient", "a", base) not in found
    assert Marks(bytes(31) + b"1").of("Observation", "a", base) not in found
