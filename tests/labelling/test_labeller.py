"""How labels stand in a resource: added, never lost, said once, with the confidentiality of the most confidential."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_engine.vocabulary import ACT_CODE, CONFIDENTIALITY, CONFIDENTIALITY_ORDER
from fhir_server.definitions.registry import registry
from fhir_server.labelling.labeller import CACHED_LENGTH
from fhir_server.labelling.manifest import labeller
from fhir_server.settings import LABELS
from fhir_server.store.mentioned import mentioned

Json = dict[str, Any]
SERVICE = labeller(registry(), [LABELS])
ICD = "http://hl7.org/fhir/sid/icd-10"


def coding(system: str, code: str, **more: Any) -> Json:
    return {"system": system, "code": code, **more}


def level(code: str) -> Json:
    return coding(CONFIDENTIALITY, code)


def condition(*codes: str, security: list[Json] | None = None, **more: Any) -> Json:
    meta = {"meta": {"security": security}} if security is not None else {}
    return {"resourceType": "Condition", **meta, "code": {"coding": [coding(ICD, code) for code in codes]}, **more}


def labelled(resource: Json) -> Json:
    return dict(SERVICE.labelled(resource, mentioned(resource).codings))


def security(resource: Json) -> list[Json]:
    found: list[Json] = labelled(resource).get("meta", {}).get("security", [])
    return found


def codes(resource: Json) -> list[str]:
    return [each["code"] for each in security(resource)]


def test_a_label_says_that_nobody_chose_it_and_what_it_means() -> None:
    assert security(condition("B20")) == [
        {"system": ACT_CODE, "code": "HIV", "display": "HIV/AIDS information sensitivity", "userSelected": False},
        {"system": CONFIDENTIALITY, "code": "R", "display": "restricted", "userSelected": False},
    ]


def test_what_is_not_sensitive_stays_the_same_object() -> None:
    plain = condition("E11.9", security=[level("N")])
    assert SERVICE.labelled(plain, mentioned(plain).codings) is plain


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("", "HIV R"),
        ("U", "HIV R"),
        ("N", "HIV R"),
        ("R", "R HIV"),
        ("V", "V HIV"),
        ("N V", "N V HIV"),
        ("L N", "HIV R"),
    ],
)
def test_a_confidentiality_is_raised_and_never_lowered(stated: str, expected: str) -> None:
    assert codes(condition("B20", security=[level(code) for code in stated.split()])) == expected.split()


def test_what_the_author_says_stays_as_the_author_says_it() -> None:
    theirs = [coding(ACT_CODE, "HIV", display="艾滋病"), coding("urn:local", "vip"), coding(ACT_CODE, "NODSCLCD")]
    assert security(condition("B20", security=theirs))[:3] == theirs
    assert codes(condition("B20", security=theirs)) == ["HIV", "vip", "NODSCLCD", "R"]


def test_what_does_not_follow_any_more_is_not_taken_away() -> None:
    once = labelled(condition("B20"))
    assert labelled(condition("E11", security=once["meta"]["security"]))["meta"] == once["meta"]


STATED = st.lists(
    st.sampled_from(
        [
            *map(level, CONFIDENTIALITY_ORDER),
            coding(ACT_CODE, "HIV"),
            coding("urn:x", "y"),
            {"code": "bare"},
            {"display": "d"},
        ]
    ),
    max_size=4,
)
CODES = st.lists(st.sampled_from(["B20", "F32.1", "F10", "D57", "A54", "E11", "O04"]), max_size=4)


@given(CODES, STATED, st.randoms(use_true_random=False))
def test_labelling_again_changes_nothing_whatever_order_a_client_puts_the_labels_into(
    found: list[str], stated: list[Json], random: Any
) -> None:
    once = labelled(condition(*found, security=stated))
    assert labelled(once) == once
    ours = [each for each in security(once) if each.get("userSelected") is False]
    theirs = [each for each in security(once) if each not in ours]
    random.shuffle(ours)
    left = ours[: random.randint(0, len(ours))]
    assert labelled(condition(*found, security=[*left, *theirs]))["meta"] == once["meta"]


@given(CODES, STATED)
def test_no_restriction_is_ever_lost(found: list[str], stated: list[Json]) -> None:
    resource = condition(*found, security=stated)
    rank = {code: place for place, code in enumerate(CONFIDENTIALITY_ORDER)}
    before, after = (
        [each["code"] for each in row if each.get("system") == CONFIDENTIALITY] for row in (stated, security(resource))
    )
    assert max(map(rank.get, before), default=-1) <= max(map(rank.get, after), default=-1)  # type: ignore[type-var]
    for each in stated:
        assert each in security(resource) or each.get("system") == CONFIDENTIALITY


LIST = {"resourceType": "List"}
EFAVIRENZ = {"resourceType": "Medication", "code": {"coding": [coding("http://www.whocc.no/atc", "J05AG03")]}}
DOCUMENT = {"resourceType": "DocumentReference", "securityLabel": [{"coding": [coding(ACT_CODE, "PSY"), level("R")]}]}
CONTAINED = condition("E11", id="c", security=[coding(ACT_CODE, "SDV"), level("V"), coding("urn:local", "vip")])


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({**LIST, "contained": [condition("B20", id="c")]}, "HIV R"),
        ({**LIST, "contained": [CONTAINED]}, "SDV vip V"),
        ({**LIST, "contained": [condition("E11", security=[level("L")])]}, ""),
        (
            {"resourceType": "Bundle", "entry": [{"resource": condition("F32")}, {"resource": CONTAINED}]},
            "PSY MH SDV vip V",
        ),
        (
            {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "List", "contained": [CONTAINED]}}]},
            "SDV vip V",
        ),
        ({"resourceType": "Composition", "confidentiality": "V"}, "V"),
        ({"resourceType": "Composition", "confidentiality": "N"}, ""),
        (
            {"resourceType": "DocumentReference", "securityLabel": [{"coding": [coding(ACT_CODE, "PSY"), level("R")]}]},
            "PSY R",
        ),
        ({"resourceType": "MedicationRequest", "contained": [EFAVIRENZ]}, "HIV R"),
        (
            {
                "resourceType": "Observation",
                "extension": [{"url": "urn:e", "valueCoding": coding(ICD, "F32")}],
                "component": [{"code": {"coding": [coding("http://loinc.org", "20447-9")]}}],
            },
            "HIV PSY MH R",
        ),
    ],
)
def test_what_is_within_counts_for_the_whole(resource: Json, expected: str) -> None:
    assert codes(resource) == expected.split()


def test_a_unit_is_no_code_of_the_record() -> None:
    quantity = {"value": 1, "system": ICD, "code": "B20"}
    assert codes({"resourceType": "Observation", "valueQuantity": quantity}) == []


def test_free_text_is_not_read() -> None:
    assert codes({"resourceType": "Condition", "code": {"text": "HIV", "coding": [{"display": "HIV"}]}}) == []


def test_a_code_too_long_to_be_remembered_is_labelled_all_the_same() -> None:
    long = f"{ICD}|B20{'x' * CACHED_LENGTH}"
    assert [each.code for each in SERVICE.found({"resourceType": "Condition"}, [long])] == ["HIV", "R"]


def test_all_labels_are_compared_those_of_what_is_within_and_those_of_an_older_content_too() -> None:
    resource = condition("B20", security=[level("N")], contained=[CONTAINED])
    assert SERVICE.canonical(resource, mentioned(resource).codings) == {
        "C:N", "C:V", "S:HIV", "S:SDV", "S:urn:local|vip",
    }  # fmt: skip
