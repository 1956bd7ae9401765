"""FHIR R4 Search over HTTP: pages, totals, includes, chains; the person meant by patient=."""

from __future__ import annotations

from urllib.parse import unquote

import httpx
import pytest

from tests.answers import FORM, ids
from tests.interactions.asking import Json, observation, pages
from tests.live import Live

DATES = [
    "2024",
    "2024-05",
    None,
    "2024-05-01",
    "2024-05-01",
    None,
    "2023-12-31T23:59:59Z",
    "2025-01-01",
    None,
    "2024-05-01",
]
NAME, PHONE = "欧阳", "13812345678"


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    server.put(
        {
            "resourceType": "Patient",
            "id": "p1",
            "name": [{"family": NAME}],
            "telecom": [{"system": "phone", "value": PHONE}],
        }
    )
    server.put(
        {
            "resourceType": "Patient",
            "id": "p2",
            "name": [{"family": "李"}],
            "managingOrganization": {"reference": "Organization/o"},
        }
    )
    server.put({"resourceType": "Organization", "id": "o", "name": "Hospital"})
    for number, date in enumerate(DATES):
        server.put(observation(f"o{number}", **({"effectiveDateTime": date} if date else {})))


SORTS = ["date", "-date", "_id", "-_id", "_lastUpdated", "-_lastUpdated", None]


@pytest.mark.parametrize("posted", [False, True], ids=["GET", "POST"])
@pytest.mark.parametrize("size", [1, 3, 10])
@pytest.mark.parametrize("sort", SORTS)
def test_pages_are_complete_and_repeat_nothing(doctor: httpx.Client, sort: str | None, size: int, posted: bool) -> None:
    asked = {"subject": "Patient/p1", "_count": str(size), **({"_sort": sort} if sort else {})}
    whole = ids(doctor.get("Observation", params={**asked, "_count": "100"}).json())
    first = (
        doctor.post("Observation/_search", data=asked, headers=FORM)
        if posted
        else doctor.get("Observation", params=asked)
    )
    read = list(pages(doctor, first.json()))
    assert [id for page in read for id in ids(page)] == whole
    assert sorted(whole) == sorted(f"o{n}" for n in range(len(DATES)))
    assert {page["total"] for page in read} == {len(DATES)}
    assert len(read) == -(-len(DATES) // size)


@pytest.mark.parametrize(("sort", "order"), [("date", 1), ("-date", -1)])
def test_a_sort_by_date_is_by_its_beginning_and_what_has_none_stands_at_one_end(
    doctor: httpx.Client, sort: str, order: int
) -> None:
    found = ids(doctor.get("Observation", params={"subject": "Patient/p1", "_sort": sort}).json())
    dates = [DATES[int(id[1:])] for id in found][::order]
    assert dates[:3] == [None] * 3
    begins = [f"{date}-01-01"[:10] for date in dates[3:]]
    assert begins == sorted(begins)


def test_a_row_that_goes_between_two_pages_costs_no_other_row(server: Live, doctor: httpx.Client) -> None:
    server.put(*(observation(f"gone-{n}", "Patient/p2", effectiveDateTime=f"2024-01-0{n}") for n in range(1, 6)))
    first = doctor.get("Observation", params={"subject": "Patient/p2", "_sort": "date", "_count": "2"}).json()
    with server.system() as emr:
        assert emr.delete("Observation/gone-2").status_code == 204
    assert [id for page in list(pages(doctor, first))[1:] for id in ids(page)] == ["gone-3", "gone-4", "gone-5"]


@pytest.mark.parametrize("sort", ["_id", "-_id", "-_lastUpdated"])
def test_pages_of_a_search_that_is_decided_on_opened_bodies(doctor: httpx.Client, sort: str) -> None:
    asked = {"subject": "Patient/p1", "code:text": "x", "_sort": sort, "_count": "3"}
    answer = doctor.get("Observation", params=asked)
    if answer.status_code == 200:
        found = [id for page in pages(doctor, answer.json()) for id in ids(page)]
        assert sorted(found) == sorted(f"o{n}" for n in range(len(DATES)))
    family = doctor.get("Patient", params={"family:contains": NAME[1:]}).json()
    assert (family["total"], ids(family)) == (1, ["p1"])


def test_no_link_holds_what_was_posted_and_no_next_link_holds_what_was_asked(doctor: httpx.Client) -> None:
    asked = {"subject:Patient.family": NAME, "subject:Patient.phone": PHONE, "_count": "2"}
    posted = doctor.post("Observation/_search", data=asked, headers=FORM).json()
    got = doctor.get("Observation", params=asked).json()
    assert posted["total"] == got["total"] == len(DATES)
    for bundle in (*pages(doctor, posted), *list(pages(doctor, got))[1:]):
        for each in bundle["link"]:
            assert NAME not in unquote(each["url"])
            assert PHONE not in each["url"]
            assert "family" not in each["url"]
    following = next(each["url"] for each in got["link"] if each["relation"] == "next")
    assert PHONE not in following
    assert "p1" not in following.rsplit("=", 1)[0]


def test_a_self_link_of_a_posted_search_leads_to_the_same_page(doctor: httpx.Client) -> None:
    posted = doctor.post("Observation/_search", data={"subject": "Patient/p1", "_count": "2"}, headers=FORM).json()
    for page in pages(doctor, posted):
        again = doctor.get(next(each["url"] for each in page["link"] if each["relation"] == "self")).json()
        assert ids(again) == ids(page)


def test_a_get_and_a_post_find_the_same_and_a_post_takes_the_query_too(doctor: httpx.Client) -> None:
    got = doctor.get("Observation", params={"subject": "Patient/p1", "date": "2024-05"}).json()
    posted = doctor.post("Observation/_search", data={"subject": "Patient/p1", "date": "2024-05"}, headers=FORM).json()
    both = doctor.post("Observation/_search?date=2024-05", data={"subject": "Patient/p1"}, headers=FORM).json()
    assert ids(got) == ids(posted) == ids(both)
    assert got["total"] == 4


def test_the_shape_of_the_total(doctor: httpx.Client) -> None:
    asked = {"subject": "Patient/p1"}
    count = doctor.get("Observation", params={**asked, "_summary": "count"}).json()
    assert (count["type"], count["total"], "entry" in count) == ("searchset", len(DATES), False)
    assert "total" not in doctor.get("Observation", params={**asked, "_total": "none", "_count": "2"}).json()
    assert doctor.get("Observation", params={**asked, "_total": "accurate", "_count": "2"}).json()["total"] == len(
        DATES
    )
    assert doctor.get("Observation", params={"subject": "Patient/none"}).json()["total"] == 0


def test_a_page_is_no_larger_than_the_server_allows(server: Live, doctor: httpx.Client) -> None:
    found = doctor.get("Observation", params={"_count": "999999999"})
    assert found.status_code == 200
    assert len(ids(found.json())) <= server.settings.max_page_size


def test_chains_and_includes_lead_to_what_the_requester_sees(server: Live, doctor: httpx.Client) -> None:
    assert doctor.get("Patient", params={"organization.name": "Hospital"}).json()["total"] == 1
    assert doctor.get("Patient", params={"organization:Organization.name": "Clinic"}).json()["total"] == 0
    found = doctor.get("Observation", params={"_id": "o1,o2", "_include": "Observation:subject"}).json()
    assert (found["total"], sorted(ids(found))) == (2, ["o1", "o2", "p1"])
    with server.client("practitioner", "Practitioner/dr9", "org9") as stranger:
        assert stranger.get("Observation", params={"subject:Patient.family": NAME}).json()["total"] == 0


RESIDENT = {"system": "urn:oid:2.16.156.10011.1.3", "value": "11010519491231002X"}


@pytest.fixture(scope="module")
def one_person(server: Live) -> None:
    """One person with a Patient and an Observation at two institutions."""
    for org in ("org1", "org2"):
        server.put({"resourceType": "Patient", "id": f"same-{org}", "identifier": [RESIDENT]}, organization=org)
        server.put(observation(f"of-{org}", f"Patient/same-{org}"), organization=org)


def permit(*classes: str) -> Json:
    coding = [{"system": "http://hl7.org/fhir/resource-types", "code": each} for each in classes]
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "PRCP"}]}
    actor = [{"role": role, "reference": {"reference": "Organization/org1"}}]
    scope = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]}
    return {
        "resourceType": "Consent", "status": "active", "scope": scope, "category": [{"text": "x"}],
        "patient": {"reference": "Patient/same-org2"}, "provision": {"type": "permit", "class": coding, "actor": actor},
    }  # fmt: skip


