"""How a Consent is enforced here: as the engine says, and whether what it obliges to withhold can be withheld."""

from __future__ import annotations

from datetime import datetime

from consent_engine.consent import Consent
from consent_engine.enforcement import Enforcement, Found, Status, enforcement
from consent_engine.reasons import Reason
from fhir_server.redaction.elements import is_element

JUDGED = frozenset({Status.ENFORCED, Status.UNSUPPORTED})


def enforced(consent: Consent, at: datetime) -> Enforcement:
    """Return how a Consent is enforced at an instant; an obligation on an element that R4 does not have is not supported."""
    found = enforcement(consent, at)
    unknown = tuple(
        Found(provision.path, "extension", Reason.OBLIGATION)
        for provision in consent.provisions()
        if not all(is_element(each.element) for each in provision.obligations)
    )
    if not unknown or found.status not in JUDGED:
        return found
    return Enforcement(Status.UNSUPPORTED, (*found.reasons, *unknown))
