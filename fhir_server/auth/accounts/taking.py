"""What each form does that a page sends: it moves the visit on, or says what is wrong, field by field.

What a form may choose is checked against what the page could have offered; a form that was changed on the way chooses
nothing more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from fhir_server.auth.accounts.account import REASONED
from fhir_server.auth.accounts.reception import Errors, Reception, Visit
from fhir_server.auth.accounts.signing_in import Failed
from fhir_server.auth.accounts.steps import NO_ENCOUNTER, Step, needs_patient
from fhir_server.pages.words import LANGUAGES

LONGEST_REASON = 200
LONGEST_SEARCH = 128


class Form(NamedTuple):
    """A form as it was sent: single values, and the ticked scopes."""

    values: Mapping[str, str]
    scopes: frozenset[str]


class Taken(NamedTuple):
    """The visit after a form, what is wrong with it, and what was searched for."""

    visit: Visit
    errors: Errors = ()
    searched: str | None = None


Take = Callable[[Reception, Visit, Form], Awaitable[Taken]]


async def sign_in(desk: Reception, visit: Visit, form: Form) -> Taken:
    login, password = form.values.get("login", ""), form.values.get("password", "")
    found = await desk.signing_in.password(login[:LONGEST_REASON], password, visit.source)
    if isinstance(found, Failed):
        return Taken(visit, _failed(visit, found, "login", "sign_in_wrong"))
    return Taken(await visit.entered(desk, found))


async def code(desk: Reception, visit: Visit, form: Form) -> Taken:
    if visit.signed is None or visit.step(desk) is not Step.CODE:
        return Taken(visit)
    found = await desk.signing_in.code(visit.signed, form.values.get("code", ""))
    if isinstance(found, Failed):
        return Taken(visit, _failed(visit, found, "code", "code_wrong"))
    return Taken(await visit.entered(desk, found))


async def enrol(desk: Reception, visit: Visit, form: Form) -> Taken:
    if visit.signed is None or visit.step(desk) is not Step.ENROL or visit.flow.secret is None:
        return Taken(visit)
    found = await desk.signing_in.enrol(visit.signed, visit.flow.secret, form.values.get("code", ""))
    if isinstance(found, Failed):
        return Taken(visit, _failed(visit, found, "code", "code_wrong"))
    return Taken(await visit.entered(desk, found))


async def purpose(desk: Reception, visit: Visit, form: Form) -> Taken:
    if not _identified(desk, visit) or visit.signed is None:
        return Taken(visit)
    chosen = form.values.get("purpose", "")
    reason = " ".join(form.values.get("reason", "").split())[:LONGEST_REASON]
    if chosen not in visit.signed.account.purposes:
        return Taken(visit, _wrong(visit, "purpose", "purpose_missing"))
    if chosen in REASONED and not reason:
        return Taken(visit, _wrong(visit, "reason", "reason_missing"))
    stated = reason if chosen in REASONED else None
    fixed = visit.flow.launched or {}
    return Taken(
        await visit.kept(
            desk, purpose=chosen, reason=stated, patient=fixed.get("patient"), encounter=fixed.get("encounter")
        )
    )


async def search(desk: Reception, visit: Visit, form: Form) -> Taken:
    text = form.values.get("q", "").strip()[:LONGEST_SEARCH]
    if not _may_pick(desk, visit) or not text:
        return Taken(visit)
    return Taken(await visit.kept(desk, patient=None, encounter=None), searched=text)


async def patient(desk: Reception, visit: Visit, form: Form) -> Taken:
    if not _may_pick(desk, visit):
        return Taken(visit)
    picking, id = visit.picking(desk), form.values.get("patient", "")
    if not id:
        return Taken(visit, _wrong(visit, "q", "patient_missing"))
    offered = await picking.patient(id) if picking.searches else None
    if not picking.searches:
        offered = next((each for each in await picking.own() if each.id == id), None)
    if offered is None:
        return Taken(visit, _wrong(visit, "q", "patient_hidden"))
    return Taken(await visit.kept(desk, patient=offered.id, encounter=None))


async def encounter(desk: Reception, visit: Visit, form: Form) -> Taken:
    id, of = form.values.get("encounter", ""), visit.flow.patient
    if not _may_pick(desk, visit, "encounter") or of is None:
        return Taken(visit)
    if id != NO_ENCOUNTER and await visit.picking(desk).visit(id, of) is None:
        return Taken(visit, _wrong(visit, "encounter", "encounter_missing"))
    return Taken(await visit.kept(desk, encounter=id))


# By the value of the button. "allow", "deny" and "cancel" leave the pages: authorize.py.
TAKES: Mapping[str, Take] = {
    "sign-in": sign_in,
    "code": code,
    "enrol": enrol,
    "purpose": purpose,
    "search": search,
    "patient": patient,
    "encounter": encounter,
}


def _identified(desk: Reception, visit: Visit) -> bool:
    """Return whether it is settled who is there, and for which app; what is chosen later can be chosen again."""
    return visit.step(desk) in (Step.PURPOSE, Step.LAUNCH, Step.PATIENT, Step.ENCOUNTER, Step.APPROVE)


def _may_pick(desk: Reception, visit: Visit, what: str = "patient") -> bool:
    """Return whether the user is to choose a patient, or an encounter: an EMR's context cannot be changed."""
    if visit.asked is None or visit.flow.purpose is None or not _identified(desk, visit):
        return False
    given = visit.asked.launch is not None and (visit.flow.launched is None or what in visit.flow.launched)
    return not given and needs_patient(visit.asked.scopes)


def _failed(visit: Visit, failed: Failed, field: str, key: str) -> Errors:
    if failed.wait:
        return ((field, LANGUAGES[visit.flow.lang]("waiting", seconds=failed.wait)),)
    return _wrong(visit, field, key)


def _wrong(visit: Visit, field: str, key: str) -> Errors:
    return ((field, LANGUAGES[visit.flow.lang](key)),)