def test_a_patient_in_a_search_means_the_person_as_far_as_the_requester_may_know(
    server: Live, doctor: httpx.Client, one_person: None
) -> None:
    def found() -> list[str]:
        answers = [doctor.get("Observation", params={name: f"Patient/same-{org}"}).json()
                   for name in ("patient", "subject") for org in ("org1", "org2")]  # fmt: skip
        assert ids(answers[0]) == ids(answers[2])
        assert ids(answers[1]) == ids(answers[3])
        return ids(answers[0])

    assert found() == ["of-org1"]
    with server.client("patient", "Patient/same-org2") as patient:
        stored = patient.post("Consent", json=permit("Observation")).json()
        assert found() == ["of-org1"]  # the sibling Patient is hidden, so nothing leads from one to the other
        assert doctor.get("Observation/of-org2").status_code == 200
        patient.put(
            f"Consent/{stored['id']}", json={**stored, "provision": permit("Observation", "Patient")["provision"]}
        )
        assert found() == ["of-org1", "of-org2"]
        assert ids(doctor.get("Observation", params={"patient": "Patient/same-org2"}).json()) == ["of-org1", "of-org2"]
        patient.put(f"Consent/{stored['id']}", json={**stored, "status": "inactive"})
        assert found() == ["of-org1"]


def test_a_patients_token_covers_all_patients_of_the_person(server: Live, one_person: None) -> None:
    with server.client("patient", "Patient/same-org1") as patient:
        assert sorted(ids(patient.get("Observation").json())) == ["of-org1", "of-org2"]
        assert sorted(ids(patient.get("Patient").json())) == ["same-org1", "same-org2"]
