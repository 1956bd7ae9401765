"""EHR launch: the context that an EMR makes, for one user, one institution, one use."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from fhir_server.auth.server.clients import Client, Kind
from tests.auth.accounts.house import Browser, House
from tests.auth.accounts.test_authorize import patient, tampered, visit
from tests.auth.server.apps import KEYS

Json = dict[str, Any]
SCOPE = "launch patient/*.rs"


@pytest.fixture(scope="module")
def emr(hospital: House) -> str:
    """An EMR of org1 that may launch; "dumb", of org1 as well, may not."""
    for id, may in (("emr", True), ("dumb", False)):
        keys = {"keys": [KEYS["ES384"].as_dict(private=False)]}
        more = {"system_user": f"Device/{id}", "organization": "org1", "may_launch": may, "scopes": ("system/*.rs",)}
        hospital.register(Client(id, id, Kind.BACKEND, jwks=keys, **more))  # type: ignore[arg-type]
    return "emr"


def token(house: House, client: str | None = "emr", organization: str = "org1", role: str = "system") -> str:
    """Return a token as a client's own would be."""
    user = "Device/emr" if role == "system" else "Practitioner/1"
    more = {"client_id": client} if client else {}
    return house.server.token(role, user, organization, scope="system/*.rs", **more)


def post(house: House, body: Any, bearer: str | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return httpx.post(f"{house.origin}/auth/launch", json=body, headers=headers, timeout=60)


def launched(house: House, user: str, **context: Any) -> str:
    answer = post(house, {"user": user, **context}, token(house))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["launch"])


def opened(house: House, launch: str, browser: Browser, **changed: Any) -> Browser:
    return browser.ask(launch=launch, **{"scope": SCOPE, **changed})


def test_the_app_gets_the_context_of_the_emr(house: House, emr: str) -> None:
    doctor, id = house.doctor(), f"p{secrets.token_hex(4)}"
    house.server.put(patient(id), visit(f"v{id}", id))
    context = {"patient": id, "encounter": f"v{id}", "intent": "reconcile", "need_patient_banner": False}
    launch = launched(house, doctor.user, **context, fhirContext=["ImagingStudy/1"])
    browser = opened(house, launch, house.browser(doctor)).sign_in()
    assert "张三" in browser.text
    said = house.tokens(browser.press("allow").back["code"])
    assert context.items() <= said.items()
    assert said["fhirContext"] == [{"reference": "ImagingStudy/1"}]


def test_a_launch_is_of_one_use(house: House, emr: str) -> None:
    doctor = house.doctor()
    browser, launch = house.browser(doctor), launched(house, doctor.user, patient="p1")
    assert opened(house, launch, browser).sign_in().has("allow")
    assert opened(house, launch, browser).back["error"] == "invalid_request"


OTHERS = [("another user", {}), ("another institution", {"organization": "org2"})]


@pytest.mark.parametrize(("who", "said"), OTHERS)
def test_a_launch_is_for_its_user_alone(house: House, emr: str, who: str, said: dict[str, str]) -> None:
    doctor = house.doctor()
    launch = launched(house, doctor.user, patient="p1")
    stranger = house.doctor(doctor.user if said else None, **said)
    browser = house.browser(stranger)
    back = opened(house, launch, browser).sign_in().back
    unknown = opened(house, "unknown", browser).back
    assert back == unknown
    assert back["error"] == "invalid_request"
    assert opened(house, launch, house.browser(doctor)).sign_in().back["error"] == "invalid_request"


def test_a_launch_for_one_app_opens_no_other(house: House, emr: str) -> None:
    doctor = house.doctor()
    launch = launched(house, doctor.user, patient="p1", client_id="other")
    assert opened(house, launch, house.browser(doctor)).sign_in().back["error"] == "invalid_request"


def test_a_launch_is_gone_after_five_minutes(house: House, emr: str) -> None:
    doctor = house.doctor()
    launch = launched(house, doctor.user, patient="p1")
    house.server.clock.now = datetime.now(UTC) + timedelta(minutes=6)
    assert opened(house, launch, house.browser(doctor)).sign_in().back["error"] == "invalid_request"


def test_the_context_cannot_be_changed_by_the_user(house: House, emr: str) -> None:
    doctor, id = house.doctor(), f"p{secrets.token_hex(4)}"
    house.server.put(patient(id), patient(f"x{id}"))
    launch = launched(house, doctor.user, patient=id)
    browser = opened(house, launch, house.browser(doctor)).sign_in()
    assert tampered(browser, "allow", step="patient", patient=f"x{id}").has("allow")
    assert house.tokens(browser.press("allow").back["code"])["patient"] == id


def test_a_launch_without_a_patient_leaves_the_choice_to_the_user(house: House, emr: str) -> None:
    doctor = house.doctor()
    assert opened(house, launched(house, doctor.user), house.browser(doctor)).sign_in().has("search")


CALLERS = [
    (None, 401, "invalid_token"),
    ("damaged", 401, "invalid_token"),
    ({"client": None}, 403, "insufficient_scope"),
    ({"client": "dumb"}, 403, "insufficient_scope"),
    ({"client": "nobody"}, 403, "insufficient_scope"),
    ({"organization": "org2"}, 403, "insufficient_scope"),
    ({"role": "practitioner"}, 403, "insufficient_scope"),
]


@pytest.mark.parametrize(("caller", "status", "error"), CALLERS)
def test_only_a_registered_emr_makes_launches(house: House, emr: str, caller: Any, status: int, error: str) -> None:
    bearer = token(house, **caller) if isinstance(caller, dict) else caller
    answer = post(house, {"user": "Practitioner/1"}, bearer)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


BODIES: list[tuple[Any, str]] = [
    ({}, "user is needed"),
    ([], "JSON object"),
    ({"user": "Device/1"}, "user is"),
    ({"user": "Practitioner/1", "patient": "Patient/1"}, "patient is"),
    ({"user": "Practitioner/1", "encounter": "e1"}, "together with its patient"),
    ({"user": "Practitioner/1", "more": 1}, "Only these"),
    ({"user": "Practitioner/1", "intent": "x" * 300}, "intent is"),
    ({"user": "Practitioner/1", "fhirContext": ["x"]}, "fhirContext is"),
    ({"user": "Practitioner/1", "smart_style_url": "http://x.example.org/"}, "smart_style_url is"),
    ({"user": "Practitioner/1", "need_patient_banner": "no"}, "need_patient_banner is"),
]


@pytest.mark.parametrize(("body", "said"), BODIES)
def test_a_context_that_cannot_be_is_refused_with_the_reason(house: House, emr: str, body: Any, said: str) -> None:
    answer = post(house, body, token(house))
    assert answer.status_code == 400
    assert said in answer.json()["error_description"]
