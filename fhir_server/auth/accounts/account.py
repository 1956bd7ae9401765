"""An account: who signs in, what this server takes them for, and for which purposes they may ask."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhir_server.auth.requester import ID, INSTITUTIONAL, USER_TYPES, Requester, Role, is_reference
from fhir_server.auth.scopes import Scopes

# For which purposes (v3 PurposeOfUse) an account of a role may ask, unless its operator says otherwise.
PURPOSES = {
    Role.PRACTITIONER: ("TREAT",),
    Role.PATIENT: ("PATRQT",),
    Role.RELATED_PERSON: ("FAMRQT",),
    Role.AUDITOR: ("HOPERAT",),
}
# Roles that see many people's records or the log: a password alone does not open their accounts.
SECOND_FACTOR = frozenset({Role.PRACTITIONER, Role.AUDITOR})
# Purposes that break the glass: the user states why (auth/policy.py, rule 4).
REASONED = frozenset({"ETREAT", "BTG"})
LONGEST_LOGIN = 128


class InvalidAccount(ValueError):
    """An account that cannot be; the message says which part and why, without its value."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account.

    login: as typed; it is compared in the form of `folded`. user: the FHIR resource that stands for them, a relative
    reference. organization, department: ids of Organizations. purposes: codes that they may ask for; the first is usual.
    """

    id: str
    login: str
    name: str
    role: Role
    user: str
    organization: str
    purposes: tuple[str, ...]
    department: str | None = None
    practitioner_role: str | None = None
    phone: str | None = None

    @property
    def needs_second_factor(self) -> bool:
        return self.role in SECOND_FACTOR

    def claims(self, purpose: str, reason: str | None = None) -> dict[str, Any]:
        """Return what a token says of this account (auth/bearer.py), scopes and patient aside."""
        staff = self.role in INSTITUTIONAL
        said = {
            "role": str(self.role),
            "fhirUser": self.user,
            "org": self.organization,
            "purpose": purpose,
            "department": self.department if staff else None,
            "practitionerRole": self.practitioner_role if staff else None,
            "reason": reason,
            # Whoever was given a purpose for emergencies was given the right to break the glass.
            "btg": True if purpose in REASONED else None,
        }
        return {name: value for name, value in said.items() if value is not None}

    def requester(self, scope: str = "", purpose: str | None = None, reason: str | None = None) -> Requester:
        """Return the requester that this account is, with these scopes: what a token for it would make."""
        return Requester(
            role=self.role,
            user=self.user,
            organization=self.organization,
            purpose=purpose or self.purposes[0],
            scopes=Scopes.parse(scope),
            patient=self.user if self.role is Role.PATIENT else None,
            department=self.department,
            practitioner_role=self.practitioner_role,
            reason=reason,
        )


def folded(login: str) -> str:
    """Return the form in which login names are compared.

    >>> folded(" Dr.Li "), folded("ｌｉ")
    ('dr.li', 'li')
    """
    return unicodedata.normalize("NFKC", login).strip().casefold()


def checked(account: Account) -> Account:
    """Return the account if it can be one. Raises InvalidAccount."""
    if not 0 < len(folded(account.login)) <= LONGEST_LOGIN:
        raise InvalidAccount(f"the login name has 1 to {LONGEST_LOGIN} characters")
    if account.role not in PURPOSES:
        raise InvalidAccount(f"the role is one of {', '.join(PURPOSES)}: systems are clients, not users")
    if not is_reference(account.user, USER_TYPES[account.role]):
        types = " or ".join(sorted(USER_TYPES[account.role]))
        raise InvalidAccount(f"fhirUser of a {account.role} is a reference to {types}, such as {types.split()[0]}/1")
    for id in (account.organization, account.department):
        if id is not None and not ID.fullmatch(id):
            raise InvalidAccount("organization and department are ids of Organizations, without the type")
    role = account.practitioner_role
    if role is not None and not is_reference(role, frozenset({"PractitionerRole"})):
        raise InvalidAccount("practitionerRole is a reference such as PractitionerRole/1")
    if not account.purposes or not all(each.isascii() and each.isalnum() for each in account.purposes):
        raise InvalidAccount("purposes are codes of the v3 PurposeOfUse value set, such as TREAT")
    return account


def packed(account: Account) -> dict[str, Any]:
    """Return an account, without its id, as it is sealed."""
    said = {
        "login": account.login,
        "name": account.name,
        "role": str(account.role),
        "user": account.user,
        "organization": account.organization,
        "purposes": list(account.purposes),
        "department": account.department,
        "practitionerRole": account.practitioner_role,
        "phone": account.phone,
    }
    return {name: value for name, value in said.items() if value is not None}


def unpacked(id: str, said: Mapping[str, Any]) -> Account:
    """Return the account that `packed` packed."""
    return Account(
        id=id,
        login=said["login"],
        name=said["name"],
        role=Role(said["role"]),
        user=said["user"],
        organization=said["organization"],
        purposes=tuple(said["purposes"]),
        department=said.get("department"),
        practitioner_role=said.get("practitionerRole"),
        phone=said.get("phone"),
    )
