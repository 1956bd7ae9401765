"""What a custodian is told of how a Consent is enforced."""

from datetime import UTC, datetime

import pytest

from consent_engine.enforcement import Enforcement, Found, Status, enforcement
from consent_engine.reasons import Reason
from tests.consent_engine.build import ACT_CODE, SCOPE, T0, actor, concept, consent, deny, permit, read
from tests.consent_engine.test_proxies import CHILD, P3, R1, by, proxy

PERMIT = consent(permit())
KNOWN = {R1: proxy(), P3: CHILD}
OPTOUT = concept(ACT_CODE, "OPTOUT")
TOLD = [
    ("in force", PERMIT, Status.ENFORCED, []),
    ("only for research", {**PERMIT, "scope": concept(SCOPE, "research")}, Status.ENFORCED, []),
    ("starting later", consent(permit(period={"start": "2027"})), Status.ENFORCED, []),
    ("A3 ended", {**PERMIT, "status": "inactive"}, Status.IGNORED, [("", "status", Reason.STATUS)]),
    (
        "A4 for treatment",
        {**PERMIT, "scope": concept(SCOPE, "treatment")},
        Status.IGNORED,
        [("", "scope", Reason.SCOPE)],
    ),
    (
        "A5 its period is over",
        consent(permit(period={"end": "2026-06-14"})),
        Status.LAPSED,
        [("provision", "period", Reason.ENDED)],
    ),
    (
        "A8 contradictory",
        {**PERMIT, "policyRule": OPTOUT},
        Status.CONTRADICTORY,
        [("", "policyRule", Reason.CONTRADICTION)],
    ),
    (
        "C7 an unknown extension",
        consent(permit(extension=[{"url": "urn:x"}])),
        Status.UNSUPPORTED,
        [("provision", "extension", Reason.UNKNOWN_ELEMENT)],
    ),
    (
        "unusable as a whole",
        {**PERMIT, "modifierExtension": [{"url": "urn:x"}]},
        Status.UNSUPPORTED,
        [("", "modifierExtension", Reason.MODIFIER_EXTENSION)],
    ),
    (
        "parts that are in doubt",
        consent(permit(purpose=[{"code": "TREAT"}], provision=[deny(actor=[actor("Group/1")])])),
        Status.UNSUPPORTED,
        [("provision", "purpose", Reason.CODING), ("provision.provision[0]", "actor", Reason.GROUP)],
    ),
    ("saying nothing", consent({}), Status.UNSUPPORTED, [("", "provision", Reason.EMPTY)]),
    ("without provision and rule", consent(), Status.UNSUPPORTED, [("", "provision", Reason.EMPTY)]),
    ("given by somebody unknown", by("RelatedPerson/R2"), Status.UNSUPPORTED, [("", "performer", Reason.PROXY)]),
]


@pytest.mark.parametrize(("json", "status", "reasons"), [row[1:] for row in TOLD], ids=[row[0] for row in TOLD])
def test_a_custodian_is_told_how_a_consent_is_enforced(json, status, reasons):
    assert enforcement(read(json), T0) == Enforcement(status, tuple(Found(*each) for each in reasons))


def test_h2_a_custodian_is_told_that_the_proxy_lapsed():
    given = read(by(R1), facts=KNOWN)
    assert enforcement(given, datetime(2027, 12, 31, tzinfo=UTC)).status is Status.ENFORCED
    lapsed = enforcement(given, datetime(2028, 1, 1, tzinfo=UTC))
    assert lapsed == Enforcement(Status.LAPSED, (Found("", "performer", Reason.LAPSED),))


def test_an_instant_needs_a_zone():
    with pytest.raises(ValueError, match="time zone"):
        enforcement(read(PERMIT), datetime(2026, 6, 15))
