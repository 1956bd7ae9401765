"""The two hospitals: organizations with departments, and who works there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fhir_server.demo.coding import Json, concept, hl7, reference


@dataclass(frozen=True, slots=True)
class Doctor:
    """One practitioner and the department where they work."""

    id: str
    family: str
    given: str
    gender: str
    department: str  # behind the institution's id
    title: str

    @property
    def name(self) -> str:
        return self.family + self.given


@dataclass(frozen=True, slots=True)
class Institution:
    """One hospital. `letter` stands in the ids of all that is its own."""

    id: str
    letter: str
    name: str
    telephone: str
    departments: tuple[tuple[str, str], ...]  # id behind the institution's id, name
    doctors: tuple[Doctor, ...]

    def doctor(self, department: str) -> Doctor:
        """Return the first doctor of a department, else the first of all."""
        return next((doctor for doctor in self.doctors if doctor.department == department), self.doctors[0])


INSTITUTIONS = (
    Institution(
        "hospital-a",
        "a",
        "示范市第一人民医院",
        "100-0000-1000",
        (
            ("cardiology", "心血管内科"),
            ("endocrinology", "内分泌科"),
            ("psychiatry", "精神心理科"),
            ("infection", "感染科"),
            ("paediatrics", "儿科"),
            ("laboratory", "检验科"),
        ),
        (
            Doctor("dr-zhang", "张", "明远", "male", "cardiology", "主任医师"),
            Doctor("dr-wang", "王", "慧敏", "female", "endocrinology", "副主任医师"),
            Doctor("dr-chen", "陈", "思宁", "female", "psychiatry", "主治医师"),
            Doctor("dr-liu", "刘", "建国", "male", "infection", "主任医师"),
            Doctor("dr-he", "何", "晓芸", "female", "paediatrics", "主治医师"),
            Doctor("dr-sun", "孙", "志强", "male", "laboratory", "主管技师"),
        ),
    ),
    Institution(
        "hospital-b",
        "b",
        "示范市中医医院",
        "100-0000-2000",
        (
            ("internal", "中医内科"),
            ("endocrinology", "内分泌科"),
            ("acupuncture", "针灸推拿科"),
            ("laboratory", "检验科"),
        ),
        (
            Doctor("dr-li", "李", "济生", "male", "internal", "主任中医师"),
            Doctor("dr-zhao", "赵", "文静", "female", "endocrinology", "主治医师"),
            Doctor("dr-huang", "黄", "国平", "male", "acupuncture", "副主任中医师"),
            Doctor("dr-zhou", "周", "雅琴", "female", "laboratory", "主管技师"),
        ),
    ),
)


def staff(of: Institution) -> Iterator[Json]:
    """Yield Organizations, then Practitioners and their roles."""
    yield {
        "resourceType": "Organization",
        "id": of.id,
        "active": True,
        "type": [concept(hl7("organization-type", "prov", "Healthcare Provider"))],
        "name": of.name,
        "telecom": [{"system": "phone", "value": of.telephone}],
        "address": [{"text": "示范省示范市健康路1号", "city": "示范市", "state": "示范省", "country": "CN"}],
    }
    for id, name in of.departments:
        yield {
            "resourceType": "Organization",
            "id": f"{of.id}-{id}",
            "active": True,
            "type": [concept(hl7("organization-type", "dept", "Hospital Department"))],
            "name": f"{of.name}{name}",
            "alias": [name],
            "partOf": reference("Organization", of.id, of.name),
        }
    for doctor in of.doctors:
        yield _practitioner(doctor)
        yield _role(of, doctor)


def _practitioner(doctor: Doctor) -> Json:
    return {
        "resourceType": "Practitioner",
        "id": doctor.id,
        "active": True,
        "identifier": [{"system": "https://demo.example/sid/staff", "value": doctor.id.upper()}],
        "name": [{"text": doctor.name, "family": doctor.family, "given": [doctor.given]}],
        "gender": doctor.gender,
        "qualification": [{"code": concept(text=doctor.title)}],
    }


def _role(of: Institution, doctor: Doctor) -> Json:
    return {
        "resourceType": "PractitionerRole",
        "id": f"role-{doctor.id}",
        "active": True,
        "practitioner": reference("Practitioner", doctor.id, doctor.name),
        "organization": reference("Organization", f"{of.id}-{doctor.department}"),
        "code": [concept(hl7("practitioner-role", "doctor", "Doctor"), text=doctor.title)],
    }
