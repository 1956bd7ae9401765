"""The requester: who asks, for whom, what for; all of it from a verified token (consent.md, D8)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from enum import StrEnum

from fhir_server.auth.scopes import Scopes

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


class Role(StrEnum):
    """What the user is to this server; the role policy starts from it."""

    PRACTITIONER = "practitioner"
    PATIENT = "patient"
    RELATED_PERSON = "related-person"
    SYSTEM = "system"
    AUDITOR = "auditor"


# The resource types that may stand for a user of each role.
USER_TYPES = {
    Role.PRACTITIONER: frozenset({"Practitioner", "PractitionerRole"}),
    Role.PATIENT: frozenset({"Patient"}),
    Role.RELATED_PERSON: frozenset({"RelatedPerson"}),
    Role.SYSTEM: frozenset({"Device", "Organization", "Endpoint"}),
    Role.AUDITOR: frozenset({"Practitioner", "Person", "PractitionerRole"}),
}

# Roles that act as part of their institution: what a Consent grants the institution, it grants them.
INSTITUTIONAL = frozenset({Role.PRACTITIONER, Role.SYSTEM})


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks, as the token says.

    user: relative reference. organization, department: ids of Organizations. purpose: a v3 PurposeOfUse code.
    patient: relative reference to the Patient in context. reason: why the glass is broken, for emergency purposes.
    token: the token's id (jti). client: id of the registered client that it was issued to. grant: id of the grant that it
    stands on; a revoked grant ends all tokens that stand on it. key: kid of the key that has signed the token.
    stated: when what it says was stated, the reason too, in seconds since 1970. entitled: whether it says that the user may
    break the glass. Both are asked before the gate decides, which sees the reason only if it counts.
    """

    role: Role
    user: str
    organization: str
    purpose: str
    scopes: Scopes
    patient: str | None = None
    department: str | None = None
    practitioner_role: str | None = None
    reason: str | None = None
    token: str = ""
    client: str | None = None
    grant: str | None = None
    key: str | None = None
    stated: float = field(default=0, compare=False)
    entitled: bool = field(default=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work the hash out once: each request looks several things up by its requester."""
        object.__setattr__(self, "_hash", hash(tuple(getattr(self, name) for name in COMPARED)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def actors(self) -> frozenset[str]:
        """Every reference by which a Consent's provision.actor can mean this requester."""
        found = {self.user}
        if self.role in INSTITUTIONAL:
            found.add(f"Organization/{self.organization}")
            if self.department:
                found.add(f"Organization/{self.department}")
            if self.practitioner_role:
                found.add(self.practitioner_role)
        return frozenset(found)

    @property
    def subject(self) -> str | None:
        """The Patient whose records are the requester's own: the user of a patient's token."""
        return self.user if self.role is Role.PATIENT else None

    @property
    def identity(self) -> str:
        """All that decides what this requester may see, as one text; caches and cursors are bound to it."""
        parts = (self.role, self.user, self.organization, self.department, self.practitioner_role, self.purpose)
        return "\x1f".join(str(part or "") for part in (*parts, self.patient, self.reason, self.scopes, self.client))


COMPARED = tuple(each.name for each in fields(Requester) if each.compare)


def is_reference(text: str, types: frozenset[str]) -> bool:
    """Return whether text is a relative reference "Type/id" to one of the types."""
    type, _, id = text.partition("/")
    return type in types and ID.fullmatch(id) is not None
