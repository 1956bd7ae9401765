"""An event names on what its decision stood: mode, implicit policy, who asked as what, for what (consent.md, D19)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from consent_engine.predicate import EVERYTHING, NOTHING, AnyOf, Attribute, Predicate, all_of, either, negate
from fhir_server.audit.basis import bound, count_class, details_of
from fhir_server.http.headers import remark
from fhir_server.interactions.deciding import digest
from fhir_server.store.permitted import Permitted
from tests.consent_engine.build import ACT_REASON
from tests.databases import fresh
from tests.live import Live, live

Json = dict[str, Any]


@pytest.fixture(scope="module")
def denying(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server on which nothing is seen without a Consent."""
    with (
        fresh(mongo_uri) as name,
        live(mongo_uri, tmp_path_factory.mktemp("i"), database=name, implicit_policy="deny") as running,
    ):
        yield running


@pytest.fixture
def key(server: Live) -> str:
    """A key of a Patient p… and an Observation o… of org1."""
    key = secrets.token_hex(4)
    store(server, key)
    return key


def store(server: Live, key: str) -> None:
    subject = {"reference": f"Patient/p{key}"}
    server.put(
        {"resourceType": "Patient", "id": f"p{key}"},
        {"resourceType": "Observation", "id": f"o{key}", "status": "final", "code": {"text": "x"}, "subject": subject},
    )


def events(server: Live, user: str, organization: str = "org1") -> list[Json]:
    """Return the AuditEvents of a user that an institution's auditor finds, newest first."""
    with server.client("auditor", "Practitioner/auditor", organization) as auditor:
        answer = auditor.get("AuditEvent", params={"_sort": "-_lastUpdated", "agent": user})
        assert answer.status_code == 200, answer.text
        return [each["resource"] for each in answer.json().get("entry", ())]


def told(event: Json) -> dict[str, tuple[str, ...]]:
    found = details_of(event)
    assert found is not None
    return found


def test_a_read_names_all_that_decided(server: Live, key: str) -> None:
    more = {"department": "d1", "client_id": "app", "patient": f"Patient/p{key}", "scope": "user/*.rs"}
    user = f"Practitioner/dr{key}"
    with server.client("practitioner", user, **more) as doctor:
        assert doctor.get(f"Observation/o{key}").status_code == 200
    (event,) = events(server, user)
    said = told(event)
    assert said.pop("at")[0][:16] == event["recorded"][:16]
    assert said == {
        "mode": ("deny-overrides",),
        "implicit policy": ("treatment",),
        "scope": ("user/*.rs",),
        "client": ("app",),
        "department": ("d1",),
        "patient in context": (f"Patient/p{key}",),
        "results": ("1",),
    }


def test_an_absent_answer_names_the_implicit_policy(denying: Live) -> None:
    """Scenario A1."""
    key = secrets.token_hex(4)
    store(denying, key)
    user = f"Practitioner/dr{key}"
    with denying.client("practitioner", user) as doctor:
        assert doctor.get(f"Observation/o{key}").status_code == 404
        assert doctor.get(f"Observation?_id=o{key}").json()["total"] == 0
    searched, read = events(denying, user)
    assert [told(each)["implicit policy"] for each in (searched, read)] == [("deny",)] * 2
    assert [told(each)["results"] for each in (searched, read)] == [("0",)] * 2


@pytest.mark.parametrize("query", ["", "&_summary=count", "&_include=Observation:subject"])
def test_a_search_names_what_it_was_narrowed_by_and_how_much_it_gave(server: Live, key: str, query: str) -> None:
    user = f"Practitioner/dr{key}"
    with server.client("practitioner", user) as doctor:
        for _ in range(2):
            assert doctor.get(f"Observation?_id=o{key}{query}").json()["total"] == 1
    said = [told(each) for each in events(server, user)]
    assert [each["results"] for each in said] == [("2-10" if "include" in query else "1",)] * 2
    assert {each["predicate"][0].partition(" ")[0] for each in said} == {"Observation"}
    # Whether two are equal cannot be seen: it would tell whether somebody's Consent has changed.
    assert said[0]["predicate"] != said[1]["predicate"]


