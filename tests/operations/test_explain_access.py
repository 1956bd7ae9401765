"""$explain-access: who may see a resource, and why, for those who may know."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
import pytest

from consent_engine.vocabulary import OBLIGATION
from tests.consent_engine.build import ACT_CODE, ACT_REASON, HIV, actor, coding, codings, consent, deny, permit
from tests.live import Live, live

Json = dict[str, Any]
ORG2, DR2 = "Organization/org2", "Practitioner/dr2"


@pytest.fixture
def key(server: Live) -> str:
    """A key of a Patient p…, an Observation o… and an Appointment a… with Patient q…, all of org1."""
    key = secrets.token_hex(4)
    to = {"reference": f"Patient/p{key}"}
    both = [{"actor": {"reference": f"Patient/{each}{key}"}, "status": "accepted"} for each in "pq"]
    server.put(
        {"resourceType": "Patient", "id": f"p{key}"},
        {"resourceType": "Patient", "id": f"q{key}"},
        {"resourceType": "Observation", "id": f"o{key}", "status": "final", "code": {"text": "x"}, "subject": to},
        {"resourceType": "Appointment", "id": f"a{key}", "status": "proposed", "participant": both},
    )
    return key


def given(server: Live, key: str, provision: Json, *, of: str = "p", **elements: Any) -> str:
    """Store a Consent by the patient's own hand; return its reference with the version."""
    body = {
        **consent(provision),
        "category": [{"text": "x"}],
        "patient": {"reference": f"Patient/{of}{key}"},
        **elements,
    }
    with server.client("patient", f"Patient/{of}{key}") as own:
        answer = own.post("Consent", json=body)
        assert answer.status_code == 201, answer.text
        return f"Consent/{answer.json()['id']}/_history/1"


def plain(parts: list[Json]) -> list[tuple[str, Any]]:
    """Return parameters as pairs of name and value; a reference as its text, parts as pairs."""
    found = []
    for each in parts:
        (value,) = (said for name, said in each.items() if name != "name")
        if isinstance(value, list):
            value = dict(plain(value))
        found.append((each["name"], value["reference"] if isinstance(value, dict) and "reference" in value else value))
    return found


