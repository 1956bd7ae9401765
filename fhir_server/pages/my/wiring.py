"""The routes of the patients' pages."""

from __future__ import annotations

from starlette.routing import Route

from fhir_server.auth.accounts.reception import Reception
from fhir_server.auth.accounts.wiring import guarded
from fhir_server.auth.server.authority import Authority
from fhir_server.pages.my.access import PATH as ACCESS
from fhir_server.pages.my.access import Access
from fhir_server.pages.my.authorizations import Authorizations
from fhir_server.pages.my.entering import ALONG, HOME, SIGN_IN, SIGN_OUT, Entering


def routes(desk: Reception, authority: Authority) -> list[Route]:
    """Return the routes below [origin]/my, and the one that leads there from sign-in."""
    entering, authorizations, access = Entering(desk, authority), Authorizations(desk), Access(desk)
    return [
        Route("/my", guarded(authorizations.all), methods=["GET"]),
        Route(SIGN_IN, guarded(entering.get), methods=["GET"]),
        Route(SIGN_IN, guarded(entering.post), methods=["POST"]),
        Route(ALONG, guarded(entering.along), methods=["GET"]),
        Route(SIGN_OUT, guarded(entering.leave), methods=["POST"]),
        Route(HOME, guarded(authorizations.all), methods=["GET"]),
        Route(HOME + "/{id}", guarded(authorizations.detail), methods=["GET"]),
        Route(HOME + "/{id}", guarded(authorizations.post), methods=["POST"]),
        Route(HOME + "/{id}/revoke", guarded(authorizations.ask), methods=["GET"]),
        Route(ACCESS, guarded(access.get), methods=["GET"]),
    ]
