"""The language of searches tells nothing of what is hidden: every way that leads over other resources stops there.

Institution h2's records are hidden from h1's doctor. Both servers have to answer alike, totals and refusals included:
the one that holds everything, and the one that holds what the doctor may see.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.noninterference.agreements import Json
from tests.noninterference.oracle import Oracle, User
from tests.noninterference.pair import REPORTING, Asked, Pair, visible
from tests.noninterference.world import NUMBERS, RESIDENT_ID, Step, World
from tests.noninterference.written import Records

DOCTOR = User("practitioner", "Practitioner/dr1", "h1", "TREAT", "user/*.cruds")


class Made:
    """One small world, its ids with a prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.steps: list[Step] = []

    def add(self, reference: str, organization: str, **elements: Any) -> None:
        type, _, name = reference.partition("/")
        resource = {"resourceType": type, "id": f"{self.prefix}-{name}", **elements}
        self.steps.append(Step(type, f"{self.prefix}-{name}", resource, organization))

    def to(self, reference: str) -> Json:
        type, _, name = reference.partition("/")
        return {"reference": f"{type}/{self.prefix}-{name}"}

    def patient(self, name: str, organization: str, family: str, **more: Any) -> None:
        self.add(f"Patient/{name}", organization, name=[{"family": family}], **more)

    def observation(self, name: str, organization: str, code: str, subject: str, **more: Any) -> None:
        coded = {"coding": [{"system": "s", "code": code}], "text": f"text {code}"}
        self.add(f"Observation/{name}", organization, status="final", code=coded, subject=self.to(subject), **more)

    def encounter(self, name: str, organization: str, subject: str) -> None:
        self.add(
            f"Encounter/{name}", organization, status="finished", subject=self.to(subject), **{"class": {"code": "A"}}
        )

    def listing(self, name: str, organization: str, *entries: str) -> None:
        listed = [{"item": self.to(each)} for each in entries]
        self.add(f"List/{name}", organization, status="current", mode="working", entry=listed)

    def world(self) -> World:
        places = [(step.type, step.id) for step in self.steps]
        return World([self.steps], [id for type, id in places if type == "Patient"], places)


def made(prefix: str) -> World:
    """Return the world: of each relation one that is seen and one that leads over something hidden."""
    it = Made(prefix)
    one_person = {"identifier": [{"system": RESIDENT_ID, "value": NUMBERS[0]}]}
    it.patient("p1", "h1", "Zhang", **one_person)
    it.patient("p2", "h1", "Wang")
    it.patient("p3", "h2", "Zhang", **one_person)  # hidden: the same person as p1
    it.patient("p4", "h2", "Wang", link=[{"other": it.to("Patient/p2"), "type": "seealso"}])  # hidden
    it.encounter("e1", "h1", "Patient/p1")
    it.encounter("e2", "h2", "Patient/p2")  # hidden
    it.observation("o1", "h1", "a", "Patient/p1", encounter=it.to("Encounter/e1"))
    it.observation("o2", "h1", "b", "Patient/p2", encounter=it.to("Encounter/e2"))
    it.observation("o3", "h1", "c", "Patient/p3")  # of a hidden Patient
    it.observation("o4", "h2", "x", "Patient/p1", hasMember=[it.to("Observation/o1")])  # hidden
    it.observation("o5", "h2", "x", "Patient/p2", focus=[it.to("Observation/o4")])  # hidden
    it.observation("o6", "h1", "d", "Patient/p2", hasMember=[it.to("Observation/o4"), it.to("Observation/o2")])
    it.listing("l1", "h1", "Patient/p1", "Patient/p3", "Observation/o4", "Observation/o6", "List/l2")
    it.listing("l2", "h2", "Patient/p1", "Patient/p2", "Observation/o1")  # hidden
    return it.world()


@pytest.fixture(scope="module")
def both(servers: Pair) -> tuple[Pair, str]:
    prefix = servers.fresh()
    world = made(prefix)
    servers.store_a.write(world)
    servers.store_b.hold(visible(Oracle(Records.of(world), DOCTOR, reporting=REPORTING)))
    return servers, prefix


def asked_of_both(both: tuple[Pair, str], query: str) -> Json:
    """Return the answer to a query, in which ~ stands for the prefix of the ids, after comparing every page of it."""
    servers, prefix = both
    path = query.replace("~", f"{prefix}-")
    first: Json | None = None
    for gated, reference in servers.follow(servers.token(DOCTOR), Asked("GET", path)):
        assert gated.differs_from(reference) is None
        first = first or {"status": gated.status, **json.loads(gated.body)}
    assert first
    return first


