"""One institution's OpenID Connect provider, as the settings describe it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from fhir_server.auth.requester import Role

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _issuer(url: str) -> str:
    parts = urlsplit(url)
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not secure or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("is not an https URL without query and fragment, as the provider's configuration names it")
    return url


class Claims(BaseModel):
    """Which claims of the id token say what; a name that a provider does not send says nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str = Field(default="fhirUser", description="the reference of the resource that stands for the user")
    name: str = Field(default="name", description="the name that pages show")
    department: str = Field(default="department", description="the id of the department's Organization")
    practitioner_role: str = Field(
        default="practitionerRole", description="the reference of the user's PractitionerRole"
    )


class Provider(BaseModel):
    """A provider. It speaks for the users of its own institution, in one role.

    create: make an account for whoever signs in there for the first time; else only mapped accounts can.
    second_factor: whether the provider itself asks for one; else this server does. parameters: sent beside those of
    OpenID Connect, such as acr_values. scope: what is asked of the provider.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    name: str = Field(min_length=1, max_length=100)
    issuer: Annotated[str, AfterValidator(_issuer)]
    client_id: str = Field(min_length=1)
    secret_file: Path
    organization: str = Field(pattern=r"^[A-Za-z0-9.-]{1,64}$")
    role: Role = Role.PRACTITIONER
    scope: str = "openid profile"
    claims: Claims = Field(default_factory=Claims)
    purposes: tuple[str, ...] = ()
    parameters: dict[str, str] = Field(default_factory=dict)
    create: bool = False
    second_factor: bool = False

    @field_validator("role")
    @classmethod
    def _of_people(cls, role: Role) -> Role:
        if role is Role.SYSTEM:
            raise ValueError("is the role of clients, not of users")
        return role

    def secret(self) -> str:
        """Return the client secret that the file holds. Raises OSError."""
        return self.secret_file.read_text(encoding="utf-8").strip()
