"""What a decision rests on beside the Consent itself: who belongs to whom, who speaks for a child, what a record refers to.

All of it is read as it is at the decision: a change of it acts on the next request, without a write of the Consent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.consent_engine.build import ACT_REASON, actor, codings, consent, permit
from tests.live import Live

Json = dict[str, Any]
DR = {"reference": "Practitioner/Dr1"}


@dataclass
class Ward:
    """One patient of one test, with a weight in Org1 that Org2's doctor asks for."""

    server: Live
    key: str

    def ref(self, type: str, name: str = "p") -> str:
        return f"{type}/{name}-{self.key}"

    def make(self, type: str, name: str = "p", organization: str = "Org1", /, **elements: Any) -> Json:
        said = {element: value for element, value in elements.items() if value is not None}
        resource = {"resourceType": type, "id": f"{name}-{self.key}", **said}
        self.server.put(resource, organization=organization)
        return resource

    def remove(self, reference: str, organization: str = "Org1") -> None:
        with self.server.system(organization) as client:
            assert client.delete(reference).status_code == 204

    def record(self, name: str = "o", **elements: Any) -> Json:
        subject = {"reference": self.ref("Patient")}
        said = {"status": "final", "code": {"text": "weight"}, "subject": subject, **elements}
        return self.make("Observation", name, **said)

    def grant(self, provision: Json, **elements: Any) -> None:
        """Store a Consent by the patient's own hand."""
        made = {"category": [{"text": "disclosure"}], "patient": {"reference": self.ref("Patient")}}
        with self.server.client("patient", self.ref("Patient"), "Org1") as client:
            answer = client.post("Consent", json={**made, **consent(provision, **elements)})
            assert answer.status_code == 201, answer.text

    def sees(self, organization: str = "Org2", name: str = "o", **claims: Any) -> bool:
        """Return whether the doctor reads the record; a search must say the same."""
        with self.server.client("practitioner", "Practitioner/Dr1", organization, **claims) as client:
            read = client.get(self.ref("Observation", name)).status_code == 200
            total = client.get("Observation", params={"_id": f"{name}-{self.key}"}).json()["total"]
        assert total == int(read)
        return read


@pytest.fixture
def ward(standing: Live, key: str) -> Ward:
    made = Ward(standing, key)
    made.make("Patient", birthDate="2010-01-01")
    made.record()
    return made


def to(reference: str, **elements: Any) -> Json:
    return permit(actor=[actor(reference)], purpose=codings(ACT_REASON, "TREAT"), **elements)


def group(ward: Ward, *members: Json, **elements: Any) -> None:
    ward.make("Group", "g", type="practitioner", **{"actual": True, "member": list(members), **elements})


def team(ward: Ward, *participants: Json, **elements: Any) -> None:
    ward.make("CareTeam", "g", **{"status": "active", "participant": list(participants), **elements})


OVER, COMING = {"end": "2026-06-14"}, {"start": "2026-06-16"}


@pytest.mark.parametrize(
    ("make", "member", "off"),
    [
        (group, "entity", {"active": False}),
        (group, "entity", {"actual": False, "member": None}),
        (group, "entity", {"member": [{"entity": {"reference": "Practitioner/Dr2"}}]}),
        (group, "entity", {"member": [{"entity": DR, "inactive": True}]}),
        (group, "entity", {"member": [{"entity": DR, "period": OVER}]}),
        (group, "entity", {"member": [{"entity": DR, "period": COMING}]}),
        (team, "member", {"status": "inactive"}),
        (team, "member", {"participant": [{"member": DR, "period": OVER}]}),
        (team, "member", {"period": OVER}),
    ],
)
def test_who_belongs_to_a_group_or_team_is_asked_at_the_decision(
    ward: Ward, make: Callable[..., None], member: str, off: Json
) -> None:
    ward.grant(to(ward.ref("Group" if make is group else "CareTeam", "g")))
    assert not ward.sees()
    make(ward, {member: DR})
    assert ward.sees()
    make(ward, {member: DR}, **off)
    assert not ward.sees()
    make(ward, {member: DR})
    assert ward.sees()
    ward.remove(ward.ref("Group" if make is group else "CareTeam", "g"))
    assert not ward.sees()


def test_no_number_of_groups_takes_somebody_out_of_one(ward: Ward) -> None:
    ward.grant(to("Organization/Org2"))
    ward.grant({**to(ward.ref("Group", "z")), "type": "deny"})
    of_dr1 = {"resourceType": "Group", "type": "practitioner", "actual": True, "member": [{"entity": DR}]}
    ward.make("Group", "z", **of_dr1)
    assert not ward.sees()
    entries = [
        {
            "resource": {**of_dr1, "id": f"a{number}-{ward.key}"},
            "request": {"method": "PUT", "url": f"Group/a{number}-{ward.key}"},
        }
        for number in range(1_001)
    ]
    with ward.server.system("Org2") as client:
        answer = client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200, answer.text
    assert not ward.sees()


