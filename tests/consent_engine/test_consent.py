"""D1, D2: whether a Consent takes part, its base rule, what makes it unusable, and whom it could bear on."""

import pytest

from consent_engine.consent import ANYONE, MAX_DEPTH, bearers, read_consent
from consent_engine.dates import UTC
from consent_engine.predicate import EVERYTHING, NOTHING
from consent_engine.rules import combined
from tests.consent_engine.build import (
    ACT_CODE,
    SCOPE,
    actor,
    ask,
    coding,
    compiled,
    concept,
    consent,
    deny,
    permit,
    read,
    unreadable,
)
from tests.shared import examples

SOMEBODY = ask("Practitioner/Dr1")
OPTIN, OPTOUT = concept(ACT_CODE, "OPTIN"), concept(ACT_CODE, "OPTOUT")
UNKNOWN = concept("http://terminology.hl7.org/CodeSystem/consentpolicycodes", "nih-527")
ALL, NONE, SILENT = (EVERYTHING, NOTHING), (NOTHING, EVERYTHING), (NOTHING, NOTHING)

BASES = [
    ("root type permits", consent(permit()), ALL),
    ("root type denies", consent(deny()), NONE),
    ("policyRule permits", consent({}, policyRule=OPTIN), ALL),
    ("policyRule denies", consent({}, policyRule=OPTOUT), NONE),
    ("restricted opt-in permits", consent({}, policyRule=concept(ACT_CODE, "OPTINR")), ALL),
    ("opt-out with exceptions denies", consent({}, policyRule=concept(ACT_CODE, "OPTOUTE")), NONE),
    ("policyRule alone permits", consent(policyRule=OPTIN), ALL),
    ("policyRule alone denies", consent(policyRule=OPTOUT), NONE),
    ("both agree", consent(permit(), policyRule=OPTIN), ALL),
    ("unknown policyRule beside a type", consent(permit(), policyRule=UNKNOWN), ALL),
    ("unknown policyRule without a type", consent({}, policyRule=UNKNOWN), SILENT),
    ("unknown policyRule alone", consent(policyRule=UNKNOWN), SILENT),
    ("policyRule in words", consent(permit(), policyRule={"text": "as signed"}), ALL),
    ("neither", consent({}), SILENT),
    ("nothing at all", consent(), SILENT),
    ("policy.uri says nothing", consent(policy=[{"uri": "urn:opt-in"}]), SILENT),
    ("a permit without its system is not known", consent(policyRule={"coding": [{"code": "OPTIN"}]}), SILENT),
    ("a denial without its system denies", consent(policyRule={"coding": [{"code": "OPTOUT"}]}), NONE),
    ("exception to a permit", consent({"provision": [{}]}, policyRule=OPTIN), NONE),
    ("exception to a denial", consent({"provision": [{}]}, policyRule=OPTOUT), ALL),
    ("exception to nothing denies", consent({"provision": [{}]}), NONE),
    ("children of a root without effect", consent({"provision": [permit()]}), ALL),
]


@pytest.mark.parametrize(("json", "expected"), [row[1:] for row in BASES], ids=[row[0] for row in BASES])
def test_d2_the_base_rule_comes_from_policy_rule_or_root_type(json, expected):
    assert read(json).flaw is None
    assert combined([compiled(json, SOMEBODY)]) == expected


def nested(depth):
    return permit(provision=[nested(depth - 1)]) if depth else permit()


FLAWED = [
    ("permit under opt-out", consent(permit(), policyRule=OPTOUT)),
    ("denial under opt-in", consent(deny(), policyRule=OPTIN)),
    ("both directives", consent(policyRule=concept(ACT_CODE, "OPTIN", "OPTOUT"))),
    ("unknown root type", consent({"type": "allow"})),
    ("unknown nested type", consent(permit(provision=[{"type": "allow"}]))),
    ("two scopes", consent(permit(), scope=concept(SCOPE, "patient-privacy", "treatment"))),
    ("modifierExtension", consent(permit(), modifierExtension=[{"url": "urn:x"}])),
    ("modifierExtension deep inside", consent(permit(), verification=[{"modifierExtension": [{"url": "urn:x"}]}])),
    ("implicitRules", consent(permit(), implicitRules="urn:x")),
    ("provision is a list", consent([permit()])),
    ("provision is null", {**consent(policyRule=OPTIN), "provision": None}),
    ("nested provision is an object", consent(permit(provision=permit()))),
    ("nested provisions are empty", consent(permit(provision=[]))),
    ("nested provision is a text", consent(permit(provision=["deny"]))),
    ("policyRule is a text", consent(permit(), policyRule="OPTIN")),
    ("policyRule.coding is an object", consent(permit(), policyRule={"coding": coding(ACT_CODE, "OPTIN")})),
    ("nested too deep", consent(nested(MAX_DEPTH + 1))),
]


