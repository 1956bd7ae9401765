"""Two hospitals, the people whose records they hold, and a booking that asks them, for the tests of patients' pages."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pymongo import AsyncMongoClient, MongoClient

from fhir_server.app import assemble, keyring_of
from fhir_server.auth.accounts.account import Account
from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.accounts.sessions import CODE, PASSWORD, SESSIONS, digest, marked, new_token
from fhir_server.auth.requester import Role
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.clients import Client, Kind
from fhir_server.auth.server.vault import Vault
from fhir_server.consenting.ways.box import Box
from fhir_server.consenting.ways.transport import Queue, Sending, StandIn
from fhir_server.pages.my.visiting import name_of
from fhir_server.resident_id import check_character
from tests.auth.accounts.house import Browser, House
from tests.auth.server.apps import KEYS, public
from tests.consent_engine.build import ACT_CODE, ACT_REASON, actor, codings, concept, consent, permit
from tests.databases import fresh
from tests.live import Live, live
from tests.smart.site import serving

T = TypeVar("T")
Json = dict[str, Any]
BACK = "https://booking.hospital.example/consent/back?from=page"
FRAMES = "https://booking.hospital.example"
PHONE = "13800138000"
HOSPITALS = {"org1": "第一人民医院", "org2": "市中心医院"}
FRAMED = {"client_id": "framed", "return_urls": (BACK,), "frame_origins": (FRAMES,)}


def number(of: int) -> str:
    """Return the resident id number of somebody who does not exist."""
    first = f"1101051949{of // 1_000 % 12 + 1:02}{of // 12_000 % 28 + 1:02}{of % 1_000:03}"
    return first + check_character(first)


def patient(id: str, name: str = "王小明", number: str | None = None, **more: Any) -> Json:
    systems = {"urn:oid:2.16.156.10011.1.3": number, "https://hospital.example.org/mrn": f"MRN-{id}"}
    identifier = [{"system": system, "value": value} for system, value in systems.items() if value]
    return {"resourceType": "Patient", "id": id, "name": [{"text": name}], "identifier": identifier, **more}


def phone(number: str = PHONE) -> Json:
    return {"telecom": [{"system": "phone", "use": "mobile", "value": number}]}


def observation(id: str, patient: str, **more: Any) -> Json:
    usual = {"status": "final", "code": {"text": "血糖"}, "subject": {"reference": f"Patient/{patient}"}}
    return {"resourceType": "Observation", "id": id, **usual, **more}


def directory(organization: str) -> list[Json]:
    doctor = {
        "resourceType": "Practitioner",
        "id": f"dr-{organization}",
        "name": [{"text": f"李医生{organization[-1]}"}],
    }
    return [{"resourceType": "Organization", "id": organization, "name": HOSPITALS[organization]}, doctor]


class Opened(House):
    """A house whose parts are opened once, and not for each thing that is done with them."""

    def __init__(self, server: Live, uri: str) -> None:
        super().__init__(server, uri)
        self._loop = asyncio.new_event_loop()
        self._keyring = keyring_of(server.settings)
        self._parts = assemble(server.settings, self._keyring, uri=uri, clock=server.clock)
        self._authority = self._parts.authority(server.settings, self._keyring)
        self._desk = self._parts.reception(server.settings, self._keyring, self._authority)

    def run(self, work: Callable[[Reception, Authority], Awaitable[T]]) -> T:
        async def within() -> T:
            return await work(self._desk, self._authority)

        return self._loop.run_until_complete(within())

    @property
    def database(self) -> Any:
        return self._parts.database

    def shut(self) -> None:
        """Close the browsers, and leave the database."""
        self.close()
        self._loop.run_until_complete(self._parts.close())
        self._loop.close()


@dataclass
class Ward:
    """The running server, and what the tests do with it. back: a page of the booking's that there is."""

    house: Opened
    uri: str
    back: str

    @property
    def server(self) -> Live:
        return self.house.server

    def furnish(self) -> None:
        """Make the hospitals, their doctors and the clients."""
        for organization in HOSPITALS:
            self.server.put(*directory(organization), organization=organization)
        keys = {"keys": [public(KEYS["ES384"])]}
        for id in ("booking", "framed", "stranger"):
            more: Json = {"system_user": f"Device/{id}", "organization": "org1", "scopes": ("system/*.cruds",)}
            self.house.register(Client(id, "预约系统", Kind.BACKEND, jwks=keys, **more))

    def person(self, name: str = "王小明", number: str | None = None, organization: str = "org1", **more: Any) -> str:
        """Return the id of a new Patient."""
        id = f"p{secrets.token_hex(5)}"
        self.server.put(patient(id, name, number, **more), organization=organization)
        return id

    def born(self, years: int) -> str:
        """Return the birth date of somebody of this age."""
        return (self.server.clock() - timedelta(days=366 * years)).strftime("%Y-%m-%d")

    def guardian(self, years: int = 8, **more: Any) -> tuple[Account, str]:
        """Return the account of a new Patient's father, and the Patient's id. years: how old the child is."""
        child, id = self.person(birthDate=self.born(years), **more), f"r{secrets.token_hex(5)}"
        father = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "FTH"}]}
        said = {"patient": {"reference": f"Patient/{child}"}, "relationship": [father], "name": [{"text": "王大明"}]}
        self.server.put({"resourceType": "RelatedPerson", "id": id, **said})
        return self.house.account(Role.RELATED_PERSON, f"RelatedPerson/{id}", name="王大明"), child

    def account(self, patient: str, name: str = "王小明", **said: Any) -> Account:
        return self.house.account(Role.PATIENT, f"Patient/{patient}", name=name, **said)

    def signed_in(self, account: Account, path: str = "/my/authorizations") -> Browser:
        """Return the browser of somebody who is signed in to their pages, at one of them."""
        browser, token = self.house.browser(account), new_token()
        now = self.server.clock()
        row = {"_id": digest(token), "account": account.id, "at": int(now.timestamp()), "factors": [CODE, PASSWORD]}
        with MongoClient[dict[str, Any]](self.uri, tz_aware=True) as mongo:
            mongo[self.server.settings.database][SESSIONS].insert_one(
                marked(Vault(keyring_of(self.server.settings)), {**row, "until": now + timedelta(hours=1)})
            )
        browser.http.cookies.set(name_of(secure=False), token, domain="127.0.0.1", path="/")
        return browser.open(path)

    def doctor(self, organization: str = "org2", **claims: Any) -> httpx.Client:
        return self.server.client("practitioner", f"Practitioner/dr-{organization}", organization, **claims)

    def granted(self, patient: str, *, to: str = "org2", **elements: Any) -> str:
        """Return the id of a Consent that the patient has given themselves."""
        usual = permit(actor=[actor(f"Organization/{to}")], purpose=codings(ACT_REASON, "TREAT"))
        provision = elements.pop("provision", usual)
        said = consent(
            provision,
            patient={"reference": f"Patient/{patient}"},
            category=[{"text": "共享"}],
            **{"policyRule": concept(ACT_CODE, "OPTIN"), **elements},
        )
        with self.server.client("patient", f"Patient/{patient}", purpose="PATRQT") as own:
            answer = own.post("Consent", json=said)
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])

    def asked(self, patient: str, organization: str = "org1", **said: Any) -> str:
        """Return the id of the Consent by which a doctor has asked a patient by the page."""
        given = {"way": "app", "purpose": "TREAT", **said}
        parts = [{"name": name, "valueCode": value} for name, value in given.items()]
        body = {"resourceType": "Parameters", "parameter": [*parts, {"name": "expires", "valueDateTime": "2027-03-09"}]}
        with self.doctor(organization) as doctor:
            answer = doctor.post(f"Patient/{patient}/$request-authorization", json=body)
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])

    def booking(self, client: str | None = "booking", organization: str = "org1", **claims: Any) -> str:
        """Return a token of a booking system's own."""
        more = {"scope": "system/Patient.r system/Organization.r system/Consent.cru", **claims}
        if client:
            more["client_id"] = client
        return self.server.token(
            more.pop("role", "system"), more.pop("fhirUser", f"Device/{client}"), organization, **more
        )

    def prompt(self, id: str, token: str | None = None, **said: Any) -> httpx.Response:
        """Return the answer to a booking that asks for the page. id: of a Patient."""
        usual = {"patient": f"Patient/{id}", "expires": "2027-03-09", "return_url": BACK, "state": "s1"}
        body = {name: value for name, value in {**usual, **said}.items() if value is not None}
        headers = {"Authorization": f"Bearer {token or self.booking()}"}
        return httpx.post(f"{self.house.origin}/consent-prompt", json=body, headers=headers, timeout=60)

    def at_prompt(self, id: str, account: Account | None = None, **said: Any) -> Browser:
        """Return a browser that the booking has sent to the page."""
        answer = self.prompt(id, **said)
        assert answer.status_code == 201, answer.text
        return self.house.browser(account).open("/consent-prompt", request=answer.json()["request"])

    def code(self, number: str = PHONE, *, besides: str | None = None) -> str:
        """Return the code in the newest message to a number, once it is there: the server may be delivering it now.

        besides: the code of the message before.
        """
        until = time.monotonic() + 30
        while time.monotonic() < until:
            texts = [each.text for each in self.messages() if each.to == number]
            found = next((part for part in texts[0].split() if part.isdigit()), besides) if texts else besides
            if found and found != besides:
                return str(found)
            time.sleep(0.1)
        raise AssertionError("no message has come")

    def messages(self) -> list[Any]:
        """Return what was sent to patients, the newest first."""

        async def run() -> list[Any]:
            async with AsyncMongoClient[dict[str, Any]](self.uri, tz_aware=True) as mongo:
                box, database = Box(keyring_of(self.server.settings)), mongo[self.server.settings.database]
                stand_in = StandIn(database, box, self.server.clock)
                await Sending(Queue(database, box), stand_in, self.server.clock).once()
                return list(await stand_in.delivered())

        return asyncio.run(run())

    def events(self, organization: str = "org1", **query: str) -> list[Json]:
        """Return the AuditEvents that an institution's auditor finds, the newest first."""
        with self.server.client(
            "auditor", "Practitioner/auditor", organization, "HOPERAT", scope="user/*.rs"
        ) as auditor:
            answer = auditor.get("AuditEvent", params={"_sort": "-date", "_count": "100", **query})
            assert answer.status_code == 200, answer.text
            return [each["resource"] for each in answer.json().get("entry", ())]


@contextmanager
def opened(uri: str, folder: Path) -> Iterator[Ward]:
    """Run a server with both hospitals, and the site of a booking."""
    site = folder / "site"
    site.mkdir()
    (site / "back.html").write_text("<!doctype html><title>booking</title><p>booking</p>", "utf-8")
    with serving(site) as origin, fresh(uri) as name:
        back = f"{origin}/back.html"
        caller = {"client_id": "booking", "return_urls": (BACK, back)}
        more = {"message_stand_in": True, "reporting_clients": {"Device/report"}}
        with live(uri, folder, database=name, consent_prompt_clients=(caller, FRAMED), **more) as server:
            ward = Ward(Opened(server, uri), uri, back)
            ward.furnish()
            yield ward
            ward.house.shut()
