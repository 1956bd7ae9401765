"""Whose a record is can be withheld as well: who the subject is, and by which number a person is known elsewhere.

Server A holds the whole records, with Consents by which that is withheld from Dr1. Server B holds what Dr1 is shown.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.redaction.both import Both, asking, said, serving, without
from tests.redaction.world import MASK, PHONE, Json, obliged, observation, patient, to

NUMBER = "11010519491231002X"
RECORDS = "_type=Patient,Observation,Condition,DocumentReference"
WITHHELD = ("Patient.identifier", "Patient.telecom", "Observation.subject", "Condition.subject")


def known(id: str) -> Json:
    return patient(id, identifier=[{"system": "urn:oid:2.16.156.10011.1.3", "value": NUMBER}])


def condition(id: str, of: str, **elements: object) -> Json:
    return {"resourceType": "Condition", "id": id, "subject": to(f"Patient/{of}"), "code": {"text": "x"}, **elements}


def document(id: str, of: str, **elements: object) -> Json:
    return {
        "resourceType": "DocumentReference", "id": id, "status": "current", "subject": to(f"Patient/{of}"),
        "content": [{"attachment": {"contentType": "text/plain", "title": "letter"}}], **elements,
    }  # fmt: skip


def held(id: str) -> Json:
    """Return a Patient as it stands within another resource."""
    return {"resourceType": "Patient", "id": id, "telecom": [{"system": "phone", "value": PHONE}], "gender": "male"}


@pytest.fixture(scope="module")
def both(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """p and p2 are one person's Patients of two institutions; q is somebody else's."""
    own = [
        known("p"),
        patient("q"),
        observation("po", "p"),
        observation("qo", "q"),
        condition("pc", "p"),
        document("pd", "p", contained=[held("in")], author=[to("#in")]),
        document("pe", "p", context={"related": [to("Observation/po")]}),
        document("qd", "q", contained=[held("in")], author=[to("#in")]),
    ]
    others = [known("p2"), document("p2d", "p2")]
    shown: list[Json] = []
    for each in own:
        if each["id"] == "p":
            each = {**without(each, "text"), "identifier": [MASK], "telecom": [MASK]}
        elif each["id"] in ("po", "pc"):
            each = {**each, "subject": MASK}
        elif each["id"] == "pd":
            each = {**each, "contained": [{**each["contained"][0], "identifier": [MASK], "telecom": [MASK]}]}
        shown.append(each)
    with serving(mongo_uri, tmp_path_factory) as (a, b):
        a.put(*own, obliged("k", "p", *WITHHELD))
        a.put(*others, obliged("k2", "p2", *WITHHELD), organization="org2")
        b.put(*shown, obliged("k", "p"))
        left = {**without(known("p2"), "text"), "identifier": [MASK], "telecom": [MASK]}
        b.put(left, others[1], obliged("k2", "p2"), organization="org2")
        with asking(a, b) as clients:
            yield clients


ASKED = [
    "Patient",
    f"Patient?identifier={NUMBER}",
    "Patient?identifier:missing=true",
    "DocumentReference?patient=p",
    "DocumentReference?subject=Patient/p",
    "DocumentReference?patient=p2",
    "DocumentReference?patient:Patient._id=p",
    "DocumentReference?patient:not=Patient/p",
    "DocumentReference?_filter=patient eq p",
    "DocumentReference?_has:AuditEvent:entity:_id=x",
    "Patient/p/DocumentReference",
    f"Patient/p/*?{RECORDS}",
    f"Patient/p2/*?{RECORDS}",
    f"Patient/p/$everything?{RECORDS}",
    f"Patient/p2/$everything?{RECORDS}",
    f"Patient/p/$everything?{RECORDS}&start=2025",
    "Patient/p/$everything?_type=DocumentReference,Observation",
    "Patient/p/Patient",
    "Patient?_id=p&_revinclude=DocumentReference:patient",
    *(f"Patient?_id=p&_revinclude={type}:*" for type in RECORDS.removeprefix("_type=").split(",")),
    "Patient?_has:DocumentReference:patient:_id=p2d",
    "Observation",
    "Observation?patient=p",
    "Observation?subject=Patient/p",
    "Observation?subject:missing=true",
    "Observation?subject:Patient.gender=female",
    "Observation?patient.family=Zhang",
    "Observation?_sort=subject",
    "Observation?_include=Observation:subject",
    "Observation?_include=*",
    "Observation/$lastn?patient=p",
    "Observation/$lastn?subject=Patient/q",
    "Patient/p/Observation",
    "Patient/p/Condition",
    "Patient?_id=p&_revinclude=Observation:subject",
    "Patient?_has:Observation:patient:_id=po",
    "Patient?_has:Observation:subject:code=1-8",
    "Condition?patient=p",
    "Condition?_id=pc&_include=Condition:patient",
    "Condition/pc/$everything",
    f"Patient?phone={PHONE}&_contained=true",
    f"Patient?phone={PHONE}&_contained=true&_containedType=contained",
    f"Patient?phone={PHONE}&_contained=both",
    f"DocumentReference?author:Patient.phone={PHONE}",
    f"DocumentReference?author.telecom={PHONE}",
    f"DocumentReference?_content={PHONE}",
    "DocumentReference?author:Patient.gender=male",
    "?_type=Patient,Observation,DocumentReference&_sort=_id",
]


@pytest.mark.parametrize("path", ASKED)
def test_whose_a_record_is_is_told_by_nothing_where_it_is_withheld(both: Both, path: str) -> None:
    assert said(both.a.get(path)) == said(both.b.get(path))
