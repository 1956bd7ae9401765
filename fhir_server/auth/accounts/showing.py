"""The page of each step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from starlette.responses import Response

from fhir_server.auth.accounts.account import REASONED
from fhir_server.auth.accounts.codes import address, picture
from fhir_server.auth.accounts.reception import Errors, Reception, Visit
from fhir_server.auth.accounts.sessions import form_token
from fhir_server.auth.accounts.steps import NO_ENCOUNTER, Step
from fhir_server.auth.requester import Role
from fhir_server.auth.server.authorizations import for_role
from fhir_server.pages.rendering import page
from fhir_server.pages.words import LANGUAGES

ACTION = "/auth/authorize"
FIXED = frozenset({"launch", "launch/patient", "launch/encounter"})


class Form(NamedTuple):
    """What every form of a page carries."""

    token: str
    flow: str
    action: str = ACTION


class Shown(NamedTuple):
    """What a page is made of beside what all have: its template and its values."""

    template: str
    values: Mapping[str, Any]


Show = Callable[[Reception, Visit, str | None], Awaitable[Shown]]


async def show(
    desk: Reception, visit: Visit, step: Step, *, errors: Errors = (), searched: str | None = None
) -> Response:
    """Return the page of a step. searched: what was looked for among patients."""
    shown = await SHOWS[step](desk, visit, searched)
    return page(
        shown.template,
        visit.flow.lang,
        status=400 if errors else 200,
        leads_to=[visit.asked.redirect_uri] if visit.asked else [],
        errors=errors,
        again=f"{ACTION}?flow={quote(visit.flow.token)}&",
        signed_in=visit.signed.account.name if visit.signed and step is not Step.SIGN_IN else None,
        app=visit.asked.client.name if visit.asked else None,
        form=Form(form_token(desk.vault, visit.cookie), visit.flow.token),
        **shown.values,
    )


async def sign_in(desk: Reception, visit: Visit, searched: str | None) -> Shown:
    hint = visit.asked.login_hint if visit.asked else None
    return Shown("sign_in", {"login": hint or "", "providers": desk.providers.offered})


async def code(desk: Reception, visit: Visit, searched: str | None) -> Shown:
    return Shown("code", {})


async def enrol(desk: Reception, visit: Visit, searched: str | None) -> Shown:
    words, secret = LANGUAGES[visit.flow.lang], visit.flow.secret or ""
    login = visit.signed.account.login if visit.signed else ""
    uri = address(secret, login, urlsplit(desk.origin).netloc)
    return Shown("enrol", {"secret": secret, "picture": picture(uri, words("enrol_picture"))})


async def purpose(desk: Reception, visit: Visit, searched: str | None) -> Shown:
    purposes = visit.signed.account.purposes if visit.signed else ()
    return Shown(
        "purpose", {"purposes": purposes, "chosen": purposes[0], "reasoned": bool(REASONED.intersection(purposes))}
    )


async def patient(desk: Reception, visit: Visit, searched: str | None) -> Shown:
    picking = visit.picking(desk)
    found, more = await picking.patients(searched) if searched else (await picking.own(), False)
    asked = searched is not None or not picking.searches
    return Shown(
        "patient",
        {"searchable": picking.searches, "q": searched or "", "found": found, "more": more, "asked": asked},
    )


async def encounter(desk: Reception, visit: Visit, searched: str | None) -> Shown:
    found = await visit.picking(desk).visits(visit.flow.patient) if visit.flow.patient else []
    return Shown("encounter", {"found": found})


async def approve(desk: Reception, visit: Visit, searched: str | None) -> Shown:
    assert visit.asked
    assert visit.signed
    scopes = for_role(visit.asked.scope, visit.signed.account.role).split()
    name, seen = await _context(desk, visit)
    values = {
        "purpose": visit.flow.purpose,
        "reason": visit.flow.reason,
        "patient": name,
        "encounter": seen,
        "lasting": _lasting(scopes),
        "returns": _origin(visit.asked.redirect_uri),
        "fixed": sorted({LAUNCH for each in scopes if each in FIXED}),
        "optional": [each for each in scopes if each not in FIXED],
    }
    return Shown("approve", values)


async def home(desk: Reception, visit: Visit, searched: str | None) -> Shown:
    enrolled = bool(visit.signed and visit.signed.kept.secret)
    role = visit.signed.account.role if visit.signed else None
    leads = {"audits": role is Role.AUDITOR, "patients": role in (Role.PATIENT, Role.RELATED_PERSON)}
    return Shown("home", {"home": True, "enrolled": enrolled, **leads, "kept": ()})


LAUNCH = "launch"
SHOWS: Mapping[Step, Show] = {
    Step.SIGN_IN: sign_in,
    Step.CODE: code,
    Step.ENROL: enrol,
    Step.PURPOSE: purpose,
    Step.PATIENT: patient,
    Step.ENCOUNTER: encounter,
    Step.APPROVE: approve,
    Step.HOME: home,
}


async def _context(desk: Reception, visit: Visit) -> tuple[str | None, str | None]:
    """Return patient and visit as the page names them. One that the user may not see is named by its id alone."""
    patient, encounter = visit.flow.patient, visit.flow.encounter
    if patient is None:
        return None, None
    picking = visit.picking(desk)
    found = await picking.patient(patient)
    name = f"{found.name} {found.born}".strip() if found else ""
    if encounter in (None, NO_ENCOUNTER):
        return name or patient, None
    seen = await picking.visit(encounter or "", patient)
    return name or patient, f"{seen.when} {seen.what}".strip() if seen else encounter


def _lasting(scopes: list[str]) -> str:
    if "offline_access" in scopes:
        return "lasting_offline"
    return "lasting_online" if "online_access" in scopes else "lasting_short"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
