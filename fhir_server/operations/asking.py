"""Somebody who might ask for a record, as the parameters of $explain-access describe them."""

from __future__ import annotations

from collections.abc import Iterable

from fhir_server.auth.requester import ID, INSTITUTIONAL, USER_TYPES, Requester, Role, is_reference
from fhir_server.auth.scopes import Scopes
from fhir_server.errors import InvalidSearchValue
from fhir_server.interactions.call import Services
from fhir_server.operations.definition import Invocation
from fhir_server.operations.judging import Asker
from fhir_server.store.resources import Document

# As wide as any: what a token's scopes leave is another question.
WIDEST = Scopes.parse("user/*.cruds patient/*.cruds system/*.cruds")
ROLES = {
    "Practitioner": Role.PRACTITIONER,
    "PractitionerRole": Role.PRACTITIONER,
    "Patient": Role.PATIENT,
    "RelatedPerson": Role.RELATED_PERSON,
    **dict.fromkeys(("Device", "Organization", "Endpoint"), Role.SYSTEM),
}


async def asker_of(use: Services, asked: Invocation, document: Document) -> Asker:
    """Return the one whom the parameters name; of no institution they say, of the one that keeps the record.

    Raises InvalidSearchValue if they do not fit together.
    """
    user = str(asked.one("user"))
    type = user.partition("/")[0]
    try:
        role = Role(asked.one("role")) if asked.one("role") else ROLES[type]
    except (KeyError, ValueError):
        raise InvalidSearchValue("user is a reference to a user, role a role that such a user can have.") from None
    if not is_reference(user, USER_TYPES[role]):
        raise InvalidSearchValue(f"The user of the role {role} is a {' or '.join(sorted(USER_TYPES[role]))}.")
    own = user.removeprefix("Organization/") if type == "Organization" else document["org"]
    requester = Requester(
        role=role,
        user=user,
        organization=_id(asked, "organization") or own,
        purpose=_purpose(asked),
        scopes=WIDEST,
        patient=user if role is Role.PATIENT else None,
        department=_id(asked, "department") if role in INSTITUTIONAL else None,
    )
    return await _asker(use, requester)


async def askers(use: Services, asked: Invocation, actors: Iterable[str]) -> list[Asker]:
    """Return those whom Consents name as actors: each as who is nothing else, and a group as one of its members."""
    return [await _asker(use, _actor(each, _purpose(asked)), frozenset({each})) for each in actors]


def _actor(reference: str, purpose: str) -> Requester:
    type, _, id = reference.partition("/")
    role = ROLES.get(type, Role.PRACTITIONER)
    return Requester(
        role=role,
        user=reference,
        organization=id if type == "Organization" else "",
        purpose=purpose,
        scopes=WIDEST,
        patient=reference if role is Role.PATIENT else None,
    )


async def _asker(use: Services, requester: Requester, only: frozenset[str] | None = None) -> Asker:
    subject = requester.subject
    keys = await use.gatekeeper.persons.keys([subject.removeprefix("Patient/")]) if subject else {}
    own = frozenset(keys.values())
    if only is not None:
        return Asker(requester, "r", only - requester.actors, own, own)
    epochs = await use.gatekeeper.sources.consents.epochs()
    belongs = await use.gatekeeper.sources.memberships.of(requester, epochs.memberships, use.clock())
    spoken = await use.gatekeeper.sources.spoken(requester, use.clock())
    return Asker(requester, "r", belongs - requester.actors, own, own, spoken)


def _purpose(asked: Invocation) -> str:
    return str(asked.one("purpose") or "TREAT")


def _id(asked: Invocation, name: str) -> str | None:
    """Return the id of the Organization that a parameter names. Raises InvalidSearchValue if it is none."""
    given = asked.one(name)
    if given is None:
        return None
    id = str(given).removeprefix("Organization/")
    if not ID.fullmatch(id):
        raise InvalidSearchValue(f"{name} is a reference to an Organization.")
    return id
