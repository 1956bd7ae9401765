"""grant_type=client_credentials — RFC 6749, 4.4; SMART App Launch 2.2, "Backend Services".

The token stands for the client's system user, of the client's own institution: whatever it writes has that custodian.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir_server.auth.requester import Role
from fhir_server.auth.scopes import narrowed
from fhir_server.auth.server.authentication import Caller
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.authorizations import of_contexts
from fhir_server.auth.server.clients import Client
from fhir_server.auth.server.form import Form
from fhir_server.auth.server.problems import invalid_grant, invalid_scope
from fhir_server.store.commit import Unit

# Scopes that need a user.
OF_USERS = frozenset(
    {"openid", "fhirUser", "profile", "offline_access", "online_access", "launch/patient", "launch/encounter"}
)


async def answer(use: Authority, caller: Caller, form: Form) -> dict[str, Any]:
    """Return an access token for the client itself."""
    client = caller.client
    claims = {
        "role": str(Role.SYSTEM),
        "fhirUser": client.system_user,
        "org": client.organization,
        "purpose": purpose_of(client, caller.said),
        "scope": scope_of(form.needed("scope"), client, frozenset({"system"})),
    }
    access = await use.minting.access(claims, subject=client.id, client=client.id, grant=client.generation)
    unit = Unit()
    await use.recorder.add("token", access.requester, unit)
    await use.committer.commit(unit)
    return access.answer


def scope_of(asked: str, client: Client, contexts: frozenset[str]) -> str:
    """Return what a client may have, in these contexts, of the scopes that it asks for.

    Raises invalid_scope if that is nothing.
    """
    scope = of_contexts(narrowed(asked, " ".join(client.scopes)), contexts)
    kept = " ".join(word for word in scope.split() if word not in OF_USERS)
    if not kept:
        named = " and ".join(sorted(f"{context}/" for context in contexts))
        raise invalid_scope(f"None of the scopes is registered for this client. Here {named} can be asked for.")
    return kept


def purpose_of(client: Client, said: Mapping[str, Any]) -> str:
    """Return the purpose of use that a statement names, or else the client's default. Raises invalid_grant.

    A purpose is never guessed: one that is not registered for the client is refused.
    """
    purpose = said.get("purpose", client.purposes[0])
    if purpose not in client.purposes:
        raise invalid_grant(f"purpose has to be one that is registered for this client: {', '.join(client.purposes)}.")
    return str(purpose)