@pytest.mark.parametrize("json", [row[1] for row in FLAWED], ids=[row[0] for row in FLAWED])
def test_an_unusable_consent_forbids_everything_to_everyone(json):
    found = read(json)
    assert found.flaw
    assert bearers(found) == {ANYONE}
    assert combined([compiled(json, SOMEBODY), compiled(consent(permit()), SOMEBODY)]) == NONE


def test_provisions_may_be_nested_as_deep_as_is_said():
    assert combined([compiled(consent(nested(MAX_DEPTH)), SOMEBODY)]) == ALL


IGNORED = [
    ("no status", {"scope": concept(SCOPE, "patient-privacy")}),
    ("no scope", {"status": "active"}),
    ("scope in words", consent(permit(), scope={"text": "privacy"})),
    ("scope of another system", consent(permit(), scope=concept("urn:x", "patient-privacy"))),
    ("advance directive", consent(permit(), scope=concept(SCOPE, "adr"))),
    ("inactive and unusable", consent(permit(), status="inactive", policyRule=OPTOUT)),
]


@pytest.mark.parametrize("json", [row[1] for row in IGNORED], ids=[row[0] for row in IGNORED])
def test_d1_what_takes_no_part_says_why_and_bears_on_nobody(json):
    assert compiled(json, SOMEBODY).ignored
    assert bearers(read(json)) == frozenset()
    assert combined([compiled(json, SOMEBODY)]) == SILENT


@pytest.mark.parametrize(
    ("purpose", "expected"), [("TREAT", SILENT), ("HRESCH", ALL), ("CLINTRCH", ALL), ("mine", SILENT)]
)
def test_d1_a_research_consent_takes_part_for_research_only(purpose, expected):
    research = consent(permit(), scope=concept(SCOPE, "research"))
    assert combined([compiled(research, ask("Practitioner/Dr1", purpose=purpose))]) == expected
    unusable = {**research, "policyRule": OPTOUT}
    forbidden = combined([compiled(unusable, ask("Practitioner/Dr1", purpose=purpose))])[1]
    assert (forbidden == EVERYTHING) is (expected == ALL)


ORG1, DR1 = actor("Organization/Org1"), actor("https://example.org/fhir/Practitioner/Dr1/_history/2")
BEARERS = [
    (consent(permit(actor=[ORG1, DR1])), {"Organization/Org1", "Practitioner/Dr1"}),
    (consent(permit()), {ANYONE}),
    (consent(policyRule=OPTOUT), {ANYONE}),
    (consent(permit(actor=[ORG1], provision=[deny(), deny(actor=[DR1])])), {"Organization/Org1"}),
    (consent(permit(provision=[deny(actor=[DR1])])), {ANYONE, "Practitioner/Dr1"}),
    (consent({"provision": [permit(actor=[DR1])]}), {"Practitioner/Dr1"}),
    (consent({}), set()),
    (consent(deny(actor=[{"role": DR1["role"]}])), {ANYONE}),
]


@pytest.mark.parametrize(("json", "expected"), BEARERS)
def test_a_consent_is_filed_under_the_actors_it_could_bear_on(json, expected):
    assert bearers(read(json)) == expected


def test_what_is_not_understood_is_told_by_path():
    json = consent(permit(purpose=[{"code": "TREAT"}], provision=[deny(actor=[], resourceType=["x"])]))
    assert unreadable(read(json)) == (
        "provision: purpose: a coding needs a system and a code",
        "provision.provision[0]: resourceType",
        "provision.provision[0]: actor: not a list of objects",
    )


# What the engine makes of the specification's own examples: flaw, or whether something is unreadable.
EXAMPLES = {
    "consent-example-notOrg": "flaw",  # OPTIN beside a root type "deny"
    "consent-example-notThis": "unreadable",  # data meaning "related"
}


def test_the_examples_of_the_specification_are_read():
    made = {}
    for example in examples("Consent"):
        found = read_consent(example, id=example["id"], version="1", zone=UTC, authority=None)
        made[example["id"]] = "flaw" if found.flaw else "unreadable" if unreadable(found) else "fine"
    assert len(made) == 12
    assert made == {**dict.fromkeys(made, "fine"), **EXAMPLES}
