"""What request headers mean.

Source: FHIR R4 RESTful API, "Managing Return Content", "Conditional Read", "Managing Resource Contention"; RFC 9110, 7240.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from consent_engine.vocabulary import PURPOSES
from fhir_server.errors import InvalidRequest, Unauthenticated
from fhir_server.interactions.call import Return
from fhir_server.interactions.transactions.entries import version_of

# Headers by which other systems claim a purpose of use. This one only notes that they claim another than the token.
PURPOSE = frozenset({"purpose-of-use", "x-purpose-of-use"})
# The headers that a call is made of; most requests have none of them.
SAYING = PURPOSE | {"prefer", "if-match", "if-none-match", "if-modified-since", "if-none-exist"}


def bearer(authorization: str | None) -> str:
    """Return the bearer token. Raises Unauthenticated if there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("An access token is needed: send it as 'Authorization: Bearer …'.")
    return token.strip()


def preferences(prefer: str | None) -> tuple[bool, Return]:
    """Return whether unknown parameters are to be left out (handling=lenient), and what a write is to return.

    >>> preferences("handling=lenient, return=minimal")
    (True, <Return.MINIMAL: 'minimal'>)
    """
    if not prefer:
        return False, Return.REPRESENTATION
    said = dict(
        (name.strip().lower(), value.strip().strip('"').lower())
        for part in prefer.replace(";", ",").split(",")
        for name, _, value in [part.partition("=")]
    )
    wanted = next((each for each in Return if each.value.lower() == said.get("return")), Return.REPRESENTATION)
    return said.get("handling") == "lenient", wanted


def remark(headers: Mapping[str, str], purpose: str) -> str | None:
    """Return what the log is to say of headers that claim another purpose of use than the token; None if none does.

    A purpose is what the token says (consent.md, D8): such headers change nothing. A claim is told only if it is a known
    code, bare or behind its system: "http://terminology.hl7.org/CodeSystem/v3-ActReason|TREAT".
    """
    if PURPOSE.isdisjoint(headers):
        return None
    claimed = {re.split(r"[|#:]", each.strip())[-1] for name in PURPOSE for each in headers.get(name, "").split(",")}
    others = sorted(claimed - {"", purpose})
    if not others:
        return None
    return f"purpose-mismatch:{others[0]}" if others[0] in PURPOSES else "purpose-mismatch"


def if_match(value: str | None) -> str | None:
    """Return the version number that If-Match names. Raises InvalidRequest if it names none."""
    if value is None:
        return None
    version = version_of(value)
    if not version.isdecimal():
        raise InvalidRequest('If-Match needs one version, such as W/"3".')
    return version


def if_none_exist(value: str | None) -> str | None:
    """Return the search that If-None-Exist holds; its bytes may be UTF-8. Raises InvalidRequest if they are not."""
    try:
        return None if value is None else value.encode("latin-1").decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest("If-None-Exist cannot be read: percent-encode it as UTF-8.") from error


def if_none_match(value: str | None) -> frozenset[str]:
    """Return the version numbers that If-None-Match names; "*" stands for any (RFC 9110, 13.1.2)."""
    return frozenset(version_of(each) for each in value.split(",") if each.strip()) if value else frozenset()


def if_modified_since(value: str | None) -> datetime | None:
    """Return the date of If-Modified-Since; None when there is none that can be read (RFC 9110: then it is ignored)."""
    try:
        found = parsedate_to_datetime(value) if value else None
    except (TypeError, ValueError):
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
