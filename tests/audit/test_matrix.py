"""Each kind of thing that happens leaves its AuditEvent, built as IHE BALP has it: one row for each, through real doors."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from pymongo import MongoClient
from typer.testing import CliRunner

from fhir_server.app import assemble, keyring_of
from fhir_server.audit.event import ACTIONS
from fhir_server.audit.security import EVENTS
from fhir_server.auth.requester import Role
from fhir_server.auth.server.clients import Client, Kind
from fhir_server.cli import app as command
from fhir_server.fhir_json import parse
from fhir_server.interactions.routes import INTERACTIONS
from tests.answers import FORM
from tests.audit.balp import CONSENT, DATA, PATIENT, QUERY, conforms, named
from tests.auth.accounts.house import Browser, House
from tests.auth.server.apps import KEYS, App, Desk, public
from tests.auth.server.apps import app as new_app
from tests.consent_engine.build import actor, consent, permit
from tests.databases import fresh
from tests.deliveries.world import BRIDGE, NOW, World
from tests.live import Live, live

Json = dict[str, Any]
MARK = "SECRETLY-ASKED"  # what is searched for
DCM_SIGNING, ALERT, USED, EXPORT, IMPORT, RECORD = "110114", "110113", "110101", "110106", "110107", "110110"


@dataclass
class Hospital:
    """A running server and those who do things on it."""

    house: House
    desk: Desk
    world: World
    folder: Path
    uri: str
    kept: Json = field(default_factory=dict)

    @property
    def server(self) -> Live:
        return self.house.server

    def doctor(
        self, method: str, path: str, body: Any = None, organization: str = "org1", **how: Any
    ) -> httpx.Response:
        with self.server.client("practitioner", f"Practitioner/dr-{organization}", organization) as client:
            return client.request(method, path, json=body, **how)

    def patient(self, method: str, path: str, body: Any = None) -> httpx.Response:
        with self.server.client("patient", "Patient/p1", purpose="PATRQT") as client:
            return client.request(method, path, json=body)

    def auditor(self) -> Browser:
        if "auditor" not in self.kept:
            account = self.house.account(Role.AUDITOR, "Practitioner/auditor", name="审计员")
            self.kept["auditor"] = self.house.browser(account).open("/auth/sign-in").sign_in().open("/auth/desk")
        found: Browser = self.kept["auditor"]
        return found

    def app(self) -> App:
        return self._once("app", lambda: new_app(self.desk))

    def backend(self) -> App:
        return self._once("backend", lambda: new_app(self.desk, Kind.BACKEND))

    def run(self, *words: str) -> None:
        done = CliRunner().invoke(command, list(words))
        assert done.exit_code == 0, done.output

    def _once(self, name: str, make: Callable[[], App]) -> App:
        if name not in self.kept:
            self.kept[name] = make()
        found: App = self.kept[name]
        return found


Do = Callable[[Hospital], object]


class Row(NamedTuple):
    """What is done, and the event that tells of it. who: the user; has: roles of entities that it must have."""

    do: Do
    type: str
    subtype: str
    action: str
    outcome: str = "0"
    who: str = "Practitioner/dr-org1"
    has: str = ""


OBSERVATION: Json = {
    "resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/p1"},
}  # fmt: skip
ASKED: Json = {"resourceType": "Parameters", "parameter": [{"name": "way", "valueCode": "app"}]}
PATCH = [{"op": "replace", "path": "/status", "value": "amended"}]


def rest(subtype: str, action: str, method: str, path: str, has: str, body: Any = None, **how: Any) -> Row:
    return Row(lambda it: it.doctor(method, path, body, **how), "rest", subtype, action, has=has)


def bundle(kind: str, *entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


ABOUT = "user=Practitioner/dr-org1&organization=Organization/org1"
READ_ENTRY = {"request": {"method": "GET", "url": "Patient/p1"}}
MADE_ENTRY = {"request": {"method": "POST", "url": "Observation"}, "resource": OBSERVATION}
DOORS: Mapping[str, Row] = {
    "read": rest("read", "R", "GET", "Patient/p1", "41"),
    "head": rest("read", "R", "HEAD", "Patient/p1", "41"),
    "read, not modified": rest("read", "R", "GET", "Patient/p1", "41", headers={"If-None-Match": 'W/"1"'}),
    "vread": rest("vread", "R", "GET", "Observation/o1/_history/1", "41"),
    "history of one": rest("history-instance", "R", "GET", "Observation/o1/_history", "41Q"),
    "history of a type": rest("history-type", "R", "GET", "Observation/_history", "41Q"),
    "history of all": rest("history-system", "R", "GET", "_history", "41Q"),
    "search": rest("search-type", "E", "GET", f"Observation?subject=Patient/p1&code:text={MARK}", "1Q"),
    "posted search": rest(
        "search-type", "E", "POST", "Patient/_search", "41Q", headers=FORM, content=f"_id=p1,{MARK}"
    ),
    "search of several types": rest("search-system", "E", "GET", "?_type=Patient,Observation&_id=p1", "41Q"),
    "search of a compartment": rest("search-type", "E", "GET", "Patient/p1/Observation", "41Q"),
    "included": rest("search-type", "E", "GET", "Observation?_id=o1&_include=Observation:subject", "41Q"),
    "a number": rest("search-type", "E", "GET", "Observation?patient=Patient/p1&_summary=count", "1Q"),
    "create": rest("create", "C", "POST", "Observation", "41", OBSERVATION),
    "update": rest("update", "U", "PUT", "Observation/o1", "41", {**OBSERVATION, "id": "o1"}),
    "patch": rest(
        "patch", "U", "PATCH", "Observation/o3", "41", PATCH, headers={"Content-Type": "application/json-patch+json"}
    ),
    "conditional create": rest(
        "create", "C", "POST", "Observation", "41", OBSERVATION, headers={"If-None-Exist": "identifier=none"}
    ),
    "conditional update": rest("update", "U", "PUT", "Observation?identifier=never", "41", OBSERVATION),
    "delete": rest("delete", "D", "DELETE", "Observation/o4", "41"),
    "conditional delete": rest("delete", "D", "DELETE", "Observation?_id=o5", "41"),
    "read in a batch": rest("read", "R", "POST", "", "41", bundle("batch", READ_ENTRY)),
    "transaction": rest("transaction", "E", "POST", "", "41", bundle("transaction", MADE_ENTRY)),
    "everything": rest("operation", "E", "GET", "Patient/p1/$everything", "41Q"),
    "last": rest("operation", "E", "GET", "Observation/$lastn?patient=p1&max=1", "41Q"),
    "meta": rest("operation", "E", "GET", "Patient/p1/$meta", "41Q"),
    "explanation": Row(
        lambda it: it.patient("GET", f"Observation/o1/$explain-access?{ABOUT}"),
        "rest", "operation", "E", who="Patient/p1", has="41Q",
    ),
    "status of an authorization": rest("operation", "E", "GET", "Patient/p1/$authorization-status", "1Q"),
    "read by a Consent": Row(
        lambda it: it.doctor("GET", "Observation/o1", organization="org2"),
        "rest", "read", "R", who="Practitioner/dr-org2", has="41C",
    ),
    "refused read": Row(lambda it: it.doctor("GET", "Patient/none"), "rest", "read", "R", "4", has="4"),
    "refused search": Row(lambda it: it.doctor("GET", f"Patient?no-such={MARK}"), "rest", "search-type", "E", "4", has="Q"),
    "refused batch": Row(lambda it: it.doctor("POST", "", {}), "rest", "batch", "E", "4"),
    "a stranger": Row(lambda it: httpx.get(it.server.base + "/Patient/p1"), "rest", "read", "R", "4", who="unknown"),
}  # fmt: skip


def signs_in(it: Hospital, password: str | None = None) -> Browser:
    browser = it.house.browser(it.house.doctor("Practitioner/signing")).open("/auth/sign-in")
    return browser.sign_in() if password is None else browser.sign_in(password)


def launches(it: Hospital) -> None:
    more: Json = {
        "system_user": "Device/launcher",
        "organization": "org1",
        "may_launch": True,
        "scopes": ("system/*.rs",),
    }
    it.house.register(Client("launcher", "x", Kind.BACKEND, jwks={"keys": [public(KEYS["ES384"])]}, **more))
    token = it.server.token("system", "Device/launcher", scope="system/*.rs", client_id="launcher")
    body = {"user": "Practitioner/signing", "patient": "p1"}
    answer = httpx.post(f"{it.house.origin}/auth/launch", json=body, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in (201, 400), answer.text


def revokes(it: Hospital) -> None:
    said = it.app().signed_in()
    it.desk.post("revoke", {"token": said["refresh_token"], **it.app().proof()})


def redeems_twice(it: Hospital) -> None:
    code = it.app().code()
    it.app().redeem(code)
    it.app().redeem(code)


def introspects(it: Hospital) -> None:
    it.desk.post("introspect", {"token": it.app().signed_in()["access_token"], **it.backend().proof()})


ZHANG = "Practitioner/dr-zhang"  # who approves apps (tests/auth/server/apps.py)
IDENTITY: Mapping[str, Row] = {
    "sign-in": Row(signs_in, DCM_SIGNING, "110122", "E", who="Practitioner/signing"),
    "a wrong password": Row(lambda it: signs_in(it, "no"), DCM_SIGNING, "110122", "E", "4", who="Practitioner/signing"),
    "sign-out": Row(
        lambda it: signs_in(it).open("/auth/sign-out").press("sign-out"),
        DCM_SIGNING, "110123", "E", who="Practitioner/signing",
    ),
    "an app approved, a token": Row(lambda it: it.app().signed_in(), DCM_SIGNING, "ITI-71", "E", who=ZHANG),
    "a token of a client's own": Row(lambda it: it.backend().backend(), DCM_SIGNING, "ITI-71", "E", who="Device/emr-org1"),
    "a token refused": Row(lambda it: it.app().redeem("no code"), DCM_SIGNING, "ITI-71", "E", "4", who="unknown"),
    "a client refused": Row(
        lambda it: it.backend().backend(client_assertion=it.backend().assertion(exp=1)),
        DCM_SIGNING, "110126", "E", "4", who="unknown",
    ),
    "introspection": Row(introspects, DCM_SIGNING, "ITI-102", "E", who=ZHANG),
    "revocation": Row(revokes, ALERT, "110137", "E", who=ZHANG),
    "a code used twice": Row(redeems_twice, ALERT, "110137", "E", who=ZHANG),
    "a launch": Row(launches, DCM_SIGNING, "110124", "E", who="Device/launcher"),
}  # fmt: skip


def asks(it: Hospital) -> str:
    answer = it.doctor("POST", "Patient/p1/$request-authorization", ASKED)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def then(step: str) -> Do:
    """Return a patient's answer to a question."""

    def do(it: Hospital) -> None:
        id = asks(it)
        if step == "revoke":
            it.patient("POST", f"Consent/{id}/$confirm")
        answer = it.patient("POST", f"Consent/{id}/${step}")
        assert answer.status_code == 200, answer.text

    return do


