"""grant_type=jwt-bearer — RFC 7523, 2.1: an EMR says under its own key for which of its doctors it asks.

What is claimed must be the institution's own: its Practitioner, PractitionerRole and department, each stored here by
that institution. Otherwise an EMR could name another institution's doctor, to whom patients have opened more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir_server.auth.bearer import InvalidClaims
from fhir_server.auth.own import is_department, stored_by
from fhir_server.auth.policy import CONTEXTS
from fhir_server.auth.requester import ID, USER_TYPES, Role, is_reference
from fhir_server.auth.server.assertions import Unacceptable
from fhir_server.auth.server.authentication import Caller
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.clients import ASSERTION, Client
from fhir_server.auth.server.form import Form
from fhir_server.auth.server.grant_types.credentials import purpose_of, scope_of
from fhir_server.auth.server.problems import OAuthProblem, invalid_grant, unauthorized_client
from fhir_server.store.commit import Unit

Claims = Mapping[str, Any]
LONGEST = 256  # characters


async def answer(use: Authority, caller: Caller | None, form: Form) -> dict[str, Any]:
    """Return an access token for the doctor whom an EMR speaks for. caller: the client, if it authenticated as well."""
    client, said = await _stated(use, caller, form)
    try:
        claims = await described(use, client, said, form.needed("scope"))
        subject = _text(said, "sub", needed=True)
        access = await use.minting.access(
            claims, subject=f"{client.id}/{subject}", client=client.id, grant=client.generation
        )
    except InvalidClaims as problem:
        raise await _refused(use, client, str(problem)) from None
    except OAuthProblem as problem:
        await use.recorder.refused("token", client, problem.status, problem.error)
        raise
    unit = Unit()
    await use.recorder.add("token", access.requester, unit, note="assertion")
    await use.committer.commit(unit)
    patient = claims.get("patient")
    return {**access.answer, **({"patient": patient.partition("/")[2]} if patient else {})}


async def _stated(use: Authority, caller: Caller | None, form: Form) -> tuple[Client, Claims]:
    try:
        client, said = await use.assertions.stated(form.needed("assertion"))
    except Unacceptable as problem:
        raise await _refused(use, problem.client, str(problem)) from None
    if caller is not None and caller.client.id != client.id:
        raise await _refused(use, client, "The assertion is that of another client than the one that authenticated.")
    if ASSERTION not in client.grant_types:
        await use.recorder.refused("token", client, 400, "unauthorized_client")
        raise unauthorized_client("This client is not registered to speak for its doctors.")
    return client, said


async def _refused(use: Authority, client: Client | None, why: str) -> OAuthProblem:
    await use.recorder.refused("token", client, 400, "invalid_grant")
    return invalid_grant(why)


async def described(use: Authority, client: Client, said: Claims, scope: str) -> dict[str, Any]:
    """Return the claims of the access token. Raises OAuthProblem."""
    role, org = said.get("role", str(Role.PRACTITIONER)), said.get("org", client.organization)
    if role != Role.PRACTITIONER:
        raise invalid_grant("role has to be practitioner, or left out.")
    if org != client.organization:
        raise invalid_grant("org has to be the Organization of this client.")
    claims = {
        "role": role,
        "fhirUser": _text(said, "fhirUser", needed=True).removeprefix(f"{use.base}/"),
        "org": org,
        "purpose": purpose_of(client, said),
        "scope": scope_of(scope, client, CONTEXTS[Role.PRACTITIONER]),
        "department": _text(said, "department"),
        "practitionerRole": _text(said, "practitionerRole"),
        "patient": _text(said, "patient"),
        "reason": _text(said, "reason"),
        "btg": True if said.get("btg") is True else None,
    }
    if not is_reference(str(claims["fhirUser"]), USER_TYPES[Role.PRACTITIONER]):
        raise invalid_grant("fhirUser has to be a reference to a Practitioner or a PractitionerRole.")
    await _check_own(use, claims)
    return {name: value for name, value in claims.items() if value is not None}


async def _check_own(use: Authority, claims: dict[str, Any]) -> None:
    """Refuse users and departments that the institution has not stored here as its own."""
    organization, department, role = claims["org"], claims["department"], claims["practitionerRole"]
    if role is not None and not is_reference(role, frozenset({"PractitionerRole"})):
        raise invalid_grant("practitionerRole has to be a reference to a PractitionerRole.")
    for name in ("fhirUser", "practitionerRole"):
        if claims[name] is not None and not await stored_by(use.database, use.marks, claims[name], organization):
            raise invalid_grant(f"{name} has to be a resource that the client's own Organization has stored here.")
    if department is None:
        return
    if ID.fullmatch(department) is None or not await is_department(use.database, use.marks, department, organization):
        raise invalid_grant("department has to be a department that the client's own Organization has stored here.")


def _text(said: Claims, name: str, *, needed: bool = False) -> Any:
    """Return a claim that is a text. Raises invalid_grant if it is none, or is needed and not there."""
    value = said.get(name)
    if value is None and not needed:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
        raise invalid_grant(f"{name} has to be a text of 1 to {LONGEST} characters.")
    return value