def told(answer: httpx.Response) -> list[tuple[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.json()["resourceType"] == "Parameters"
    return plain(answer.json()["parameter"])


def accesses(answer: httpx.Response) -> dict[str, tuple[str, str]]:
    """Return effect and rule by user."""
    return {each["user"]: (each["effect"], each["because"]) for name, each in told(answer) if name == "access"}


def access(answer: httpx.Response) -> Json:
    ((_, found),) = [each for each in told(answer) if each[0] == "access"]
    return dict(found)


@pytest.fixture
def auditor(server: Live) -> httpx.Client:
    return server.client("auditor", "Practitioner/auditor")


def test_without_a_consent_the_custodian_alone_is_told_of(server: Live, key: str, auditor: httpx.Client) -> None:
    with auditor, server.client("patient", f"Patient/p{key}") as own:
        for client in (auditor, own):
            found = client.get(f"Observation/o{key}/$explain-access")
            assert accesses(found) == {"Organization/org1": ("permit", "rule-1")}
            said = dict(told(found))
            assert said["resource"] == f"Observation/o{key}/_history/1"
            assert (said["mode"], said["implicit-policy"]) == ("deny-overrides", "treatment")
            assert "规则1" in access(found)["text"]
            assert "Rule 1" in access(found)["text-en"]


def test_all_whom_the_consents_name_are_told_of_with_what_they_say(
    server: Live, key: str, auditor: httpx.Client
) -> None:
    made = given(server, key, permit(actor=[actor(ORG2)], provision=[deny(actor=[actor(DR2)])]))
    with auditor, server.client("patient", f"Patient/p{key}") as own:
        for client in (auditor, own):
            found = client.get(f"Observation/o{key}/$explain-access")
            assert accesses(found) == {
                "Organization/org1": ("permit", "rule-1"),
                ORG2: ("permit", "rule-2"),
                # Alone, without the institution, the root provision does not mean the doctor.
                DR2: ("deny", "rule-2-missing"),
            }
            statement = {each["user"]: each["statement"] for name, each in told(found) if name == "access"}[ORG2]
            assert (statement["consent"], statement["provision"], statement["verdict"]) == (
                made,
                "provision",
                "permits",
            )


ONE = [
    ({"user": DR2, "organization": "org2"}, "deny", "rule-3"),
    ({"user": "Practitioner/dr3", "organization": ORG2}, "permit", "rule-2"),
    ({"user": "Practitioner/dr3", "organization": "org2", "purpose": "ETREAT"}, "permit", "rule-2"),
    ({"user": "Practitioner/dr3", "organization": "org2", "purpose": "HRESCH"}, "deny", "rule-2-missing"),
    ({"user": "Practitioner/dr3", "organization": "org3"}, "deny", "rule-2-missing"),
    ({"user": "Practitioner/dr3"}, "permit", "rule-1"),
    ({"user": "Practitioner/dr3", "purpose": "HRESCH"}, "deny", "implicit-policy"),
    ({"user": "Device/d", "organization": "org2"}, "permit", "rule-2"),
    ({"user": "Practitioner/a", "role": "auditor"}, "deny", "log"),
    ({"user": "RelatedPerson/r"}, "deny", "rule-2-missing"),
    ({"user": "Patient/other"}, "deny", "rule-2-missing"),
]


@pytest.mark.parametrize(("asked", "effect", "rule"), ONE)
def test_of_one_user_it_is_told_by_which_rule_and_a_read_agrees(
    server: Live, key: str, auditor: httpx.Client, asked: dict[str, str], effect: str, rule: str
) -> None:
    purposes = codings(ACT_REASON, "TREAT")
    given(server, key, permit(actor=[actor(ORG2)], purpose=purposes, provision=[deny(actor=[actor(DR2)])]))
    with auditor:
        found = access(auditor.get(f"Observation/o{key}/$explain-access", params=asked))
    assert (found["effect"], found["because"]) == (effect, rule)
    roles = {"Device": "system", "RelatedPerson": "related-person", "Patient": "patient"}
    role = asked.get("role") or roles.get(asked["user"].partition("/")[0], "practitioner")
    organization = asked.get("organization", "org1").removeprefix("Organization/")
    scope = {"system": "system/*.cruds", "patient": "patient/*.cruds"}.get(role, "user/*.cruds")
    with server.client(role, asked["user"], organization, asked.get("purpose", "TREAT"), scope=scope) as user:
        assert (user.get(f"Observation/o{key}").status_code == 200) == (effect == "permit")


def test_what_is_ignored_is_told_with_the_reason(server: Live, key: str, auditor: httpx.Client) -> None:
    made = given(server, key, permit(actor=[actor(ORG2)]), status="inactive")
    with auditor:
        asked = {"user": "Practitioner/dr3", "organization": "org2"}
        found = access(auditor.get(f"Observation/o{key}/$explain-access", params=asked))
    assert (found["effect"], found["because"]) == ("deny", "rule-2-missing")
    assert (found["statement"]["consent"], found["statement"]["verdict"]) == (made, "silent")
    assert found["statement"]["reason"] == "status is not active"


def test_at_an_instant_it_is_told_what_was_and_what_will_be(server: Live, key: str, auditor: httpx.Client) -> None:
    given(server, key, permit(actor=[actor(ORG2)], period={"end": "2099"}))
    effects = []
    with auditor:
        for at in ("2020-01-01T00:00:00Z", "2090-01-01T00:00:00Z", "2100-06-01T00:00:00Z"):
            asked = {"user": "Practitioner/dr3", "organization": "org2", "at": at}
            effects.append(access(auditor.get(f"Observation/o{key}/$explain-access", params=asked))["effect"])
    assert effects == ["deny", "permit", "deny"]


def test_a_patient_learns_of_others_only_that_their_permission_is_missing(
    server: Live, key: str, auditor: httpx.Client
) -> None:
    """The appointment is seen by the patient once the other patient lets them."""
    mine = given(server, key, permit(actor=[actor(ORG2)]))
    theirs = given(server, key, permit(actor=[actor(f"Patient/p{key}")]), of="q")
    asked = {"user": "Practitioner/dr3", "organization": "org2"}
    with server.client("patient", f"Patient/p{key}", scope="user/*.cruds") as own:
        assert own.get(f"Appointment/a{key}").status_code == 200
        answer = own.get(f"Appointment/a{key}/$explain-access", params=asked)
        whole = own.get(f"Appointment/a{key}/$explain-access")
    found = access(answer)
    assert (found["effect"], found["because"], found["statement"]["consent"]) == ("deny", "other-person", mine)
    for each in (answer, whole):
        assert theirs.split("/")[1] not in each.text
        assert f"q{key}" not in each.text
    with auditor:
        found = access(auditor.get(f"Appointment/a{key}/$explain-access", params=asked))
    assert (found["effect"], found["because"]) == ("deny", "rule-2-missing")


STRANGERS = [
    ("practitioner", "Practitioner/dr1", "org1", {}),
    ("system", "Device/emr-org1", "org1", {"scope": "system/*.cruds"}),
    ("patient", "Patient/other", "org1", {}),
    ("auditor", "Practitioner/auditor", "org2", {}),
    ("related-person", "RelatedPerson/r", "org1", {}),
]


@pytest.mark.parametrize(("role", "user", "organization", "claims"), STRANGERS)
def test_everybody_else_is_answered_as_for_what_does_not_exist(
    server: Live, key: str, role: str, user: str, organization: str, claims: dict[str, str]
) -> None:
    with server.client(role, user, organization, **claims) as client:
        there, never = (client.get(f"Observation/{id}/$explain-access") for id in (f"o{key}", "never"))
    assert there.status_code == never.status_code == 404
    assert there.content == never.content


def test_a_consent_that_another_institution_stored_for_its_own_records_is_not_told(
    server: Live, key: str, auditor: httpx.Client
) -> None:
    body = {**consent(permit(actor=[actor("Organization/org3")])), "category": [{"text": "x"}], "id": f"c{key}"}
    server.put({**body, "patient": {"reference": f"Patient/p{key}"}}, organization="org2")
    with auditor, server.client("patient", f"Patient/p{key}") as own:
        hidden, shown = (each.get(f"Observation/o{key}/$explain-access") for each in (auditor, own))
    assert "org3" not in hidden.text
    assert f"c{key}" not in hidden.text
    assert accesses(shown)["Organization/org3"] == ("deny", "rule-2-missing")


def test_the_explanation_is_a_disclosure_that_is_recorded(server: Live, key: str, auditor: httpx.Client) -> None:
    with auditor:
        assert auditor.get(f"Observation/o{key}/$explain-access").status_code == 200
        found = auditor.get("AuditEvent", params={"patient": f"Patient/p{key}", "subtype": "operation"}).json()
    assert found["entry"][0]["resource"]["agent"][0]["who"]["reference"] == "Practitioner/auditor"


@pytest.mark.parametrize(
    "asked",
    [
        {"user": "Observation/x"}, {"user": "x"}, {"user": DR2, "role": "patient"}, {"user": DR2, "role": "x"},
        {"user": DR2, "organization": "a b"}, {"at": "soon"}, {"organization": "org2"}, {"role": "system"},
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(server: Live, key: str, auditor: httpx.Client, asked: dict[str, str]) -> None:
    with auditor:
        answer = auditor.get(f"Observation/o{key}/$explain-access", params=asked)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "value")


def test_labels_and_classes_count(server: Live, key: str, auditor: httpx.Client) -> None:
    given(server, key, permit(actor=[actor(ORG2)], provision=[deny(securityLabel=[coding(*HIV)])]))
    server.put(
        {
            "resourceType": "Observation", "id": f"h{key}", "status": "final", "code": {"text": "x"},
            "subject": {"reference": f"Patient/p{key}"}, "meta": {"security": [coding(*HIV)]},
        }
    )  # fmt: skip
    with auditor:
        found = auditor.get(f"Observation/h{key}/$explain-access")
    ((_, each),) = [each for each in told(found) if each[0] == "access" and each[1]["user"] == ORG2]
    assert (each["effect"], each["because"]) == ("deny", "rule-3")
    assert each["statement"]["provision"] == "provision.provision[0]"


def test_an_operator_may_ask_of_every_record(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("operated")
    settings: Json = {"operators": {"Device/operator"}, "database": f"test_{secrets.token_hex(6)}"}
    with live(mongo_uri, folder, **settings) as server:
        server.put({"resourceType": "Patient", "id": "p"}, {"resourceType": "Organization", "id": "o"})
        with server.client("system", "Device/operator", "org9", scope="system/*.cruds") as operator:
            assert accesses(operator.get("Patient/p/$explain-access")) == {"Organization/org1": ("permit", "rule-1")}
            assert accesses(operator.get("Organization/o/$explain-access"))["Organization/org1"][1] == "directory"
            assert operator.get("Patient/never/$explain-access").status_code == 404


def test_what_is_left_out_is_told(server: Live, key: str, auditor: httpx.Client) -> None:
    """Obligations of a permit bind whom it lets in, not the patient."""
    without = {
        "url": OBLIGATION,
        "extension": [
            {"url": "obligation", "valueCoding": coding(ACT_CODE, "REDACT")},
            {"url": "element", "valueString": "Patient.telecom"},
        ],
    }
    given(server, key, permit(actor=[actor(ORG2)], extension=[without]))
    asked = {"user": "Practitioner/dr3", "organization": "org2"}
    with auditor:
        found = access(auditor.get(f"Patient/p{key}/$explain-access", params=asked))
        own = access(auditor.get(f"Patient/p{key}/$explain-access", params={"user": f"Patient/p{key}"}))
        record = access(auditor.get(f"Observation/o{key}/$explain-access", params=asked))
    assert (found["effect"], found["obligation"]) == ("permit", {"action": "REDACT", "element": "Patient.telecom"})
    assert "obligation" not in own
    assert "obligation" not in record


def test_of_what_somebody_belongs_to_only_that_is_told_which_the_consents_name(server: Live, key: str) -> None:
    doctor = f"Practitioner/m{key}"
    member = [{"entity": {"reference": doctor}}]
    server.put(
        {
            "resourceType": "CareTeam", "id": f"hidden{key}", "status": "active",
            "subject": {"reference": f"Patient/q{key}"}, "participant": [{"member": {"reference": doctor}}],
        },
        *({"resourceType": "Group", "id": f"{each}{key}", "type": "practitioner", "actual": True, "member": member}
          for each in ("named", "unnamed")),
        organization="org2",
    )  # fmt: skip
    given(server, key, permit(actor=[actor(f"Group/named{key}")]))
    with server.client("patient", f"Patient/p{key}") as own, server.client("auditor", "Practitioner/auditor") as log:
        for client in (own, log):
            found = client.get(f"Observation/o{key}/$explain-access", params={"user": doctor, "organization": "org2"})
            assert access(found)["effect"] == "permit"
            assert f"Group/named{key}" in found.text
            assert "unnamed" not in found.text
            assert "hidden" not in found.text


def test_a_bundle_is_explained_as_hidden_where_something_would_have_to_be_withheld(server: Live, key: str) -> None:
    entry = [{"resource": {"resourceType": "Patient", "id": f"p{key}"}, "fullUrl": f"{server.base}/Patient/p{key}"}]
    server.put({"resourceType": "Bundle", "id": f"b{key}", "type": "collection", "entry": entry})
    said = {
        "url": OBLIGATION,
        "extension": [
            {"url": "obligation", "valueCoding": coding(ACT_CODE, "REDACT")},
            {"url": "element", "valueString": "Patient.telecom"},
        ],
    }
    given(server, key, permit(actor=[actor("Practitioner/dr1")], extension=[said]))
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        assert doctor.get(f"Bundle/b{key}").status_code == 404
    with server.client("auditor", "Practitioner/auditor") as log:
        found = log.get(f"Bundle/b{key}/$explain-access", params={"user": "Practitioner/dr1"})
    assert access(found)["effect"] == "deny"
