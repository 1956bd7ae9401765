"""Every setting of the server, in one typed object that is read once at start.

Where a setting comes from, the first that has it: an option of the command line, the environment (FHIR_ and the name in
capitals), `settings.toml` in the data folder, the default. An unknown name in the file or a bad value stops the start.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import tzlocal
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

import terminology
from fhir_server.auth.accounts.provider import Provider
from fhir_server.pages.prompt.callers import PromptCaller

PREFIX = "FHIR_"
FILE = "settings.toml"
LABELS = Path(terminology.__file__).with_name("sensitivity")


class SettingsError(ValueError):
    """The settings cannot be used; the message names each one at fault and where it was set, never a value."""


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is not a time zone of the IANA database, such as Asia/Shanghai") from None
    return name


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("is not an absolute http or https URL without query and fragment")
    return url.rstrip("/")


def _listed(value: Any) -> Any:
    """Split a text, which is how the environment writes a set: "a, b"."""
    return [part for part in value.replace(",", " ").split() if part] if isinstance(value, str) else value


def _network(text: str) -> str:
    try:
        return str(ip_network(text)) if "/" in text else str(ip_network(text).network_address)
    except ValueError:
        raise ValueError("is neither an IP address nor a network, such as 10.1.2.0/24") from None


# NoDecode: the environment's text comes to `_listed` as it is, not through a JSON parser.
Ids = Annotated[frozenset[Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,64}$")]], NoDecode, BeforeValidator(_listed)]
References = Annotated[frozenset[str], NoDecode, BeforeValidator(_listed)]
Networks = Annotated[frozenset[Annotated[str, AfterValidator(_network)]], NoDecode, BeforeValidator(_listed)]


class Settings(BaseSettings):
    """The settings of one installation. Frozen; made by `Settings.load`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        validate_default=True,
        env_ignore_empty=True,
    )

    data: Path = Field(
        Path("var"), description="Folder of this installation: keyring, settings.toml, embedded MongoDB, logs."
    )
    key_custody: str = Field(
        "file",
        pattern=r"^(file|socket:/.+)$",
        description="Who holds the keyring. file: this server, in the data folder. socket:/path: a custodian that answers "
        "at this Unix socket.",
    )
    mongodb_uri: str | None = Field(
        None,
        repr=False,
        pattern=r"^mongodb(\+srv)?://",
        description="Connection string of a MongoDB replica set or sharded cluster. Without it the data folder's own "
        "embedded MongoDB is used.",
    )
    database: str = Field(
        "fhir", pattern=r"^[A-Za-z0-9_-]{1,38}$", description="Name of the MongoDB database that holds the records."
    )
    host: str = Field("127.0.0.1", min_length=1, description="Address that the server listens on.")
    port: int = Field(8080, ge=1, le=65535, description="Port that the server listens on.")
    workers: int = Field(1, ge=1, le=256, description="Number of worker processes.")
    base_url: Annotated[str, AfterValidator(_base)] | None = Field(
        None,
        description="Public base URL of the FHIR API, as clients see it behind a proxy. Default: http://host:port/fhir, "
        "https with a certificate.",
    )
    tls_certificate: Path | None = Field(
        None,
        description="File with the server's certificate and those above it, in PEM. With it the server speaks TLS 1.2 and "
        "1.3 and nothing else; without it HTTP, for a proxy on the same machine.",
    )
    tls_key: Path | None = Field(
        None, description="File with the private key of the certificate, in PEM. Default: that of the certificate."
    )
    trusted_proxies: Networks = Field(
        frozenset(),
        description="Addresses and networks of the proxies or gateways whose X-Forwarded-For is believed; from anywhere "
        "else the header counts for nothing. Default: 127.0.0.1 and ::1.",
    )
    integrity_key: Path | None = Field(
        None,
        description="File with the public SM2 key under which the program's files were signed. With it the server verifies "
        "them when it starts, and does not start if one was changed, added or is missing.",
    )
    zone: Annotated[str, AfterValidator(_zone)] = Field(
        default_factory=tzlocal.get_localzone_name,
        description="Time zone (IANA name, such as Asia/Shanghai) in which dates and times without an offset are read, in "
        "records, searches and Consents alike. Default: that of the machine, as FHIR R4 Search has it; the database "
        "remembers it.",
    )
    page_size: int = Field(50, ge=1, description="Entries on a page of search results if the request has no _count.")
    max_page_size: int = Field(500, ge=1, le=10_000, description="Most entries on a page, whatever _count asks for.")
    max_body_bytes: int = Field(
        32 * 1024 * 1024, ge=1024, description="Largest request body in bytes; a larger one is refused with status 413."
    )
    implicit_policy: Literal["treatment", "deny"] = Field(
        "treatment",
        description="What holds without a Consent. treatment: an institution's own clinicians and systems see its own "
        "records for treatment. deny: nobody sees anything.",
    )
    conflict_mode: Literal["deny-overrides", "newest-wins"] = Field(
        "deny-overrides",
        description="What holds where several Consents of a patient speak of the same. deny-overrides: a denial. "
        "newest-wins: the Consent with the newest dateTime.",
    )
    person_search: bool = Field(
        True,
        description="Whether patient= and subject= in a search mean the person, and so also find permitted records "
        "that refer to the same person's Patients of other institutions. If false they are literal.",
    )
    strictest_label: bool = Field(
        True,
        description="Whether every version of a resource is judged by the strictest security label it ever carried. If "
        "false each version is judged by its own.",
    )
    labelling: bool = Field(
        True,
        description="Whether resources get sensitivity labels from the codes that they hold, by the value sets that come "
        "with the server.",
    )
    label_value_sets: Path | None = Field(
        None,
        description="Folder with a manifest.json and value sets of one's own by which resources get labels as well.",
    )
    trusted_consent_authorities: Ids = Field(
        frozenset(),
        description="Ids of the Organizations whose systems may store Consents that govern records of any custodian.",
    )
    update_as_create: bool = Field(
        True, description="Whether a PUT to an id that does not exist creates the resource under that id."
    )
    most_conditional_deletes: int = Field(
        1,
        ge=1,
        le=1_000,
        description="Most resources that one conditional delete may delete; one whose condition matches more is refused.",
    )
    most_examined: int = Field(
        200_000,
        ge=1,
        description="Most resources that a search may have to look through one by one, where no index answers it; a "
        "search that would look through more is refused as too costly.",
    )
    most_counted: int = Field(
        2_000_000,
        ge=1,
        description="Most resources that are counted for an exact total (_total=accurate, _summary=count); a request that "
        "would count more is refused as too costly.",
    )
    reporting_clients: References = Field(
        frozenset(),
        description="References of the systems that do statutory reporting, which needs no Consent.",
    )
    receiving_clients: References = Field(
        frozenset(),
        description="References of the systems, such as bridges, that may store what other institutions sent for a visit "
        "($receive).",
    )
    received_days: int = Field(
        30,
        ge=1,
        le=3_650,
        description="Days after a visit for which records are kept that were received from elsewhere for it; then they are "
        "purged by destroying their keys.",
    )
    authorization_requests_a_day: int = Field(
        10,
        ge=1,
        le=1_000,
        description="How often an institution may ask one patient for an authorization on a day, each sending again counted.",
    )
    authorization_pending_hours: int = Field(
        24, ge=1, le=720, description="Hours after which a request for an authorization that nobody answers expires."
    )
    remind_days: int = Field(
        7, ge=1, le=90, description="Days before an authorization ends at which the patient is reminded of it."
    )
    outbox_retention_days: int = Field(
        90,
        ge=1,
        le=3_650,
        description="Days after which an entry of the outbox is removed, even if a consumer was not told of it yet.",
    )
    message_stand_in: bool = Field(
        False,
        description="Whether messages to patients, such as codes by SMS, go nowhere but to a page of this server that "
        "operators see: for trials. Without it no way of verification is offered that needs messages.",
    )
    access_token_seconds: int = Field(
        300, ge=10, le=3_600, description="Seconds that an access token of the authorization server is valid."
    )
    offline_access_days: int = Field(
        90, ge=1, le=3_650, description="Days until an app with offline_access has to be approved anew."
    )
    online_access_hours: int = Field(
        12, ge=1, le=720, description="Hours until an app with online_access has to be approved anew."
    )
    session_minutes: int = Field(
        60, ge=1, le=1_440, description="Minutes that somebody stays signed in on the pages of this server."
    )
    emergency_minutes: int = Field(
        60,
        ge=1,
        le=1_440,
        description="Minutes for which a stated reason opens the records of a patient in an emergency (break-glass), "
        "from the first that was opened; then another reason is needed.",
    )
    emergency_entitlement: bool = Field(
        False,
        description="Whether only those break the glass whose token says that they are entitled to (claim btg): accounts "
        "that were given a purpose for emergencies, doctors of whom their EMR's assertion says so.",
    )
    audit_retention_days: int = Field(
        10_958,
        ge=183,
        description="Days that AuditEvents are kept at least; fhir-facade audit expire removes older ones.",
    )
    emergency_retention_days: int | None = Field(
        None,
        ge=183,
        description="Days that emergency accesses stay on file once they are reviewed; none: as long as AuditEvents. What "
        "nobody has reviewed yet stays.",
    )
    most_exported: int = Field(
        100_000, ge=1, description="Most AuditEvents in one export from the audit desk; a search for more is refused."
    )
    consent_prompt_clients: tuple[PromptCaller, ...] = Field(
        (),
        description="Backend clients, such as booking systems, that may ask patients for an authorization by the page "
        "/consent-prompt, with the URLs that it leads back to: a list of tables.",
    )
    identity_providers: tuple[Provider, ...] = Field(
        (),
        description="OpenID Connect providers of institutions, at which their users may sign in: a list of tables.",
    )
    cors_origins: References = Field(
        frozenset(),
        description="Origins, such as https://app.example.org, whose pages may call this server beside those of "
        "registered apps.",
    )
    operators: References = Field(
        frozenset(),
        description="References of the users who operate this server: they may ask for the plan and cost of a search, and "
        "their active SearchParameters are put in force.",
    )

    @model_validator(mode="after")
    def _pages_fit(self) -> Settings:
        if self.page_size > self.max_page_size:
            raise ValueError("page_size is greater than max_page_size")
        return self

    @model_validator(mode="after")
    def _key_has_certificate(self) -> Settings:
        if self.tls_key and not self.tls_certificate:
            raise ValueError("tls_key is set without tls_certificate")
        return self

    @property
    def emergencies_kept_days(self) -> int:
        """Days that reviewed emergency accesses stay: longer than an app's approval, so that no old reason counts anew."""
        return max(self.emergency_retention_days or self.audit_retention_days, self.offline_access_days + 1)

    @property
    def label_folders(self) -> tuple[Path, ...]:
        """The folders with the value sets by which resources are labelled (labelling/manifest.py)."""
        ours = (LABELS,) if self.labelling else ()
        return (*ours, self.label_value_sets) if self.label_value_sets else ours

    @property
    def public_base(self) -> str:
        """The base URL of the FHIR API without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "https" if self.tls_certificate else "http"
        return self.base_url or f"{scheme}://{host}:{self.port}/fhir"

    @property
    def origin(self) -> str:
        """The URL above the FHIR API, without a trailing slash: of the sign-in, and the name of the token issuer."""
        return self.public_base.removesuffix("/fhir")

    @classmethod
    def load(cls, data: Path | None = None, **overrides: Any) -> Settings:
        """Return the settings for a data folder. Raises SettingsError.

        data: the folder; if None, that of FHIR_DATA or the default.
        overrides: what the command line sets, by name; None counts as not set.
        """
        folder = data or Path(os.environ.get(f"{PREFIX}DATA") or cls.model_fields["data"].default)
        filed = {name: value for name, value in _filed(folder / FILE).items() if name not in _in_environment()}
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**{**filed, **given, "data": folder})
        except ValidationError as error:
            raise SettingsError("\n".join(_faults(error, folder / FILE, filed, given))) from None


def _filed(path: Path) -> dict[str, Any]:
    """Return what the settings file says, which is nothing if there is none."""
    try:
        filed = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise SettingsError(f"{path} is not TOML: {error}.") from None
    if unknown := sorted(filed.keys() - Settings.model_fields.keys() | filed.keys() & {"data"}):
        raise SettingsError(f"{path} has settings that this file cannot have: {', '.join(unknown)}.")
    return filed


def _in_environment() -> set[str]:
    """Return the names of the settings that the environment sets; an empty variable sets nothing."""
    present = {name.upper() for name, value in os.environ.items() if value}
    return {name for name in Settings.model_fields if f"{PREFIX}{name}".upper() in present}


def _faults(error: ValidationError, path: Path, filed: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each fault: which setting, where it was set, what is wrong."""
    for fault in error.errors(include_input=False, include_context=False, include_url=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        source = "option" if name in given else str(path) if name in filed else f"environment {PREFIX}{name.upper()}"
        what = fault["msg"].removeprefix("Value error, ")
        yield f"Setting {name} ({source}): {what}." if name else f"Settings: {what}."
