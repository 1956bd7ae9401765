"""The fixture of the consent scenarios, made anew for each row, and every door through which its records can be asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import httpx

from tests.consent_engine.build import (
    ACT_CODE,
    ACT_REASON,
    HIV,
    LOINC,
    PSY,
    N,
    R,
    actor,
    codings,
    concept,
    labels,
    permit,
)
from tests.consent_engine.build import consent as consent_of
from tests.live import Live

Json = dict[str, Any]
ORG1 = "Organization/Org1"
GLUCOSE, VIRAL_LOAD, SODIUM, WEIGHT, HEART_RATE = "2339-0", "20447-9", "2951-2", "29463-7", "8867-4"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

TYPES = {
    **dict.fromkeys(("P1", "P2", "P3"), "Patient"),
    **dict.fromkeys(("O1", "O2", "O3", "O7", "O9"), "Observation"),
    **dict.fromkeys(("C1", "C2"), "Condition"),
    **{"E1": "Encounter", "M1": "MedicationRequest", "X1": "Composition", "D1": "DocumentReference"},
    "A1": "Appointment",
}
OF_P1 = frozenset({"P1", "O1", "O2", "O3", "C1", "C2", "E1", "M1", "X1", "D1"})


def org1(**more: Any) -> Json:
    """The root provision of Permit-P1, with more elements or other ones."""
    return permit(**{"actor": [actor(ORG1)], "purpose": codings(ACT_REASON, "TREAT"), **more})


@dataclass
class World:
    """The patients P1 to P3 of one row with their records; the ids carry the row's key."""

    live: Live
    key: str

    def id(self, name: str) -> str:
        return f"{name}-{self.key}"

    def ref(self, name: str) -> str:
        return f"{TYPES[name]}/{self.id(name)}"

    def store(self) -> World:
        """Store all records as Org1's system."""
        entries = [
            {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
            for each in self.records
        ]
        with self.live.system("Org1") as client:
            answer = client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
        assert answer.status_code == 200, answer.text
        return self

    @cached_property
    def records(self) -> list[Json]:
        p1, p2 = self._to("P1"), self._to("P2")
        dr1, dr2 = {"reference": "Practitioner/Dr1"}, {"reference": "Practitioner/Dr2"}
        return [
            self._record("P1", [], name=[{"family": f"Zhang{self.key}"}], birthDate="1980-01-01"),
            self._record("P2", [], name=[{"family": "Li"}]),
            self._record("P3", [], name=[{"family": "Wang"}], birthDate="2010-01-01"),
            self._observation("O1", [N], GLUCOSE, "2026-05-01", p1, performer=[dr1], valueString="5.1"),
            self._observation(
                "O2", [R, HIV], VIRAL_LOAD, "2026-04-01", p1, encounter=self._to("E1"), **_quantity(250),
                text={"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">viral load</div>'},
            ),
            self._observation("O3", [N], SODIUM, "2020-03-01", p1),
            self._observation("O7", [N], WEIGHT, "2026-05-01", self._to("P3")),
            self._observation("O9", [N], HEART_RATE, "2026-05-01", p2, focus=[p1]),
            self._record("C1", [R, PSY], subject=p1, code=concept("http://snomed.info/sct", "35489007")),
            self._record("C2", [N], subject=p1, code=concept("http://snomed.info/sct", "195967001")),
            self._record(
                "E1", [N], status="finished", subject=p1, period={"start": "2026-04-01", "end": "2026-04-02"},
                **{"class": _class("AMB")}
            ),
            self._record(
                "M1", [N], status="active", intent="order", subject=p1, requester=dr2,
                medicationCodeableConcept={"text": "aspirin"}, authoredOn="2026-05-02",
            ),
            self._record(
                "X1", [N], status="final", type={"text": "summary"}, subject=p1, date="2026-05-03", author=[dr1],
                title="summary", section=[{"title": "labs", "entry": [self._to("O1")]}],
            ),
            self._record(
                "D1", [N], status="current", subject=p1, date="2026-05-03T00:00:00Z",
                content=[{"attachment": {"contentType": "text/plain", "title": "letter"}}],
            ),
            self._record(
                "A1", [N], status="booked", start="2026-07-01T08:00:00Z", end="2026-07-01T09:00:00Z",
                participant=[{"actor": p1, "status": "accepted"}, {"actor": p2, "status": "accepted"}],
            ),
        ]  # fmt: skip

    def _to(self, name: str) -> Json:
        return {"reference": self.ref(name)}

    def _record(self, of: str, security: list[tuple[str, str]], **elements: Any) -> Json:
        meta = {"meta": {"security": labels(*security)}} if security else {}
        return {"resourceType": TYPES[of], "id": self.id(of), **meta, **elements}

    def _observation(self, name: str, security: list[Any], code: str, day: str, subject: Json, **more: Any) -> Json:
        return self._record(
            name, security, status="final", code=concept(LOINC, code), effectiveDateTime=day, subject=subject, **more
        )

    def record(self, name: str) -> Json:
        """Return a record as it was stored."""
        return next(each for each in self.records if each["id"] == self.id(name))

    def consent(self, provision: Json | None = None, *, patient: str = "P1", **elements: Any) -> Json:
        """Return a Consent of a patient with this root provision, by default that of Permit-P1."""
        made = consent_of(org1() if provision is None else provision, **elements)
        return {"category": [{"text": "disclosure"}], "patient": self._to(patient), "dateTime": "2026-01-01", **made}

    def given(self, *consents: Json, patient: str = "P1") -> list[Json]:
        """Store Consents by the patient's own hand; return them as stored."""
        stored = []
        with self.patient(patient) as client:
            for each in consents:
                answer = client.post("Consent", json=each)
                assert answer.status_code == 201, answer.text
                stored.append(answer.json())
        return stored

    def change(self, consent: Json, patient: str = "P1", **elements: Any) -> Json:
        """Store the next version of a Consent by the patient's own hand; return it as stored."""
        with self.patient(patient) as client:
            answer = client.put(f"Consent/{consent['id']}", json={**consent, **elements})
            assert answer.status_code == 200, answer.text
            return dict(answer.json())

    def patient(self, name: str = "P1") -> httpx.Client:
        return self.live.client("patient", self.ref(name), "Org1")

    def doctor(self, name: str = "Dr1", purpose: str = "TREAT", **claims: Any) -> httpx.Client:
        return self.live.client(
            "practitioner", f"Practitioner/{name}", "Org2" if name == "Dr3" else "Org1", purpose, **claims
        )

    def seen(self, by: str = "Dr1", purpose: str = "TREAT", **claims: Any) -> set[str]:
        """Return which records a doctor sees; asked through every door, and all doors must give the same."""
        with self.doctor(by, purpose, **claims) as client:
            through = {door.__name__: set(door(self, client)) for door in DOORS}
        first = through[DOORS[0].__name__]
        assert all(found == first for found in through.values()), through
        return first


def _quantity(value: float) -> Json:
    return {
        "valueQuantity": {"value": value, "unit": "copies/mL", "system": "http://unitsofmeasure.org", "code": "/mL"}
    }


def _class(code: str) -> Json:
    return {"system": ACT_CODE, "code": code}


def absent(client: httpx.Client, path: str) -> bool:
    """Return whether the answer is that of an id that never existed: same status, body and headers."""
    answer = client.get(path)
    if answer.status_code != 404:
        assert answer.status_code == 200, answer.text
        return False
    assert (answer.content, _told(answer)) == _never(client)
    return True


@lru_cache(maxsize=4)
def _never(client: httpx.Client) -> tuple[bytes, dict[str, str]]:
    answer = client.get("Observation/never-existed")
    assert answer.status_code == 404
    return answer.content, _told(answer)


def _told(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name != "date"}


def by_read(world: World, client: httpx.Client) -> Iterator[str]:
    yield from (name for name in TYPES if not absent(client, world.ref(name)))


def by_vread(world: World, client: httpx.Client) -> Iterator[str]:
    yield from (name for name in TYPES if not absent(client, f"{world.ref(name)}/_history/1"))


def by_history(world: World, client: httpx.Client) -> Iterator[str]:
    yield from (name for name in TYPES if not absent(client, f"{world.ref(name)}/_history"))


def by_search(world: World, client: httpx.Client) -> Iterator[str]:
    for type, names in _by_type():
        asked = {"_id": ",".join(map(world.id, names))}
        found = _listed(world, client.get(type, params=asked), names)
        assert client.get(type, params={**asked, "_summary": "count"}).json()["total"] == len(found)
        yield from found


def by_posted_search(world: World, client: httpx.Client) -> Iterator[str]:
    for type, names in _by_type():
        data = {"_id": ",".join(map(world.id, names)), "_sort": "-_lastUpdated"}
        yield from _listed(world, client.post(f"{type}/_search", data=data, headers=FORM), names)


def by_batch(world: World, client: httpx.Client) -> Iterator[str]:
    entries = [{"request": {"method": "GET", "url": world.ref(name)}} for name in TYPES]
    answer = client.post("", json={"resourceType": "Bundle", "type": "batch", "entry": entries})
    assert answer.status_code == 200
    for name, entry in zip(TYPES, answer.json()["entry"], strict=True):
        if entry["response"]["status"] == "200":
            assert entry["resource"]["id"] == world.id(name)
            yield name
        else:
            assert entry == {"response": {"status": "404", "outcome": json.loads(_never(client)[0])}}


def by_system_search(world: World, client: httpx.Client) -> Iterator[str]:
    asked = {"_type": ",".join(dict.fromkeys(TYPES.values())), "_id": ",".join(map(world.id, TYPES)), "_count": "100"}
    yield from _listed(world, client.get("", params=asked), TYPES)


def by_meta(world: World, client: httpx.Client) -> Iterator[str]:
    yield from (name for name in TYPES if not absent(client, f"{world.ref(name)}/$meta"))


def by_filter(world: World, client: httpx.Client) -> Iterator[str]:
    for type, names in _by_type():
        asked = " or ".join(f"_id eq {world.id(name)}" for name in names)
        yield from _listed(world, client.get(type, params={"_filter": asked, "_elements": "id"}), names)


DOORS = (
    by_read,
    by_vread,
    by_history,
    by_search,
    by_posted_search,
    by_batch,
    by_system_search,
    by_meta,
    by_filter,
)


def _by_type() -> Iterator[tuple[str, list[str]]]:
    for type in dict.fromkeys(TYPES.values()):
        yield type, [name for name, of in TYPES.items() if of == type]


def _listed(world: World, answer: httpx.Response, names: Iterable[str]) -> list[str]:
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    found = ids(bundle)
    assert bundle["total"] == len(found)
    return [name for name in names if world.id(name) in found]


def ids(bundle: Json) -> list[str]:
    """Return the ids of the resources in a Bundle."""
    return [entry["resource"]["id"] for entry in bundle.get("entry", ())]


@contextmanager
def at(live: Live, instant: Any) -> Iterator[None]:
    """Set the server's clock for a while."""
    before, live.clock.now = live.clock.now, instant
    try:
        yield
    finally:
        live.clock.now = before