def test_a_membership_ends_by_the_clock_alone(ward: Ward) -> None:
    ward.grant(to(ward.ref("Group", "g")))
    group(ward, {"entity": DR, "period": {"end": "2026-06-15"}})
    before = ward.server.clock.now
    try:
        assert ward.sees()
        ward.server.clock.now = datetime(2026, 6, 16, 0, 0, 1, tzinfo=UTC)
        assert not ward.sees()
    finally:
        ward.server.clock.now = before


def test_a_denial_of_a_group_of_which_nothing_is_known_binds_everybody(ward: Ward) -> None:
    ward.grant(to("Organization/Org2"))
    assert ward.sees()
    ward.grant({**to(ward.ref("Group", "g")), "type": "deny"})
    assert not ward.sees()
    group(ward, {"entity": {"reference": "Practitioner/Dr2"}})
    assert ward.sees()
    group(ward, {"entity": DR})
    assert not ward.sees()
    ward.remove(ward.ref("Group", "g"))
    assert not ward.sees()


def test_a_role_makes_a_doctor_a_member_of_a_department_that_the_institution_recorded(ward: Ward) -> None:
    department = ward.ref("Organization", "icu")
    ward.grant(to(department))
    role = {"practitioner": DR, "organization": {"reference": department}, "active": True}
    ward.make("PractitionerRole", "r", "Org2", **role)
    assert not ward.sees()  # nobody knows the department
    ward.make("Organization", "icu", "Org2", name="ICU", partOf={"reference": "Organization/Org2"})
    assert ward.sees()
    ward.make("PractitionerRole", "r", "Org2", **{**role, "active": False})
    assert not ward.sees()


def test_a_role_is_an_actor_itself(ward: Ward) -> None:
    ward.grant(to(ward.ref("PractitionerRole", "r")))
    ward.make("PractitionerRole", "r", "Org2", practitioner=DR, active=True)
    assert ward.sees()


def test_nobody_makes_themselves_a_member_of_another_institution(ward: Ward) -> None:
    """What one institution records of its doctors and departments gives them nothing that was granted to another."""
    victim, thief = f"Victim-{ward.key}", f"Thief-{ward.key}"
    ward.grant(to(f"Organization/{victim}"))
    whole = {"resourceType": "Organization", "name": "o"}
    ward.server.put({**whole, "id": f"ward-{victim}"}, organization=victim)
    role = {"practitioner": DR, "organization": {"reference": f"Organization/{victim}"}}
    ward.make("PractitionerRole", "r", thief, **role)
    ward.server.put({**whole, "id": thief, "partOf": {"reference": f"Organization/{victim}"}}, organization=thief)
    assert not ward.sees(thief)
    ward.server.put({**whole, "id": victim, "partOf": {"reference": f"Organization/{thief}"}}, organization=thief)
    assert not ward.sees(thief)
    assert ward.sees(victim)


def test_nobody_makes_an_institution_its_department_that_has_not_said_yet_what_it_is(ward: Ward) -> None:
    victim, thief = f"Victim-{ward.key}", f"Thief-{ward.key}"
    ward.grant(to(f"Organization/{victim}"))
    ward.server.put({"resourceType": "Patient", "id": f"theirs-{ward.key}"}, organization=victim)
    part = {"name": "o", "partOf": {"reference": f"Organization/{thief}"}}
    ward.server.put({"resourceType": "Organization", "id": victim, **part}, organization=thief)
    ward.make("PractitionerRole", "r", thief, practitioner=DR, organization={"reference": f"Organization/{victim}"})
    assert not ward.sees(thief)
    assert ward.sees(victim)


def test_an_institution_belongs_to_the_one_that_recorded_it_as_its_part(ward: Ward) -> None:
    whole = f"Whole-{ward.key}"
    campus = f"Campus-{ward.key}"
    ward.grant(to(f"Organization/{whole}"))
    assert not ward.sees(campus)
    part = {"resourceType": "Organization", "id": campus, "partOf": {"reference": f"Organization/{whole}"}, "name": "c"}
    ward.server.put(part, organization=whole)
    assert ward.sees(campus)