def wrong_code(it: Hospital) -> None:
    sms = {**ASKED, "parameter": [{"name": "way", "valueCode": "sms"}]}
    id = it.doctor("POST", "Patient/p1/$request-authorization", sms).json()["id"]
    code = {"resourceType": "Parameters", "parameter": [{"name": "code", "valueString": "000000"}]}
    assert it.doctor("POST", f"Consent/{id}/$verify", code).status_code == 422


STEPS: Mapping[str, Row] = {
    "requested": Row(asks, ALERT, "consent-requested", "C", has="41"),
    "a wrong code": Row(wrong_code, ALERT, "consent-verified", "U", "4", has="41"),
    "confirmed": Row(then("confirm"), ALERT, "consent-active", "U", who="Patient/p1", has="41"),
    "declined": Row(then("decline"), ALERT, "consent-declined", "U", who="Patient/p1", has="41"),
    "revoked": Row(then("revoke"), ALERT, "consent-revoked", "U", who="Patient/p1", has="41"),
}


def reviews(it: Hospital) -> None:
    said = {"purpose": "ETREAT", "patient": "Patient/p1", "reason": "昏迷患者抢救"}
    with it.server.client("practitioner", "Practitioner/emergency", "org3", **said) as doctor:
        assert doctor.get("Observation/o1").status_code == 200
    row = re.search(r"/desk/emergencies/[0-9a-f]{16}", it.auditor().open("/desk/emergencies").text)
    assert row
    it.auditor().open(row[0]).press("accepted")


