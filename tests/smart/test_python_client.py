"""fhirclient, SMART's own client for Python: its OAuth flow with PKCE, refreshing, and Backend Services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fhirclient.client import FHIRClient
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException, FHIRPermissionDeniedException, FHIRUnauthorizedException

from tests.smart.cast import PASSWORD
from tests.smart.world import World, world

SCOPE = "launch/patient patient/Patient.rs patient/Observation.rs offline_access"


@pytest.fixture(scope="module")
def smart(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(mongo_uri, tmp_path_factory.mktemp("installation")) as made:
        yield made


def app(smart: World, **settings: Any) -> FHIRClient:
    usual = {"app_id": "chart", "api_base": smart.base, "redirect_uri": smart.redirect, "scope": SCOPE}
    return FHIRClient(settings={**usual, **settings})


def approve(smart: World, client: FHIRClient, login: str, choose: str = "p1") -> None:
    """Open the URL that the library asks for, approve, and hand the library the URL that it leads to."""
    person = smart.person(login)
    answer = person.approve(person.http.get(client.authorize_url), choose=choose)
    client.handle_callback(answer.headers["location"])


def test_the_flow_with_pkce(smart: World) -> None:
    client = app(smart)
    assert not client.prepare()
    approve(smart, client, "doctor1", choose="p2")
    assert client.ready
    assert client.patient.name[0].text == "刘小红"
    found = Observation.where({"patient": client.patient_id}).perform_resources_iter(client.server)
    assert {each.id for each in found} == {"laboratory-2", "vital-signs-2"}
    with pytest.raises(FHIRNotFoundException):
        Patient.read("p1", client.server)


def test_refreshing(smart: World) -> None:
    client = app(smart)
    client.prepare()
    approve(smart, client, "doctor1")
    before = client.server.auth.access_token
    assert client.reauthorize()
    assert client.server.auth.access_token != before
    assert client.patient_id == "p1"
    assert Patient.read("p1", client.server).id == "p1"


def test_an_app_with_a_secret(smart: World) -> None:
    client = app(smart, app_id="portal", app_secret=PASSWORD)
    client.prepare()
    approve(smart, client, "doctor1")
    assert client.patient.name[0].text == "王小明"


def test_an_app_launched_by_the_emr(smart: World) -> None:
    launch = smart.launch().json()["launch"]
    client = app(smart, scope="launch patient/Patient.rs patient/Observation.rs", launch_token=launch)
    client.prepare()
    approve(smart, client, "doctor1")
    assert (client.patient_id, client.launch_context["encounter"]) == ("p1", "e1")


def test_a_refusal_reaches_the_app(smart: World) -> None:
    client = app(smart)
    client.prepare()
    person = smart.person("doctor1")
    answer = person.deny(person.http.get(client.authorize_url))
    with pytest.raises(Exception, match="did not allow"):
        client.handle_callback(answer.headers["location"])
    assert not client.ready


def test_a_changed_state_is_not_taken(smart: World) -> None:
    client = app(smart)
    client.prepare()
    person = smart.person("doctor1")
    location = httpx.URL(person.approve(person.http.get(client.authorize_url)).headers["location"])
    with pytest.raises(Exception, match="Invalid state"):
        client.handle_callback(str(location.copy_set_param("state", "another")))


def test_a_backend_service(smart: World) -> None:
    client = app(smart, app_id="emr", scope="system/Patient.rs", jwt_token=smart.assertion("emr"))
    client.prepare()
    client.authorize()
    assert {each.id for each in Patient.where({}).perform_resources_iter(client.server)} == {"p1", "p2"}
    with pytest.raises((FHIRNotFoundException, FHIRPermissionDeniedException)):
        Observation.read("laboratory-1", client.server)


def test_a_revoked_token_is_refused(smart: World) -> None:
    client = app(smart)
    client.prepare()
    approve(smart, client, "doctor1")
    fields = {"token": client.server.auth.refresh_token, "client_id": "chart"}
    assert smart.form(fields, smart.configuration["revocation_endpoint"]).status_code == 200
    with pytest.raises(FHIRUnauthorizedException):
        Patient.read("p1", client.server)
