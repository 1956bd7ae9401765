"""The documents of the demo patient: a discharge summary at hospital-a, a letter at hospital-b."""

from __future__ import annotations

from base64 import b64encode

from fhir_server.demo.coding import LOINC, Json, coded, reference
from fhir_server.demo.people import Registered

LETTER = "患者因2型糖尿病、原发性高血压在我院内分泌科随访，血糖控制一般，建议继续监测并调整饮食。"


def summary(of: Registered, parts: list[Json]) -> Json:
    """Return a discharge summary whose sections refer to the conditions and prescriptions among `parts`.

    Labelled resources are left out: a document that named them would have to carry their labels itself.
    """
    plain = [part for part in parts if "meta" not in part]
    doctor = of.at.doctor("endocrinology")
    return {
        "resourceType": "Composition",
        "id": of.key("summary"),
        "status": "final",
        "type": coded(LOINC, "18842-5", "出院小结"),
        "subject": of.subject(),
        "date": "2026-05-31T16:00:00+08:00",
        "author": [reference("Practitioner", doctor.id, doctor.name)],
        "title": "出院小结",
        "custodian": reference("Organization", of.at.id, of.at.name),
        "section": [
            _section("出院诊断", "11535-2", [part for part in plain if part["resourceType"] == "Condition"]),
            _section("出院带药", "10183-2", [part for part in plain if part["resourceType"] == "MedicationRequest"]),
        ],
    }


def _section(title: str, loinc: str, parts: list[Json]) -> Json:
    entries = [reference(part["resourceType"], part["id"]) for part in parts]
    return {"title": title, "code": coded(LOINC, loinc, title), "entry": entries}


def letter(of: Registered) -> Json:
    """Return a referral letter with its text inside."""
    doctor = of.at.doctor("endocrinology")
    return {
        "resourceType": "DocumentReference",
        "id": of.key("letter"),
        "status": "current",
        "docStatus": "final",
        "type": coded(LOINC, "57133-1", "转诊信"),
        "subject": of.subject(),
        "date": "2026-04-20T15:30:00+08:00",
        "author": [reference("Practitioner", doctor.id, doctor.name)],
        "custodian": reference("Organization", of.at.id, of.at.name),
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain; charset=utf-8",
                    "language": "zh-CN",
                    "data": b64encode(LETTER.encode()).decode(),
                    "title": "转诊信",
                    "creation": "2026-04-20T15:30:00+08:00",
                }
            }
        ],
    }
