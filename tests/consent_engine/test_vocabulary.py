"""Our tables against the code systems as published with FHIR R4."""

import gzip
import json
from functools import cache
from typing import Any

import pytest

from consent_engine import vocabulary as v
from consent_engine.resource_types import RESOURCE_TYPE_NAMES
from consent_engine.vocabulary import Effect, LabelKind, canonical_label, label_kind
from tests.shared import SHARED


@cache
def code_system(file: str, url: str) -> dict[str, Any]:
    with gzip.open(SHARED / "data" / "definitions" / file, "rt", encoding="utf-8") as text:
        entries = json.load(text)["entry"]
    return next(e["resource"] for e in entries if e["resource"].get("url") == url and "concept" in e["resource"])


def tree(concepts: list[dict[str, Any]], parent: str | None = None) -> dict[str, str | None]:
    """Child → parent, of everything in the list."""
    found: dict[str, str | None] = {}
    for concept in concepts:
        found |= {concept["code"]: parent, **tree(concept.get("concept", []), concept["code"])}
    return found


def below(url: str, root: str) -> dict[str, str]:
    """Child → parent of everything below the root; the published trees have each of these codes once."""
    parents = tree(code_system("v3-codesystems.json.gz", url)["concept"])

    def under(code: str | None) -> bool:
        return code == root or (code is not None and under(parents.get(code)))

    return {code: parent for code, parent in parents.items() if parent is not None and under(parent)}


def test_purposes_of_use_are_those_of_act_reason():
    assert below(v.ACT_REASON, "PurposeOfUse") == v.PURPOSE_PARENTS


def test_restricting_labels_are_sensitivities_compartments_and_laws_of_act_code():
    roots = ["_InformationSensitivityPolicy", "COMPT", "_ActPrivacyLaw"]
    published = {child: parent for root in roots for child, parent in below(v.ACT_CODE, root).items()}
    assert published == v.SENSITIVITY_PARENTS
    assert {*published, *roots} == v.SENSITIVITIES


def test_handling_codes_are_the_obligations_and_refrains_of_act_code():
    published = below(v.ACT_CODE, "ObligationPolicy") | below(v.ACT_CODE, "RefrainPolicy")
    assert {*published, "ObligationPolicy", "RefrainPolicy"} == v.HANDLING_CODES


def test_confidentialities_are_those_of_the_code_system():
    assert set(below(v.CONFIDENTIALITY, "_Confidentiality")) == set(v.CONFIDENTIALITY_ORDER)


def test_former_confidentialities_are_sensitivities_now():
    former = set(below(v.CONFIDENTIALITY, "_ConfidentialityByInfoType"))
    assert {canonical_label(v.CONFIDENTIALITY, code) for code in former} == {f"S:{code}" for code in former}
    assert former <= v.SENSITIVITIES


def test_directives_are_codes_of_act_code():
    assert v.DIRECTIVES.keys() <= below(v.ACT_CODE, "_ActConsentDirective").keys()


def test_actions_are_those_of_the_code_system():
    published = tree(code_system("valuesets.json.gz", v.CONSENT_ACTION)["concept"])
    assert published.keys() == v.ACTIONS_COVERING.keys()
    assert frozenset().union(*v.ACTIONS_COVERING.values()) <= published.keys()


def test_resource_types_are_those_an_instance_can_have():
    published = tree(code_system("valuesets.json.gz", v.RESOURCE_TYPES)["concept"])
    assert published.keys() - {"Resource", "DomainResource"} == RESOURCE_TYPE_NAMES


COVERED = [("BTG", {"BTG", "ETREAT", "TREAT", "PurposeOfUse"}), ("PurposeOfUse", {"PurposeOfUse"}), ("mine", {"mine"})]


@pytest.mark.parametrize(("code", "covering"), COVERED)
def test_a_purpose_is_covered_by_itself_and_its_ancestors(code, covering):
    assert v.purposes_covering(code) == covering


def test_a_sensitivity_stands_for_what_is_under_it():
    assert v.sensitivities_under("BH") == {"BH", "COGN", "DVD", "EMOTDIS"}
    assert v.sensitivities_under("_InformationSensitivityPolicy") > v.sensitivities_under("SPI")
    assert v.sensitivities_under("mine") == {"mine"}


LABELS = [
    (v.CONFIDENTIALITY, "R", LabelKind.CONFIDENTIALITY, "C:R"),
    (v.CONFIDENTIALITY, "r", LabelKind.SENSITIVITY, f"S:{v.CONFIDENTIALITY}|r"),
    (v.ACT_CODE, "HIV", LabelKind.SENSITIVITY, "S:HIV"),
    (v.CONFIDENTIALITY, "HIV", LabelKind.SENSITIVITY, "S:HIV"),
    (v.ACT_CODE, "HRCOMPT", LabelKind.SENSITIVITY, "S:HRCOMPT"),
    (v.ACT_CODE, "HIVV", LabelKind.SENSITIVITY, f"S:{v.ACT_CODE}|HIVV"),
    (v.ACT_CODE, "NOAUTH", LabelKind.NEITHER, None),
    (v.ACT_CODE, "REDACT", LabelKind.NEITHER, None),
    (v.ACT_REASON, "TREAT", LabelKind.NEITHER, None),
    (v.OBSERVATION_VALUE, "SUBSETTED", LabelKind.NEITHER, None),
    ("urn:local", "vip", LabelKind.SENSITIVITY, "S:urn:local|vip"),
    (None, "HIV", LabelKind.SENSITIVITY, "S:|HIV"),
    (None, None, LabelKind.SENSITIVITY, "S:|"),
]


@pytest.mark.parametrize(("system", "code", "kind", "canonical"), LABELS)
def test_a_label_that_is_not_known_to_be_something_else_is_a_sensitivity(system, code, kind, canonical):
    assert label_kind(system, code) is kind
    assert canonical_label(system, code) == canonical


def test_the_opposite_of_an_effect():
    assert [Effect.PERMIT.opposite, Effect.DENY.opposite] == [Effect.DENY, Effect.PERMIT]
