"""The store cannot be used: every answer says so as FHIR says it, and in the form that was asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from fhir_server.app import assemble, bearer_of, create_app, keyring_of
from fhir_server.settings import Settings
from fhir_server.xml.read import from_xml

NOWHERE = "mongodb://127.0.0.1:1"
CLAIMS = {"role": "system", "fhirUser": "Device/emr", "org": "org1", "purpose": "TREAT", "scope": "system/*.cruds"}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, httpx.Response]:
    """What is answered to each request."""
    return asyncio.run(_answers(tmp_path_factory.mktemp("installation")))


async def _answers(folder: Path) -> dict[str, httpx.Response]:
    settings = Settings.load(folder)
    keyring = keyring_of(settings)
    parts = assemble(settings, keyring, uri=NOWHERE)
    await parts.client.close()  # from here on every use of the store fails at once
    app = create_app(settings, parts, keyring)
    known = {"Authorization": f"Bearer {bearer_of(keyring).issue(CLAIMS, lifetime=60)}"}
    asked: dict[str, tuple[str, dict[str, str]]] = {
        "stranger": ("Patient/p1", {}), "stranger in XML": ("Patient/p1?_format=xml", {}), "read": ("Patient/p1", known),
        "read in XML": ("Patient/p1?_format=xml", known), "search": ("Patient", known), "metadata": ("metadata", {}),
    }  # fmt: skip
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://here/fhir/", timeout=60
    ) as client:
        told = await asyncio.gather(*(client.get(path, headers=headers) for path, headers in asked.values()))
    return dict(zip(asked, told, strict=True))


@pytest.mark.parametrize("asked", ["stranger", "read", "read in XML", "search"])
def test_503_with_an_outcome_that_tells_nothing_but_a_number(answers: dict[str, httpx.Response], asked: str) -> None:
    answer = answers[asked]
    outcome = from_xml(answer.content) if "XML" in asked else answer.json()
    assert (answer.status_code, outcome["resourceType"]) == (503, "OperationOutcome")
    assert outcome["issue"][0]["code"] == "transient"
    assert "127.0.0.1" not in answer.text


def test_a_failure_before_anything_is_read_is_told_in_json(answers: dict[str, httpx.Response]) -> None:
    assert answers["stranger in XML"].status_code == 503
    assert answers["stranger in XML"].headers["Content-Type"] == "application/fhir+json; charset=utf-8"


def test_the_capabilities_are_told_all_the_same(answers: dict[str, httpx.Response]) -> None:
    assert answers["metadata"].status_code == 200
    assert answers["metadata"].json()["resourceType"] == "CapabilityStatement"
