"""What docs/consent.md says of its own example is so."""

import json
import re
from pathlib import Path

from consent_engine.enforcement import Status
from consent_engine.obligations import Obligation
from consent_engine.predicate import EVERYTHING, NOTHING, AnyOf, Attribute, Not
from consent_engine.provision import PROVISION_ELEMENTS
from consent_engine.rules import combined, obligations
from tests.consent_engine.build import ACT_CODE, ask, compiled, concept

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "consent.md").read_text("utf-8")
OBLIGATION, EXAMPLE = map(json.loads, re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL))
ROOT = EXAMPLE["provision"]
HIV = AnyOf(Attribute.LABEL, frozenset({"S:HIV"}))
TREATING = ask("Organization/Org1", purpose="ETREAT")


def said(request=TREATING, **root):
    return combined([compiled({**EXAMPLE, "provision": {**ROOT, **root}}, request)])


def test_who_treats_sees_all_but_hiv():
    assert said() == (Not(HIV), HIV)
    without = {**EXAMPLE, "provision": {name: value for name, value in ROOT.items() if name != "provision"}}
    assert combined([compiled(without, TREATING)]) == (EVERYTHING, NOTHING)


def test_to_others_it_says_nothing():
    assert said(ask("Organization/Org1", purpose="HRESCH")) == (NOTHING, NOTHING)
    assert said(ask("Organization/Org2")) == (NOTHING, NOTHING)


def test_it_ends_at_midnight():
    ending = {**EXAMPLE, "provision": {**ROOT, "period": {"end": "2026-06-15"}}}
    assert str(compiled(ending, TREATING).until) == "2026-06-16 00:00:00+00:00"


def test_with_an_extension_it_only_denies():
    assert said(extension=[{"url": "urn:x"}]) == (NOTHING, HIV)


def test_contradicted_it_forbids_everything():
    contradicted = {**EXAMPLE, "policyRule": concept(ACT_CODE, "OPTOUT")}
    assert combined([compiled(contradicted, ask("Organization/Org2"))]) == (NOTHING, EVERYTHING)


def test_its_obligation_is_understood():
    obliged = compiled({**EXAMPLE, "provision": {**ROOT, "extension": [OBLIGATION]}}, TREATING)
    assert dict(obligations([obliged])) == {Obligation("REDACT", "Patient.telecom"): EVERYTHING}


def test_every_status_and_attribute_is_documented():
    for status in Status:
        assert f"| `{status}` |" in TEXT
    for attribute in set(Attribute) - {Attribute.TERM}:  # Consents do not ask for terms
        assert re.search(rf"^\|.*\b{attribute.name}\b.*\|", TEXT, re.MULTILINE)


def test_every_element_of_a_provision_is_documented():
    for element in PROVISION_ELEMENTS - {"id", "type", "provision"}:
        assert re.search(rf"^\| .*`{element}[`.]", TEXT, re.MULTILINE), element
