"""What request headers mean. Source: FHIR R4 RESTful API, "Content Types and encodings", "Prefer"; RFC 9110; RFC 7240."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from fhir_server.errors import InvalidRequest, NotAcceptable, Unauthenticated, UnsupportedMedia
from fhir_server.interactions.bundle import version_of
from fhir_server.interactions.call import Return

JSON = "application/fhir+json"
JSON_TYPES = frozenset({JSON, "application/json", "application/json+fhir", "text/json", "json"})
FORM = "application/x-www-form-urlencoded"
ANY = frozenset({"*/*", "application/*"})


def bearer(authorization: str | None) -> str:
    """Return the bearer token. Raises Unauthenticated if there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("An access token is needed: send it as 'Authorization: Bearer …'.")
    return token.strip()


def check_accept(accept: str | None, format: str | None) -> None:
    """Raise NotAcceptable unless FHIR JSON is among what the client takes. _format beats the header."""
    wanted = format or accept
    if not wanted:
        return
    # In a URL an unescaped "+" reads as a space.
    types = {part.partition(";")[0].strip().lower().replace("fhir json", "fhir+json") for part in wanted.split(",")}
    if not types & (JSON_TYPES | ANY):
        raise NotAcceptable("This server answers in application/fhir+json.")


def check_content(content_type: str | None, *, form: bool = False) -> None:
    """Raise UnsupportedMedia unless the body is of a type that can be read here."""
    media = (content_type or "").partition(";")[0].strip().lower()
    if form and media != FORM:
        raise UnsupportedMedia(f"A search by POST is sent as {FORM}.")
    if not form and media not in JSON_TYPES:
        raise UnsupportedMedia(f"Send the body as {JSON}.")


def preferences(prefer: str | None) -> tuple[bool, Return]:
    """Return whether unknown parameters are to be left out (handling=lenient), and what a write is to return.

    >>> preferences("handling=lenient, return=minimal")
    (True, <Return.MINIMAL: 'minimal'>)
    """
    said = dict(
        (name.strip().lower(), value.strip().strip('"'))
        for part in (prefer or "").replace(";", ",").split(",")
        for name, _, value in [part.partition("=")]
    )
    wanted = next((each for each in Return if each.value == said.get("return")), Return.REPRESENTATION)
    return said.get("handling") == "lenient", wanted


def if_match(value: str | None) -> str | None:
    """Return the version number that If-Match names. Raises InvalidRequest if it names none."""
    if value is None:
        return None
    version = version_of(value)
    if not version.isdecimal():
        raise InvalidRequest('If-Match needs one version, such as W/"3".')
    return version


def if_none_match(value: str | None) -> frozenset[str]:
    """Return the version numbers that If-None-Match names; "*" stands for any (RFC 9110, 13.1.2)."""
    return frozenset(version_of(each) for each in (value or "").split(",") if each.strip())


def if_modified_since(value: str | None) -> datetime | None:
    """Return the date of If-Modified-Since; None when there is none that can be read (RFC 9110: then it is ignored)."""
    try:
        found = parsedate_to_datetime(value) if value else None
    except (TypeError, ValueError):
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