def exports(it: Hospital) -> None:
    it.auditor().open("/desk").press("search").press("ndjson")


AUDITOR = "Practitioner/auditor"
PAGES: Mapping[str, Row] = {
    "emergency broken": Row(reviews, "rest", "read", "R", who="Practitioner/emergency", has="41"),
    "emergencies listed": Row(
        lambda it: it.auditor().open("/desk/emergencies"), USED, "emergency-list", "E", who=AUDITOR, has="Q"
    ),
    "emergency reviewed": Row(reviews, USED, "emergency-review", "E", who=AUDITOR, has="41Q"),
    "the log searched at the desk": Row(
        lambda it: it.auditor().open("/desk").press("search"), "rest", "search-type", "E", who=AUDITOR, has="4Q"
    ),
    "the log exported": Row(exports, EXPORT, "audit-export", "E", who=AUDITOR, has="Q"),
    "the chain verified": Row(
        lambda it: it.auditor().open("/desk/chain").press("chain"), USED, "chain-verification", "E", who=AUDITOR
    ),
}  # fmt: skip


def receives(it: Hospital) -> None:
    it.world.at(NOW)
    it.world.receive()
    it.server.clock.now = None


def purges(it: Hospital) -> None:
    it.world.purge()
    it.server.clock.now = None