def found(answer: Json) -> list[str]:
    assert answer["status"] == 200, answer
    return sorted(each["resource"]["id"].partition("-")[2] for each in answer.get("entry", ()))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # hidden at the end, in the middle and at the beginning of a chain
        ("Observation?patient.family=Zhang", ["o1"]),
        ("Observation?patient.family=Wang", ["o2", "o6"]),
        ("Observation?encounter._id=~e1,~e2", ["o1"]),
        ("Observation?encounter.patient.family=Wang", []),
        ("Observation?encounter.patient.family=Zhang", ["o1"]),
        ("Observation?has-member.code=x", []),
        ("Observation?has-member.has-member.code=a", []),
        ("Observation?has-member.encounter:missing=false", ["o6"]),
        ("Observation?has-member._id=~o4", []),
        ("Observation?has-member._id:not=~o2", []),
        ("Observation?patient.link.family=Wang", []),
        ("Observation?patient.gender:missing=true", ["o1", "o2", "o6"]),
        ("Observation?patient.family:contains=an", ["o1", "o2", "o6"]),
        # hidden as the source of _has, within it, behind it
        ("Patient?_has:Observation:patient:code=x", []),
        ("Patient?_has:Observation:patient:code=a,x", ["p1"]),
        ("Patient?_has:Observation:patient:code:not=a", ["p2"]),
        ("Patient?_has:Observation:patient:code:text=text", ["p1", "p2"]),
        ("Patient?_has:Observation:patient:code=c", []),
        ("Patient?_has:Patient:link:family=Wang", []),
        ("Patient?_has:Encounter:patient:status=finished", ["p1"]),
        ("Patient?_has:Observation:patient:encounter.status=finished", ["p1"]),
        ("Patient?_has:Observation:patient:_has:Observation:has-member:code=x", []),
        ("Patient?_has:Observation:patient:_has:Observation:has-member:code=d", ["p2"]),
        ("Observation?_has:Observation:has-member:_has:Observation:focus:code=x", []),
        ("Encounter?_has:Observation:encounter:code=b", []),
        ("Observation?patient._has:Observation:patient:code=x", []),
        ("Observation?patient._has:Encounter:patient:_id=~e1", ["o1"]),
        # a hidden List, hidden entries, a hidden List in a List
        ("Patient?_list=~l1", ["p1"]),
        ("Patient?_list=~l2", []),
        ("Patient?_list=~none", []),
        ("Observation?_list=~l1", ["o6"]),
        ("Observation?patient._list=~l1", ["o1"]),
        ("Observation?patient._list=~l2", []),
        ("List?_list=~l1", []),
        ("Patient?_has:List:item:_id=~l1,~l2", ["p1"]),
        # what a Patient is linked to
        ("Observation?patient=~p1", ["o1"]),
        ("Observation?patient=~p3", ["o3"]),
        ("Observation?_has:Observation:has-member:patient=~p3", []),
        # the same in _filter
        ("Observation?_filter=patient.family eq zhang", ["o1"]),
        ("Observation?_filter=encounter.patient.family eq wang", []),
        ("Observation?_filter=has-member[code eq x].code pr true", []),
        ("Observation?_filter=encounter.status pr false", ["o2", "o3", "o6"]),
        ("Observation?_filter=not (has-member.code eq x)", ["o1", "o2", "o3", "o6"]),
        ("Observation?_filter=patient.family ne wang", ["o1"]),
    ],
)
def test_nothing_leads_over_what_is_hidden(both: tuple[Pair, str], query: str, expected: list[str]) -> None:
    answer = asked_of_both(both, f"{query}&_count=2&_total=accurate")
    assert answer["total"] == len(expected)
    assert found(asked_of_both(both, query + "&_count=100")) == expected
    counted = asked_of_both(both, query + "&_summary=count")
    assert (counted["total"], found(counted)) == (len(expected), [])


@pytest.mark.parametrize(
    ("query", "status"),
    [
        # With what is hidden there would be two or more, and one is the most.
        ("Observation?patient.family=Zhang", 200),
        ("Observation?encounter.status=finished", 200),
        ("Observation?has-member.code=b,x", 200),
        ("Patient?_has:Observation:patient:code=a,x", 200),
        ("Patient?_has:Observation:patient:code:text=text d", 200),
        ("Patient?_has:Encounter:patient:status=finished", 200),
        ("Patient?_list=~l2", 200),
        ("Observation?code=a,x&patient.family=Zhang,Wang", 200),
        ("Observation?code=a,b&patient.family=Zhang,Wang", 400),
        ("Patient?family=Wang&_has:Observation:patient:code=a,b", 200),
        ("Patient?_has:Observation:patient:code=a,b", 400),
        ("Observation?patient.family=Zhang,Wang", 400),
        ("Patient?_list=~l1", 400),
        # Two that are too costly: the same one is told of.
        ("Observation?patient.family=Zhang,Wang&patient.gender:missing=true", 400),
        ("Observation?patient._has:Observation:patient:code=a,b&patient.family=Zhang,Wang", 400),
    ],
)
def test_what_is_too_costly_does_not_depend_on_what_is_hidden(
    both: tuple[Pair, str], monkeypatch: pytest.MonkeyPatch, query: str, status: int
) -> None:
    monkeypatch.setattr("fhir_server.interactions.searching.resolving.MOST_CHAINED", 1)
    assert asked_of_both(both, query)["status"] == status


def test_what_is_opened_is_counted_among_what_is_seen(both: tuple[Pair, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_server.interactions.searching.wanted.MOST_OPENED", 4)
    assert found(asked_of_both(both, "Observation?code:text=text&_count=100")) == ["o1", "o2", "o3", "o6"]
    monkeypatch.setattr("fhir_server.interactions.searching.wanted.MOST_OPENED", 3)
    assert asked_of_both(both, "Observation?code:text=text")["status"] == 400
