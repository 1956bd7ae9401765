"""fhir-facade token."""

from __future__ import annotations

from typing import Annotated

import typer

from fhir_server.app import bearer_of, keyring_of
from fhir_server.auth.requester import Role
from fhir_server.commands.installation import Data, Organization
from fhir_server.settings import Settings


def token(
    role: Annotated[Role, typer.Option(help="What the user is.")],
    user: Annotated[str, typer.Option(help="Reference to the user, such as Practitioner/dr-zhang, Patient/pat-a-001.")],
    organization: Organization,
    purpose: Annotated[str, typer.Option(help="Purpose of use: one code of v3 PurposeOfUse.")] = "TREAT",
    scope: Annotated[str, typer.Option(help='SMART scopes, v1 or v2, such as "user/*.rs".')] = "user/*.cruds",
    patient: Annotated[
        str | None, typer.Option(help="Reference to the Patient in context, for patient/ scopes.")
    ] = None,
    department: Annotated[str | None, typer.Option(help="Id of the department's Organization.")] = None,
    practitioner_role: Annotated[str | None, typer.Option(help="Reference to the PractitionerRole.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for an emergency access (purpose ETREAT or BTG).")] = None,
    btg: Annotated[
        bool, typer.Option("--btg", help="The user may break the glass, where FHIR_EMERGENCY_ENTITLEMENT asks for it.")
    ] = False,
    lifetime: Annotated[int, typer.Option(help="Seconds until it expires.", min=1)] = 8 * 3600,
    data: Data = None,
) -> None:
    """Print a signed bearer token and nothing else, for local work and tests."""
    claims = {
        "role": str(role),
        "fhirUser": user,
        "org": organization,
        "purpose": purpose,
        "scope": scope,
        "patient": patient,
        "department": department,
        "practitionerRole": practitioner_role,
        "reason": reason,
        "btg": btg or None,
    }
    given = {name: value for name, value in claims.items() if value is not None}
    typer.echo(bearer_of(keyring_of(Settings.load(data))).issue(given, lifetime=lifetime))