def mother(ward: Ward, **elements: Any) -> None:
    relationship = [{"coding": codings("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "MTH")}]
    said = {"patient": {"reference": ward.ref("Patient")}, "relationship": relationship, **elements}
    ward.make("RelatedPerson", "r", **said)


def test_h2_a_proxy_speaks_for_a_child_as_long_as_it_is_one(ward: Ward) -> None:
    ward.grant(to("Organization/Org2"), performer=[{"reference": ward.ref("RelatedPerson", "r")}])
    assert not ward.sees()  # nobody knows who gave it
    mother(ward)
    assert ward.sees()
    mother(ward, active=False)
    assert not ward.sees()
    mother(ward)
    assert ward.sees()
    ward.make("Patient", birthDate="2008-06-15")
    assert not ward.sees()
    ward.make("Patient", birthDate="2008-06-16")
    assert ward.sees()
    ward.make("Patient")
    assert not ward.sees()
    ward.make("Patient", birthDate="2010-01-01")
    before = ward.server.clock.now
    try:
        for instant, expected in (
            (datetime(2027, 12, 31, 12, tzinfo=UTC), True),
            (datetime(2028, 1, 1, tzinfo=UTC), False),
        ):
            ward.server.clock.now = instant
            assert ward.sees() is expected
    finally:
        ward.server.clock.now = before
    ward.remove(ward.ref("RelatedPerson", "r"))
    assert not ward.sees()


def test_what_a_record_refers_to_is_read_at_the_decision(ward: Ward) -> None:
    visit = {"status": "finished", "class": {"code": "AMB"}, "subject": {"reference": ward.ref("Patient")}}
    ward.make("Encounter", "e", **visit)
    ward.grant(
        to("Organization/Org2", data=[{"meaning": "related", "reference": {"reference": ward.ref("Encounter", "e")}}])
    )
    assert not ward.sees()
    reason = [{"reference": ward.ref("Observation", "o")}]
    ward.make("Encounter", "e", **visit, reasonReference=reason)  # from the named record to this one
    assert ward.sees()
    ward.make("Encounter", "e", **visit)
    assert not ward.sees()
    ward.record("o", encounter={"reference": ward.ref("Encounter", "e")})  # from this one to the named record
    assert ward.sees()
    ward.record("o")
    assert not ward.sees()


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("user/Observation.rs?category=laboratory", {"lab"}),
        ("user/Observation.rs?category=http://c|laboratory", {"lab"}),
        ("user/Observation.rs?category=http://d|laboratory", set()),
        ("user/Observation.rs?category=laboratory,vital-signs", {"lab", "vital"}),
        ("user/Observation.rs?category=laboratory&category=vital-signs", set()),
        ("user/Observation.rs?category=laboratory user/Observation.rs?category=vital-signs", {"lab", "vital"}),
        ("user/*.rs?category=laboratory", {"lab"}),
        ("user/Observation.rs?code=w&category=vital-signs", {"vital"}),
        ("user/Observation.rs?category:not=laboratory user/Observation.rs?status=final user/Patient.rs", set()),
        ("user/Observation.rs", {"lab", "vital", "o"}),
    ],
)
def test_a_scope_with_a_search_reaches_what_matches_it(ward: Ward, scope: str, expected: set[str]) -> None:
    for name, category in (("lab", "laboratory"), ("vital", "vital-signs")):
        of = [{"coding": [{"system": "http://c", "code": category}]}]
        ward.record(name, category=of, code={"coding": [{"system": "http://l", "code": "w"}]})
    ward.grant(to("Organization/Org2"))
    names = ("o", "lab", "vital")
    with ward.server.client("practitioner", "Practitioner/Dr1", "Org2", scope=scope) as client:
        read = {each for each in names if client.get(ward.ref("Observation", each)).status_code == 200}
        past = {each for each in names if client.get(ward.ref("Observation", each) + "/_history/1").status_code == 200}
        search = client.get("Observation", params={"subject": ward.ref("Patient")})
    found = {each["resource"]["id"].partition("-")[0] for each in search.json().get("entry", ())}
    assert read == past == expected
    assert found == expected if search.status_code == 200 else not expected


@pytest.mark.parametrize(
    "other",
    [
        {"client_id": "b"},
        {"purpose": "ETREAT"},
        {"scope": "user/*.rs"},
        {"department": "icu"},
        {"user": "Practitioner/Dr2"},
    ],
)
def test_a_page_link_belongs_to_its_user_client_purpose_and_rights(ward: Ward, other: Json) -> None:
    ward.grant(to("Organization/Org2"))
    ward.record("second")
    first: Json = {"user": "Practitioner/Dr1", "organization": "Org2", "purpose": "TREAT", "client_id": "a"}
    with (
        ward.server.client("practitioner", **first) as client,
        ward.server.client("practitioner", **first) as again,
        ward.server.client("practitioner", **{**first, **other}) as stranger,
    ):
        page = client.get("Observation", params={"subject": ward.ref("Patient"), "_count": "1"}).json()
        following = next(each["url"] for each in page["link"] if each["relation"] == "next")
        assert len(again.get(following).json()["entry"]) == 1
        garbage = stranger.get("Observation", params={"_cursor": "garbage"})
        answer = stranger.get(following)
    assert (answer.status_code, answer.content) == (400, garbage.content)


def test_a_page_link_opens_nothing_that_was_revoked_since(ward: Ward) -> None:
    ward.grant(to("Organization/Org2"))
    ward.record("second")
    with ward.server.client("practitioner", "Practitioner/Dr1", "Org2") as client:
        page = client.get("Observation", params={"subject": ward.ref("Patient"), "_count": "1"}).json()
        following = next(each["url"] for each in page["link"] if each["relation"] == "next")
        ward.grant({**to("Organization/Org2"), "type": "deny"})
        after = client.get(following).json()
    assert (after["total"], after.get("entry"), len(after["link"])) == (0, None, 1)
