"""A hospital (org1) whose bridge receives what another one (org2) keeps, for visits of its patients."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
from pymongo.database import Database

from fhir_server.app import Parts, assemble, keyring_of
from tests.live import Live

T = TypeVar("T")
Json = dict[str, Any]
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
ENDED = "2026-06-10"  # the day on which visits end
DUE = datetime(2026, 7, 11, tzinfo=UTC)  # thirty days after that day
BRIDGE = "Device/bridge"
SAID = "极其罕见的诊断"  # by what a record can be told


@dataclass
class World:
    """A running server whose clock tests set, its database, and a patient with a visit to each test."""

    server: Live
    uri: str
    database: Database[Json]
    key: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def patient(self) -> str:
        return f"p{self.key}"

    @property
    def visit(self) -> str:
        return f"v{self.key}"

    def at(self, when: datetime) -> None:
        self.server.clock.now = when

    def begin(self, **period: str) -> World:
        """Store the patient and the visit. period: of the visit."""
        self.at(NOW)
        self.server.put({"resourceType": "Patient", "id": self.patient}, self.encounter(**(period or {"end": ENDED})))
        return self

    def encounter(self, **period: str) -> Json:
        return {
            "resourceType": "Encounter", "id": self.visit, "status": "finished", "class": {"code": "AMB"},
            "subject": {"reference": f"Patient/{self.patient}"}, "period": {"start": "2026-06-01", **period},
        }  # fmt: skip

    def bridge(self, user: str = BRIDGE, organization: str = "org1", **claims: Any) -> httpx.Client:
        return self.server.client("system", user, organization, **{"scope": "system/*.cruds", **claims})

    def doctor(self, organization: str = "org2") -> httpx.Client:
        """Return a doctor of the institution that the records come from, who sees its own, or of another."""
        return self.server.client("practitioner", f"Practitioner/dr-{organization}", organization)

    def observation(self, **more: Any) -> Json:
        of = {"reference": f"Patient/{self.patient}"}
        said = {"status": "final", "code": {"text": SAID}, "effectiveDateTime": "2026-05-01", "subject": of}
        return {"resourceType": "Observation", **said, **more}

    def bundle(self, *resources: Json, number: str = "1") -> Json:
        return {
            "resourceType": "Bundle", "type": "collection",
            "identifier": {"system": "urn:exchange", "value": f"{self.key}-{number}"},
            "entry": [{"fullUrl": f"urn:uuid:{place}", "resource": each} for place, each in enumerate(resources)],
        }  # fmt: skip

    def receive(self, *resources: Json, number: str = "1", source: str = "Organization/org2") -> Json:
        """Have the bridge receive resources; return what it is told, by name."""
        with self.bridge() as client:
            answer = self.sent(client, self.bundle(*(resources or (self.observation(),)), number=number), source=source)
        assert answer.status_code == 200, answer.text
        told: Json = {"stored": []}
        for each in answer.json()["parameter"]:
            if each["name"] == "stored":
                told["stored"].append(each["valueReference"]["reference"])
            else:
                told[each["name"]] = each.get("valueId") or each.get("valueInstant")
        return told

    def sent(self, client: httpx.Client, bundle: Any, **more: str) -> httpx.Response:
        asked = {"source": "Organization/org2", "encounter": f"Encounter/{self.visit}", **more}
        return client.post("$receive", params=asked, json=bundle)

    def run(self, work: Callable[[Parts], Awaitable[T]]) -> T:
        """Return what work returns with the parts of another process on the same store."""

        async def within() -> T:
            settings = self.server.settings
            parts = assemble(settings, keyring_of(settings), uri=self.uri, clock=self.server.clock)
            try:
                await parts.ready()
                return await work(parts)
            finally:
                await parts.close()

        return asyncio.run(within())

    def purge(self, when: datetime = DUE + timedelta(minutes=1)) -> list[str] | None:
        """Let a process purge what is due at an instant; return the ids of the deliveries."""
        self.at(when)

        async def work(parts: Parts) -> list[str] | None:
            done = await parts.purging.once()
            return None if done is None else [each.id for each in done]

        return self.run(work)

    def read(self, reference: str, organization: str = "org2") -> int:
        with self.doctor(organization) as client:
            return client.get(reference).status_code

    def events(self, subtype: str, organization: str = "org1") -> list[Json]:
        """Return the events of a kind about this visit's patient that an institution's auditors find."""
        with self.server.client("auditor", "Practitioner/auditor", organization) as client:
            found = client.get("AuditEvent", params={"subtype": subtype, "_count": "500"}).json()
        return [each["resource"] for each in found.get("entry", ()) if each["search"]["mode"] == "match"]
