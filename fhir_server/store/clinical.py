"""When a record happened or applies, as far as it says."""

from __future__ import annotations

import math
from typing import Any

from fhir_server.search.project import Projection

# Date parameters that say when a record happened or applies, best first; the shared "date" parameter
# (http://hl7.org/fhir/SearchParameter/clinical-date) covers most types.
CLINICAL_TIME = [
    "date",
    "onset-date",
    "recorded-date",
    "authoredon",
    "authored-on",
    "authored",
    "effective",
    "effective-time",
    "whenhandedover",
    "whenprepared",
    "period",
    "occurrence",
    "occurrence-date",
    "started",
    "created",
    "issued",
    "sent",
    "event",
]


def clinical_time(found: Projection) -> dict[str, Any] | None:
    """Return when the record happened or applies, as {lo, hi}; None when it says nothing of it."""
    for code in CLINICAL_TIME:
        if spans := found.ranges.get(code):
            lows, highs = [span.lo for span in spans], [span.hi for span in spans]
            return {
                "lo": min(-math.inf if low is None else low for low in lows),
                "hi": max(math.inf if high is None else high for high in highs),
            }
    return None
