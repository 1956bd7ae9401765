"""The persons of the demo data, and the Patient that each hospital holds of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fhir_server.demo.coding import Json, concept, hl7, reference
from fhir_server.demo.institutions import Institution
from fhir_server.resident_id import check_character

RESIDENT_ID = "urn:oid:2.16.156.10011.1.3"


@dataclass(frozen=True, slots=True)
class Person:
    """One person. `seats` are the numbers of their Patient at hospital-a and hospital-b, 0 where they have none."""

    family: str
    given: str
    gender: str
    born: str
    illnesses: tuple[str, ...]  # keys of clinical.ILLNESSES
    seats: tuple[int, int]

    @property
    def name(self) -> str:
        return self.family + self.given

    def resident_id(self, number: int) -> str:
        """Return a number that is valid in form; 110000 is a whole province, so it is issued to nobody."""
        sequence = 2 * number + (self.gender == "male")
        first = f"110000{self.born.replace('-', '')}{sequence:03d}"
        return first + check_character(first)


PEOPLE = (
    Person("张", "秀兰", "female", "1968-03-12", ("diabetes", "hypertension", "depression"), (1, 1)),
    Person("王", "建华", "male", "1959-11-02", ("hypertension", "coronary"), (2, 2)),
    Person("李", "娜", "female", "1985-07-21", ("gastritis",), (3, 3)),
    Person("刘", "洋", "male", "1990-01-30", ("hiv",), (4, 4)),
    Person("陈", "桂英", "female", "1951-05-18", ("diabetes", "hyperlipidaemia", "backache"), (5, 5)),
    Person("杨", "帆", "male", "1978-09-09", ("hyperlipidaemia",), (6, 6)),
    Person("赵", "敏", "female", "1993-12-25", ("depression",), (7, 0)),
    Person("黄", "志明", "male", "1964-08-14", ("coronary", "hyperlipidaemia"), (8, 0)),
    Person("周", "婷", "female", "1988-02-03", ("cold",), (9, 0)),
    Person("吴", "国栋", "male", "1947-10-27", ("hypertension", "diabetes"), (10, 0)),
    Person("徐", "静", "female", "1975-06-06", ("gastritis", "cold"), (11, 0)),
    Person("孙", "浩然", "male", "2015-04-19", ("cold",), (12, 0)),
    Person("欧阳", "雪", "female", "1982-11-11", ("hypertension",), (13, 0)),
    Person("马", "俊杰", "male", "2000-02-29", ("cold", "backache"), (14, 0)),
    Person("胡", "丽", "female", "1971-01-15", ("backache", "gastritis"), (0, 7)),
    Person("林", "志远", "male", "1956-07-07", ("hypertension", "hyperlipidaemia"), (0, 8)),
    Person("郭", "芳", "female", "1996-03-28", ("cold", "gastritis"), (0, 9)),
    Person("罗", "永福", "male", "1944-12-01", ("diabetes", "coronary"), (0, 10)),
)


@dataclass(frozen=True, slots=True)
class Registered:
    """A person as one hospital knows them."""

    person: Person
    number: int  # of the person among PEOPLE, from 1
    at: Institution
    id: str  # of the Patient

    def key(self, what: str) -> str:
        """Return the id of something of this patient: key("obs") is what-a-001 without the "pat"."""
        return f"{what}-{self.id.removeprefix('pat-')}"

    def subject(self) -> Json:
        return reference("Patient", self.id)


def registered(at: Institution) -> Iterator[Registered]:
    """Yield the patients of a hospital, in the order of their ids."""
    column = "ab".index(at.letter)
    seats = sorted((person.seats[column], number, person) for number, person in enumerate(PEOPLE, 1))
    for seat, number, person in seats:
        if seat:
            yield Registered(person, number, at, f"pat-{at.letter}-{seat:03d}")


def patient(of: Registered) -> Json:
    """Return the Patient resource."""
    person = of.person
    return {
        "resourceType": "Patient",
        "id": of.id,
        "identifier": [
            {
                "use": "official",
                "type": concept(hl7("v2-0203", "NNCHN")),
                "system": RESIDENT_ID,
                "value": person.resident_id(of.number),
            },
            {
                "use": "usual",
                "type": concept(hl7("v2-0203", "MR", "Medical record number"), text="病案号"),
                "system": f"https://{of.at.id}.example/sid/mrn",
                "value": f"{of.at.letter.upper()}{7000 + 37 * int(of.id[-3:]):06d}",
            },
        ],
        "active": True,
        "name": [{"use": "official", "text": person.name, "family": person.family, "given": [person.given]}],
        "telecom": [{"system": "phone", "value": f"100{of.number:08d}", "use": "mobile"}],
        "gender": person.gender,
        "birthDate": person.born,
        "address": [
            {
                "use": "home",
                "text": f"示范省示范市东湖区平安街{of.number}号",
                "line": [f"平安街{of.number}号"],
                "district": "东湖区",
                "city": "示范市",
                "state": "示范省",
                "country": "CN",
            }
        ],
        "managingOrganization": reference("Organization", of.at.id, of.at.name),
    }


def related(of: Registered) -> Json:
    """Return the mother of a child, as the hospital knows her."""
    return {
        "resourceType": "RelatedPerson",
        "id": of.key("related"),
        "active": True,
        "patient": of.subject(),
        "relationship": [concept(hl7("v3-RoleCode", "MTH", "mother"), text="母亲")],
        "name": [{"text": "钱玉梅", "family": "钱", "given": ["玉梅"]}],
        "telecom": [{"system": "phone", "value": "10000009999", "use": "mobile"}],
        "gender": "female",
    }
