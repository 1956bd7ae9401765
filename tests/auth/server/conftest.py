"""A running server whose authorization server the tests open beside it, and usual apps on it."""

from __future__ import annotations

import pytest

from fhir_server.auth.server.clients import Kind
from tests.auth.server.apps import App, Desk, app
from tests.live import Live


@pytest.fixture(scope="module")
def desk(server: Live, mongo_uri: str) -> Desk:
    return Desk(server, mongo_uri)


@pytest.fixture(scope="module")
def public_app(desk: Desk) -> App:
    return app(desk)


@pytest.fixture(scope="module")
def backend(desk: Desk) -> App:
    return app(desk, Kind.BACKEND)