MOVES: Mapping[str, Row] = {
    "received": Row(receives, IMPORT, "disclose", "C", who=BRIDGE, has="41"),
    "purged": Row(purges, RECORD, "destroy", "D", who="Device/fhir-facade", has="41"),
    "removed after its time": Row(lambda it: it.run("audit", "expire"), USED, "log-expiry", "D", who="unknown"),
    "a backup": Row(lambda it: it.run("backup", str(it.folder / "backup")), EXPORT, "backup", "E", who="unknown"),
    "the master key": Row(lambda it: it.run("keys", "rotate-master"), ALERT, "master-key", "E", who="unknown"),
    "keys of tokens": Row(lambda it: it.run("keys", "rotate"), ALERT, "access-change", "E", who="unknown"),
}
ROWS = {**DOORS, **IDENTITY, **STEPS, **PAGES, **MOVES}
# Tested where what they need is: an app's refresh token that was stolen, rows changed behind the server's back, restoring
# (tests/auth/server, tests/auth/signed, tests/commands), steps that the server takes by itself (tests/consenting), bridges.
ELSEWHERE = {"reuse", "access-data", "restore", "consent-expired", "consent-reminded", "transfer", "search-compartment"}


@pytest.fixture(scope="module")
def happened(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[Json]]]:
    """By row, the events that it has left; after all was done, so that each is opened once."""
    folder = tmp_path_factory.mktemp("matrix")
    more: Json = {"receiving_clients": [BRIDGE], "message_stand_in": True}
    with (
        pytest.MonkeyPatch.context() as patch,
        fresh(mongo_uri) as name,
        live(mongo_uri, folder, database=name, **more) as server,
        MongoClient[Json](mongo_uri) as mongo,
    ):
        for key, value in {"DATA": str(folder), "MONGODB_URI": mongo_uri, "DATABASE": name, "ZONE": "UTC"}.items():
            patch.setenv(f"FHIR_{key}", value)
        house = House(server, mongo_uri)
        it = Hospital(house, Desk(server, mongo_uri), World(server, mongo_uri, mongo[name]), folder, mongo_uri)
        try:
            stored = dict(all_done(it, mongo[name]["AuditEvent"]))
        finally:
            house.close()
        yield asyncio.run(opened(it, stored))


