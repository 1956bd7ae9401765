"""The results of searches, one by one: a store with hidden resources answers, byte for byte, as one without them.

Both servers are gated alike; the one holds beside the visible resources what another institution keeps and what a patient
has denied: in front of, between and behind what is visible, in every order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.consent_engine.build import HIV, coding
from tests.noninterference.test_found import denial
from tests.noninterference.two import Two, serving
from tests.noninterference.world import BASE

Json = dict[str, Any]


def to(reference: str) -> Json:
    return {"reference": reference}


def person(id: str, family: str, **more: Any) -> Json:
    return {"resourceType": "Patient", "id": id, "name": [{"family": family}], **more}


def observed(id: str, of: str, **more: Any) -> Json:
    return {
        "resourceType": "Observation", "id": id, "status": "final", "code": {"text": id},
        "subject": to(f"Patient/{of}"), **more,
    }  # fmt: skip


def ordered(id: str, of: str, code: str) -> Json:
    medicine = {"resourceType": "Medication", "id": "m", "code": {"text": code, "coding": [{"code": code}]}}
    return {
        "resourceType": "MedicationRequest", "id": id, "status": "active", "intent": "order", "contained": [medicine],
        "subject": to(f"Patient/{of}"), "medicationReference": to("#m"),
    }  # fmt: skip


def visit(id: str, of: str) -> Json:
    return {
        "resourceType": "Encounter", "id": id, "status": "finished", "class": {"code": "A"}, "subject": to(f"Patient/{of}")
    }  # fmt: skip


DENIAL = {**denial("deny", "b", securityLabel=[coding(*HIV)])}
LABELLED = {"meta": {"security": [coding(*HIV)]}}
VISIBLE = [
    person("b", "Li", birthDate="1980", link=[{"other": to("Patient/a"), "type": "seealso"}]),
    person("d", "Wang"),
    visit("e2", "b"),
    observed("o2", "b", effectiveDateTime="2024-02", encounter=to("Encounter/e2"), valueQuantity={"value": 5}),
    observed("o4", "b", effectiveDateTime="2024-04", encounter=to("Encounter/e1")),
    observed("o6", "d", valueQuantity={"value": 7}, hasMember=[to("Observation/o5"), to("Observation/o2")]),
    ordered("m2", "b", "aspirin"),
    DENIAL,
]
ELSEWHERE = [
    person("a", "An", birthDate="1970", link=[{"other": to("Patient/b"), "type": "seealso"}]),
    person("c", "Liu", birthDate="1980"),
    person("e", "Zhang"),
    visit("e1", "b"),
    observed("o1", "b", effectiveDateTime="2024-01", encounter=to("Encounter/e2")),
    observed("o3", "c", effectiveDateTime="2024-03", encounter=to("Encounter/e2"), valueQuantity={"value": 6}),
    ordered("m1", "b", "aspirin"),
    {"resourceType": "Condition", "id": "c1", "subject": to("Patient/b"), "encounter": to("Encounter/e2")},
]
DENIED = [
    observed("o5", "b", effectiveDateTime="2024-05", encounter=to("Encounter/e2"), **LABELLED),
    observed("o7", "b", hasMember=[to("Observation/o2")], valueQuantity={"value": 5}, **LABELLED),
]

PATHS = [
    *(f"{type}?_sort={sort}" for type in ("Observation", "Patient") for sort in ("_id", "-_id", "-_lastUpdated,-_id")),
    *(
        f"Observation?_sort={sort}"
        for sort in ("date", "-date", "value-quantity,-date", "code", "-code,_id", "subject,date")
    ),
    *(f"Patient?_sort={sort}" for sort in ("family", "-family", "birthdate,family", "-birthdate,_id")),
    *(f"Observation?_total={total}" for total in ("none", "estimate", "accurate")),
    "Observation?_include=Observation:encounter&_include=Observation:subject",
    "Observation?_include=*&_include:iterate=*",
    "Patient?_include=Patient:link&_include:iterate=Patient:link",
    "Patient?_revinclude=Observation:subject",
    "Patient?_revinclude=*&_revinclude:iterate=*",
    "Encounter?_revinclude=Observation:encounter&_revinclude:iterate=Observation:has-member",
    "Encounter?_revinclude=Condition:*&_include:iterate=*",
    "Observation?_include=Observation:has-member&_revinclude=Observation:has-member",
    *(f"Patient?_summary={form}&_revinclude=Observation:subject" for form in ("true", "data", "count", "false")),
    "Observation?_elements=code,Patient.name&_include=Observation:subject",
    "?_type=Observation,Patient,Encounter",
    "?_type=Observation,Encounter&_sort=-date",
    "?_type=Observation,Condition&patient=Patient/b",
    "?_id=a,b,c,o1,o2,o5,e1,e2",
    "?_type=Patient,Observation&_include=Observation:encounter&_summary=count",
    *(f"Patient/{id}/{type}" for id in "abcx" for type in ("*", "Observation", "Patient", "Condition")),
    "Patient/b/Observation?_sort=-date&_revinclude=Observation:has-member",
    "Encounter/e1/*",
    "Encounter/e2/Observation",
    *(f"Medication?code=aspirin&_contained={which}&_containedType=contained" for which in ("true", "both")),
    "Medication?_contained=true",
    "Medication?_contained=true&_summary=count",
    "Observation?date=lt2030&_summary=count",
    "Observation?value-quantity=gt1&_sort=date",
    "Observation?encounter:missing=true&_sort=value-quantity",
    "Observation?patient.birthdate=1980",
    "Patient?_has:Observation:subject:date=lt2030",
]


@pytest.fixture(scope="module")
def two(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    everything = {"org1": [*DENIED[:1], *VISIBLE, *DENIED[1:]], "org2": ELSEWHERE}
    # Less than what is hidden and visible together, so that an estimate that looked at both would refuse.
    settings = {"page_size": 2, "most_examined": 6}
    with serving(mongo_uri, tmp_path_factory.mktemp("two"), everything, VISIBLE, **settings) as found:
        yield found


@pytest.mark.parametrize("path", PATHS)
def test_what_is_hidden_changes_nothing(two: Two, path: str) -> None:
    for page in range(20):
        (gated, mine), (reference, theirs) = two.answers(path)
        assert gated.status_code == reference.status_code == 200, gated.text
        assert mine == theirs, f"page {page}"
        links = [{each["relation"]: each["url"] for each in answer.json()["link"]} for answer in (gated, reference)]
        if "next" not in links[0]:
            return
        # Each server goes on with its own link, and must understand the other's.
        path = links[page % 2]["next"].removeprefix(f"{BASE}/").removeprefix(BASE)
    pytest.fail("the pages do not end")


def test_there_is_something_to_hide(two: Two) -> None:
    system = two.whole.token("system", "Device/org2", "org2", scope="system/*.cruds")
    for id in ("o1", "o3"):
        assert two.clients[0].get(f"Observation/{id}").status_code == 404
        assert two.clients[0].get(f"Observation/{id}", headers={"Authorization": f"Bearer {system}"}).status_code == 200
    assert [two.clients[0].get(f"Observation/{id}").status_code for id in ("o2", "o5", "o7")] == [200, 404, 404]
