"""What an institution may ask a patient for: what can be said in words, for a time that has an end."""

from __future__ import annotations

from datetime import datetime, timedelta

from fhir_server.consenting.asked import WAYS, Request
from fhir_server.consenting.words import ASKABLE_PURPOSES, ASKABLE_TYPES
from fhir_server.errors import InvalidRequest

# Long enough for a chronic disease, short enough that a patient is asked again.
LONGEST = timedelta(days=3 * 366)


def checked(request: Request, *, at: datetime) -> Request:
    """Return the request if a patient can be asked for it. Raises InvalidRequest, which says what to change."""
    if request.way not in WAYS:
        raise InvalidRequest(f"way is one of {', '.join(WAYS)}.", expression="way")
    if request.purpose not in ASKABLE_PURPOSES:
        raise InvalidRequest(f"purpose is one of {', '.join(ASKABLE_PURPOSES)}.", expression="purpose")
    if unknown := sorted(set(request.types) - ASKABLE_TYPES):
        told = f"A patient cannot be asked for these types: {', '.join(unknown)}. "
        raise InvalidRequest(f"{told}Leave type out for all, or name some of {', '.join(sorted(ASKABLE_TYPES))}.")
    if request.since and request.until and request.until < request.since:
        raise InvalidRequest("until, the end of the records' time, is before since.", expression="until")
    if not at < request.expires <= at + LONGEST:
        raise InvalidRequest(f"expires lies in the future, at most {LONGEST.days} days from now.", expression="expires")
    return request