def all_done(it: Hospital, log: Any) -> Iterator[tuple[str, list[Json]]]:
    """Yield each row with the documents of the log that were not there before it was done."""
    begin(it)
    seen = {each["_id"] for each in log.find({}, {"_id": 1})}
    for what, row in ROWS.items():
        row.do(it)
        new = [each for each in log.find() if each["_id"] not in seen]
        seen |= {each["_id"] for each in new}
        yield what, new


def begin(it: Hospital) -> None:
    """Store what the rows are about, and let org2 in."""
    it.world.begin()
    it.server.clock.now = None
    phone = [{"system": "phone", "use": "mobile", "value": "13800138000"}]
    patient = {"resourceType": "Patient", "id": "p1", "name": [{"text": "王小明"}], "telecom": phone}
    given = consent(permit(actor=[actor("Organization/org2")]))
    given |= {"id": "c1", "patient": {"reference": "Patient/p1"}, "category": [{"text": "x"}]}
    it.server.put(patient, given, *({**OBSERVATION, "id": f"o{n}"} for n in (1, 3, 4, 5)))


async def opened(it: Hospital, stored: Mapping[str, list[Json]]) -> dict[str, list[Json]]:
    """Return the events as they were sealed; nothing that was asked is in the database in the clear."""
    assert MARK not in str(stored)
    parts = assemble(it.server.settings, keyring_of(it.server.settings), uri=it.uri)
    try:
        read = parts.services.resources.opened
        return {what: [parse(body) for body in await read("AuditEvent", rows)] for what, rows in stored.items()}
    finally:
        await parts.client.close()


@pytest.mark.parametrize("what", ROWS)
def test_what_happens_leaves_an_event_of_its_kind(happened: Mapping[str, list[Json]], what: str) -> None:
    row = ROWS[what]
    for each in happened[what]:
        conforms(each)
    kind = (row.type, row.subtype, row.action, row.outcome)
    told = [
        (each["type"]["code"], each["subtype"][0]["code"], each["action"], each["outcome"]) for each in happened[what]
    ]
    assert kind in told
    whose = [each for each, one in zip(happened[what], told, strict=True) if one == kind]
    users = [each["agent"][0]["who"].get("reference", "unknown") for each in whose]
    assert row.who in users
    event = whose[users.index(row.who)]
    roles = {"4": DATA, "1": PATIENT, "Q": QUERY, "C": CONSENT}
    assert [each for each in row.has if not named(event, roles[each])] == []


def test_every_kind_has_a_row(happened: Mapping[str, list[Json]]) -> None:
    kinds = {*INTERACTIONS, *EVENTS, *ACTIONS} - ELSEWHERE - {"capabilities"}
    codes = {name: subtype for name, (_, (_, subtype, _)) in EVENTS.items()}
    told = {each["subtype"][0]["code"] for found in happened.values() for each in found}
    assert {each for each in kinds if codes.get(each, each) not in told} == set()


def test_an_address_is_told_of_what_comes_over_the_network(happened: Mapping[str, list[Json]]) -> None:
    for what in (*DOORS, "sign-in", "a wrong password", "a token of a client's own", "a client refused", "a launch"):
        for event in happened[what]:
            assert any(each.get("network", {}).get("address") == "127.0.0.1" for each in event["agent"]), what
    for what in ("a backup", "the master key"):
        assert not any("address" in each.get("network", {}) for each in happened[what][0]["agent"])