def test_auditors_of_others_do_not_learn_the_patient_in_context(server: Live, key: str) -> None:
    server.put({"resourceType": "Patient", "id": f"q{key}"}, organization="org2")
    user = f"Practitioner/dr{key}"
    with server.client("practitioner", user, "org2", patient=f"Patient/q{key}") as stranger:
        assert stranger.get(f"Observation/o{key}").status_code == 404
    (event,) = events(server, user)
    assert told(event)["patient in context"] == ("not told",)
    assert f"q{key}" not in str(event)


def test_what_is_no_decision_names_none(server: Live, key: str) -> None:
    with server.bearing("nonsense") as stranger:
        assert stranger.get("Patient/x").status_code == 401
    with server.client("auditor", "Practitioner/auditor", "org1") as auditor:
        found = auditor.get("AuditEvent?outcome=4&_sort=-_lastUpdated&_count=1").json()["entry"][0]["resource"]
    assert details_of(found) is None


CLAIMS = [
    ("Purpose-Of-Use", "TREAT", "HTTP 404 purpose-mismatch:TREAT not-found"),
    ("X-Purpose-Of-Use", f"{ACT_REASON}|TREAT", "HTTP 404 purpose-mismatch:TREAT not-found"),
    ("X-Purpose-Of-Use", "张三 13800000000", "HTTP 404 purpose-mismatch not-found"),
    ("X-Purpose-Of-Use", "HRESCH", "HTTP 404 not-found"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "value", "described"), CLAIMS)
def test_a_purpose_in_a_header_changes_nothing_and_is_noted(
    server: Live, key: str, header: str, value: str, described: str
) -> None:
    """Scenario B6: the token wins."""
    user = f"Practitioner/dr{key}"
    with server.client("practitioner", user, purpose="HRESCH") as doctor:
        refused = doctor.get(f"Observation/o{key}", headers={header.encode(): value.encode()})
    assert refused.status_code == 404
    (event,) = events(server, user)
    assert (event["outcomeDesc"], event["purposeOfEvent"][0]["coding"][0]["code"]) == (described, "HRESCH")


def test_a_mismatch_is_noted_of_what_is_done_as_well(server: Live, key: str) -> None:
    user = f"Practitioner/dr{key}"
    with server.client("practitioner", user) as doctor:
        assert doctor.get(f"Observation/o{key}", headers={"X-Purpose-Of-Use": "ETREAT"}).status_code == 200
    (event,) = events(server, user)
    assert (event["outcome"], event["outcomeDesc"]) == ("0", "HTTP 200 purpose-mismatch:ETREAT")


def test_no_header_or_the_same_purpose_is_no_mismatch() -> None:
    assert remark({}, "TREAT") is None
    assert remark({"purpose-of-use": "TREAT", "x-purpose-of-use": "urn:x|TREAT"}, "TREAT") is None


def predicates() -> list[Predicate]:
    a, b = (AnyOf(Attribute.CUSTODIAN, frozenset({each})) for each in "ab")
    return [EVERYTHING, NOTHING, a, b, negate(a), all_of(a, negate(b)), either(a, b), either(a, negate(b))]


def test_predicates_have_the_same_digest_if_they_are_equal_and_only_then() -> None:
    one, two = ([digest(Permitted(lambda type, each=each: each), "x") for each in predicates()] for _ in "12")  # type: ignore[misc]
    assert one == two
    assert len(set(one)) == len(one)
    assert len({bound(one[0], "e1"), bound(one[0], "e2"), bound(one[1], "e1")}) == 3


@pytest.mark.parametrize(
    ("count", "named"), [(0, "0"), (1, "1"), (2, "2-10"), (10, "2-10"), (11, "11-100"), (1001, ">1000")]
)
def test_a_count_is_told_as_a_class(count: int, named: str) -> None:
    assert count_class(count) == named
