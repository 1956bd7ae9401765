"""The apps, systems, people and records that the tests of SMART are about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhir_server.auth.accounts.account import Account
from fhir_server.auth.requester import Role
from fhir_server.auth.server.authentication import HASHER
from fhir_server.auth.server.clients import Client, Kind
from tests.consent_engine.build import actor, consent, permit
from tests.smart.keys import Pair

APP_ORIGIN = "https://app.example.org"
REDIRECT = f"{APP_ORIGIN}/index.html"
PASSWORD = "correct horse battery staple"
NEWCOMER = "newcomer"  # a doctor who has no second factor yet
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"  # of everybody's second factor

SCOPES = tuple(
    "launch launch/patient launch/encounter openid fhirUser profile offline_access online_access "
    "patient/*.cruds user/*.cruds".split()
)
SYSTEM_SCOPES = ("system/*.cruds",)


def apps(pairs: Mapping[str, Pair], redirect: str, jwks_uri: str) -> Iterator[Client]:
    """Yield the registered clients. jwks_uri: where the keys of "remote" are."""
    yield Client("chart", "病历应用", Kind.PUBLIC, (redirect,), scopes=SCOPES, post_logout_redirect_uris=(redirect,))
    yield Client("other", "另一个应用", Kind.PUBLIC, ("https://other.example.org/back",), scopes=SCOPES)
    yield Client("narrow", "检验应用", Kind.PUBLIC, (redirect,), scopes=("launch/patient", "patient/Observation.rs"))
    secret = HASHER.hash(PASSWORD)
    yield Client("portal", "门户", Kind.SYMMETRIC, (redirect,), scopes=SCOPES, secret_hash=secret)
    keys = {name: pair.public for name, pair in pairs.items()}
    yield Client("signing", "云端应用", Kind.ASYMMETRIC, (redirect,), scopes=SCOPES, jwks=keys["signing"])
    for id, organization in (("emr", "org1"), ("emr2", "org2"), ("remote", "org1")):
        yield Client(
            id,
            f"{organization} 的电子病历",
            Kind.BACKEND,
            scopes=(*SYSTEM_SCOPES, *SCOPES),
            jwks=None if id == "remote" else keys[id],
            jwks_uri=jwks_uri if id == "remote" else None,
            organization=organization,
            system_user=f"Device/{id}",
            purposes=("TREAT",),
            may_assert=True,
            may_launch=True,
        )


def people() -> Iterator[Account]:
    """Yield the accounts, each named by its login."""
    for number in range(1, 9):
        yield _account(f"doctor{number}", f"李医生{number}", Role.PRACTITIONER, f"Practitioner/d{number}", "TREAT")
    yield _account(NEWCOMER, "孙医生", Role.PRACTITIONER, "Practitioner/d8", "TREAT")
    yield _account("patient1", "王小明", Role.PATIENT, "Patient/p1", "PATRQT")
    yield _account("relative1", "王大明", Role.RELATED_PERSON, "RelatedPerson/r1", "FAMRQT")
    yield _account("doctor-two", "赵医生", Role.PRACTITIONER, "Practitioner/d9", "TREAT", organization="org2")


def _account(login: str, name: str, role: Role, user: str, purpose: str, organization: str = "org1") -> Account:
    return Account("", login, name, role, user, organization, (purpose,))


def records() -> Iterator[dict[str, Any]]:
    """Yield the records of org1: its doctors, and of two patients a visit, and results of a laboratory and a ward."""
    for number in range(1, 9):
        yield {"resourceType": "Practitioner", "id": f"d{number}", "name": [{"text": f"李医生{number}"}]}
    for number, name in ((1, "王小明"), (2, "刘小红")):
        patient = {"reference": f"Patient/p{number}"}
        identifier = [{"system": "https://org1.example.org/mrn", "value": f"MRN-{number}"}]
        yield {"resourceType": "Patient", "id": f"p{number}", "name": [{"text": name}], "identifier": identifier}
        visit = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
        yield {
            "resourceType": "Encounter",
            "id": f"e{number}",
            "status": "finished",
            "class": visit,
            "subject": patient,
        }
        for category in ("laboratory", "vital-signs"):
            yield _observation(f"{category}-{number}", category, patient)
    related = {"resourceType": "RelatedPerson", "id": "r1", "patient": {"reference": "Patient/p1"}}
    yield {**related, "relationship": [{"text": "父亲"}], "name": [{"text": "王大明"}]}
    yield agreed("c1", "Patient/p1", permit(actor=[actor("RelatedPerson/r1")]))


def agreed(id: str, patient: str, provision: dict[str, Any]) -> dict[str, Any]:
    """Return a Consent of a patient."""
    return consent(provision, id=id, category=[{"text": "共享"}], patient={"reference": patient})


def _observation(id: str, category: str, patient: dict[str, str]) -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "category": [{"coding": [{"system": system, "code": category}]}],
        "code": {"text": category},
        "subject": patient,
        "effectiveDateTime": "2026-01-01",
        "valueString": id,
    }
