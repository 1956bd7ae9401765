"""What happens to a patient: visits over five years with their conditions, measurements, reports and prescriptions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from fhir_server.demo.coding import ATC, ICD10, LOINC, UCUM, Json, coded, concept, hl7, reference
from fhir_server.demo.institutions import Doctor
from fhir_server.demo.medicine import CD4, CHILD_WEIGHT, ILLNESSES, LABS, PRESSURE, RAISED, VITALS, Illness, Measured
from fhir_server.demo.people import Registered

FIRST_DAY, LAST_DAY = date(2021, 3, 1), date(2026, 5, 31)
VISITS = 7


@dataclass(frozen=True, slots=True)
class Visit:
    """One visit: when, to whom, for which illness."""

    of: Registered
    number: int
    day: date
    illness: Illness
    doctor: Doctor
    child: bool
    inpatient: bool

    def key(self, what: str) -> str:
        return f"{self.of.key(what)}-{self.number}"

    def at(self, clock: str) -> str:
        return f"{self.day.isoformat()}T{clock}:00+08:00"

    def head(self, type: str, id: str) -> Json:
        """Return the first members of a resource: type, id and the labels of what the visit is about."""
        labels = [dict(label) for label in self.illness.labels]
        return {"resourceType": type, "id": id, **({"meta": {"security": labels}} if labels else {})}

    def encounter(self) -> Json:
        return reference("Encounter", self.key("enc"))


def record(of: Registered) -> Iterator[Json]:
    """Yield everything that the hospital recorded of a patient, the Patient itself apart; the same on every call."""
    chance = Random(f"{of.id} {of.number}")
    visits = list(_visits(of, chance))
    seen: set[str] = set()
    for visit in visits:
        yield _encounter(visit)
        if visit.illness.icd10 not in seen:
            seen.add(visit.illness.icd10)
            yield _condition(visit)
        results = list(_observations(visit, chance))
        yield from results
        yield _report(
            visit, [result for result in results if result["category"][0]["coding"][0]["code"] == "laboratory"]
        )
        yield from _prescriptions(visit)
    yield from _immunizations(of, visits)
    if of.number % 3 == 1:
        yield _allergy(of, visits[0])


def _visits(of: Registered, chance: Random) -> Iterator[Visit]:
    ill = [ILLNESSES[key] for key in of.person.illnesses]
    born = date.fromisoformat(of.person.born)
    span = (LAST_DAY - FIRST_DAY).days // VISITS
    for number in range(1, VISITS + 1):
        day = max(FIRST_DAY, born) + timedelta(days=span * (number - 1) + chance.randrange(span))
        illness = ill[(number - 1) % len(ill)]
        child = (day - born).days < 14 * 365
        doctor = of.at.doctor("paediatrics" if child else illness.department)
        yield Visit(of, number, day, illness, doctor, child=child, inpatient=number == 3 and illness.lasting)


def _encounter(visit: Visit) -> Json:
    left = visit.day + timedelta(days=6) if visit.inpatient else visit.day
    setting = (
        hl7("v3-ActCode", "IMP", "inpatient encounter") if visit.inpatient else hl7("v3-ActCode", "AMB", "ambulatory")
    )
    return {
        **visit.head("Encounter", visit.key("enc")),
        "status": "finished",
        "class": setting,
        "subject": visit.of.subject(),
        "participant": [{"individual": _by(visit)}],
        "period": {"start": visit.at("09:00"), "end": f"{left.isoformat()}T11:30:00+08:00"},
        "reasonCode": [coded(ICD10, visit.illness.icd10, visit.illness.name)],
        "serviceProvider": reference("Organization", f"{visit.of.at.id}-{visit.doctor.department}"),
    }


def _by(visit: Visit) -> Json:
    return reference("Practitioner", visit.doctor.id, visit.doctor.name)


def _condition(visit: Visit) -> Json:
    lasting = visit.illness.lasting
    return {
        **visit.head("Condition", visit.key("cond")),
        "clinicalStatus": concept(hl7("condition-clinical", "active" if lasting else "resolved")),
        "verificationStatus": concept(hl7("condition-ver-status", "confirmed")),
        "category": [concept(hl7("condition-category", "problem-list-item" if lasting else "encounter-diagnosis"))],
        "code": coded(ICD10, visit.illness.icd10, visit.illness.name),
        "subject": visit.of.subject(),
        "encounter": visit.encounter(),
        "onsetDateTime": visit.day.isoformat(),
        **({} if lasting else {"abatementDateTime": (visit.day + timedelta(days=7)).isoformat()}),
        "recordedDate": visit.at("10:00"),
        "recorder": _by(visit),
    }


def _observations(visit: Visit, chance: Random) -> Iterator[Json]:
    systolic, diastolic = (_quantity(visit, one, chance) for one in PRESSURE)
    parts = zip(PRESSURE, (systolic, diastolic), strict=True)
    yield _observation(visit, "vital-signs", "85354-9", "血压") | {
        "component": [{"code": coded(LOINC, one.loinc, one.name), "valueQuantity": value} for one, value in parts]
    }
    for one in VITALS:
        fitting = CHILD_WEIGHT if visit.child and one.loinc == CHILD_WEIGHT.loinc else one
        yield _measurement(visit, "vital-signs", fitting, chance)
    for one in LABS:
        yield _measurement(visit, "laboratory", one, chance)
    if visit.illness is ILLNESSES["hiv"]:
        yield _measurement(visit, "laboratory", CD4, chance)


def _observation(visit: Visit, category: str, loinc: str, name: str) -> Json:
    laboratory = category == "laboratory"
    by = visit.of.at.doctor("laboratory") if laboratory else visit.doctor
    return {
        **visit.head("Observation", visit.key(f"obs-{loinc}")),
        "status": "final",
        "category": [concept(hl7("observation-category", category))],
        "code": coded(LOINC, loinc, name),
        "subject": visit.of.subject(),
        "encounter": visit.encounter(),
        "effectiveDateTime": visit.at("09:40" if laboratory else "09:10"),
        "issued": visit.at("11:00" if laboratory else "09:12"),
        "performer": [reference("Practitioner", by.id, by.name)],
    }


def _measurement(visit: Visit, category: str, one: Measured, chance: Random) -> Json:
    made = _observation(visit, category, one.loinc, one.name)
    made["valueQuantity"] = value = _quantity(visit, one, chance)
    if category == "laboratory":
        flag = "H" if value["value"] > one.high else "L" if value["value"] < one.low else "N"
        made["interpretation"] = [concept(hl7("v3-ObservationInterpretation", flag))]
        bounds = {"low": one.low, "high": one.high}
        made["referenceRange"] = [
            {
                side: {"value": bound, "unit": one.unit, "system": UCUM, "code": one.unit}
                for side, bound in bounds.items()
            }
        ]
    return made


def _quantity(visit: Visit, one: Measured, chance: Random) -> Json:
    span = one.high - one.low
    share = chance.gauss(1.25, 0.25) if RAISED.get(one.loinc) in visit.of.person.illnesses else chance.gauss(0.5, 0.2)
    value = round(one.low + span * share, one.digits)
    return {"value": value if one.digits else int(value), "unit": one.unit, "system": UCUM, "code": one.unit}


def _report(visit: Visit, results: list[Json]) -> Json:
    return {
        **visit.head("DiagnosticReport", visit.key("report")),
        "status": "final",
        "category": [concept(hl7("v2-0074", "LAB", "Laboratory"))],
        "code": coded(LOINC, "11502-2", "检验报告"),
        "subject": visit.of.subject(),
        "encounter": visit.encounter(),
        "effectiveDateTime": visit.at("09:40"),
        "issued": visit.at("11:05"),
        "performer": [reference("Organization", f"{visit.of.at.id}-laboratory")],
        "result": [reference("Observation", result["id"], result["code"]["text"]) for result in results],
    }


def _prescriptions(visit: Visit) -> Iterator[Json]:
    for at, (atc, name, dosage) in enumerate(visit.illness.drugs, 1):
        yield {
            **visit.head("MedicationRequest", visit.key("rx") + f"-{at}"),
            "status": "active" if visit.number == VISITS and visit.illness.lasting else "completed",
            "intent": "order",
            "medicationCodeableConcept": coded(ATC, atc, name) if atc else concept(text=name),
            "subject": visit.of.subject(),
            "encounter": visit.encounter(),
            "authoredOn": visit.at("11:10"),
            "requester": _by(visit),
            "reasonCode": [coded(ICD10, visit.illness.icd10, visit.illness.name)],
            "dosageInstruction": [{"text": dosage}],
        }


def _immunizations(of: Registered, visits: list[Visit]) -> Iterator[Json]:
    for visit in visits[1::3]:
        yield {
            "resourceType": "Immunization",
            "id": visit.key("imm"),
            "status": "completed",
            "vaccineCode": coded(ATC, "J07BB02", "流感病毒裂解疫苗"),
            "patient": of.subject(),
            "occurrenceDateTime": visit.day.isoformat(),
            "primarySource": True,
            "performer": [{"actor": reference("Organization", of.at.id, of.at.name)}],
        }


def _allergy(of: Registered, visit: Visit) -> Json:
    return {
        "resourceType": "AllergyIntolerance",
        "id": of.key("allergy"),
        "clinicalStatus": concept(hl7("allergyintolerance-clinical", "active")),
        "verificationStatus": concept(hl7("allergyintolerance-verification", "confirmed")),
        "type": "allergy",
        "category": ["medication"],
        "criticality": "high",
        "code": coded(ATC, "J01CE01", "青霉素"),
        "patient": of.subject(),
        "recordedDate": visit.at("10:00"),
        "reaction": [{"manifestation": [concept(text="皮疹")], "severity": "moderate"}],
    }
