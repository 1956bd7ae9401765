"""What the value sets that come with the server label, row by row: the code of each system, and the labels it gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from consent_engine.vocabulary import ACT_CODE, CONFIDENTIALITY, canonical_label, known_sensitivity
from fhir_server.definitions.registry import registry
from fhir_server.labelling.labeller import Labeller
from fhir_server.labelling.manifest import BadValueSets, labeller, manifest
from fhir_server.settings import LABELS
from fhir_server.store.mentioned import mentioned
from fhir_server.validation.structure import check

ICD, ICD_CM = "http://hl7.org/fhir/sid/icd-10", "http://hl7.org/fhir/sid/icd-10-cm"
CHINESE_ICD, ICD11 = "urn:oid:2.16.156.10011.2.3.3.11", "http://id.who.int/icd/release/11/mms"
SCT, LOINC, ATC = "http://snomed.info/sct", "http://loinc.org", "http://www.whocc.no/atc"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"

# system, code, the sensitivities that it gives
ROWS = (
    (ICD, "B20.6", "HIV"), (ICD, "Z21", "HIV"), (CHINESE_ICD, "B24.x01", "HIV"), (ICD_CM, "Z20.6", "HIV"),
    (ICD11, "1C62.3", "HIV"), (SCT, "86406008", "HIV"), (SCT, "31676001", "HIV"), (LOINC, "20447-9", "HIV"),
    (LOINC, "55277-8", "HIV"), (ATC, "J05AR10", "HIV"), (ATC, "J05AF05", "HIV"), (RXNORM, "195085", "HIV"),
    (ICD, "A54.0", "STD"), (ICD, "a541", "STD"), (ICD11, "1A62.0", "STD"), (SCT, "76272004", "STD"),
    (SCT, "310861008", "STD"), (LOINC, "20507-0", "STD"),
    (ICD, "F32.2", "PSY MH"), (CHINESE_ICD, "F20.900x001", "PSY MH"), (ICD, "X78", "PSY MH"), (ICD11, "6A20", "PSY MH"),
    (SCT, "36923009", "PSY MH"), (SCT, "171207006", "PSY MH"), (LOINC, "44249-1", "PSY MH"), (ATC, "N06AB03", "PSY MH"),
    (RXNORM, "406022", "PSY MH"),
    (ICD, "F01.1", "COGN"), (ICD, "G30.9", "COGN"), (ICD11, "6D80", "COGN"), (SCT, "26929004", "COGN"),
    (LOINC, "72106-8", "COGN"), (ATC, "N06DA02", "COGN"), (RXNORM, "997223", "COGN"),
    (ICD, "F84.0", "DVD"), (ICD11, "6A02", "DVD"), (SCT, "408856003", "DVD"),
    (ICD, "F14.2", "SUD ETH"), (ICD, "Z71.5", "SUD ETH"), (ICD11, "6C45.2", "SUD ETH"), (SCT, "55680006", "SUD ETH"),
    (LOINC, "82667-7", "SUD ETH"),
    (ICD, "F10.2", "ETHUD ETH"), (ICD, "K70.3", "ETHUD ETH"), (ICD11, "6C40.2", "ETHUD ETH"),
    (SCT, "7200002", "ETHUD ETH"), (LOINC, "75626-2", "ETHUD ETH"), (ATC, "N07BB01", "ETHUD ETH"),
    (RXNORM, "3554", "ETHUD ETH"),
    (ICD, "F11.2", "OPIOIDUD ETH"), (ICD11, "6C43.2", "OPIOIDUD ETH"), (SCT, "5602001", "OPIOIDUD ETH"),
    (ATC, "N07BC02", "OPIOIDUD ETH"), (RXNORM, "6813", "OPIOIDUD ETH"),
    (ICD, "O04.9", "SEX"), (ICD, "Z30.1", "SEX"), (ICD, "N97.0", "SEX"), (ICD11, "JA00", "SEX"),
    (SCT, "714812005", "SEX"), (LOINC, "76690-7", "SEX"), (ATC, "G03AA07", "SEX"), (RXNORM, "807283", "SEX"),
    (ICD, "Q90.9", "GDIS"), (ICD_CM, "Z15.01", "GDIS"), (ICD11, "LD40.0", "GDIS"), (SCT, "41040004", "GDIS"),
    (LOINC, "51967-8", "GDIS"), ("http://www.genenames.org", "HGNC:1100", "GDIS"),
    (ICD, "D57.1", "GDIS SCA SICKLE"), (ICD11, "3A51.1", "GDIS SCA SICKLE"), (SCT, "127040003", "GDIS SCA SICKLE"),
    (ICD, "T74.2", "SDV"), (ICD, "Y05", "SDV"), (ICD11, "PJ21", "SDV"), (SCT, "706893006", "SDV"), (LOINC, "76501-6", "SDV"),
    (ICD, "X99", "VIO"), (ICD11, "PE10", "VIO"),
    (ICD, "B18.1", "infectious-disease"), (CHINESE_ICD, "A16.200", "infectious-disease"),
    (ICD, "U07.1", "infectious-disease"), (SCT, "66071002", "infectious-disease"),
    (LOINC, "5195-3", "infectious-disease"), (ATC, "J04AC01", "infectious-disease"),
    (ICD, "F52.0", "PSY MH SEX"), (ICD, "F02.4", "HIV COGN"),  # of two value sets
    ("https://loinc.org/", "20447-9", "HIV"),  # written otherwise
    (ACT_CODE, "TBOO", "TBOO"), (ACT_CODE, "HIV", "HIV"), (CONFIDENTIALITY, "PSY", "PSY"),  # a label's own code
    # Nothing sensitive, or nothing that is known.
    (ICD, "E11.9", ""), (ICD, "J06.9", ""), (ICD, "F17.2", ""), (ICD, "Z34.0", ""), (ICD, "XB20", ""), (ICD, "", ""),
    (ICD11, "5A11", ""), (SCT, "44054006", ""), (SCT, "864060081", ""), (LOINC, "718-7", ""), (ATC, "J05AB01", ""),
    (ATC, "N05BA01", ""), (RXNORM, "313782", ""), ("urn:elsewhere", "B20", ""), (ACT_CODE, "AMB", ""),
    ("http://hl7.org/fhir/sid/icd-9-cm", "042", ""), (CONFIDENTIALITY, "N", ""),
)  # fmt: skip


@pytest.fixture(scope="module")
def service() -> Labeller:
    return labeller(registry(), [LABELS])


def condition(system: str, code: str) -> dict[str, Any]:
    return {"resourceType": "Condition", "code": {"coding": [{"system": system, "code": code}]}}


@pytest.mark.parametrize(("system", "code", "expected"), ROWS)
def test_a_code_gives_these_sensitivities(service: Labeller, system: str, code: str, expected: str) -> None:
    resource = condition(system, code)
    found = service.found(resource, mentioned(resource).codings)
    levels = ["R"] if expected else []
    assert sorted(each.code for each in found) == sorted(expected.split() + levels)


def test_each_value_set_has_a_row_for_each_of_its_systems() -> None:
    asked = {(row[0], row[1]) for row in ROWS if row[2]}
    read = manifest(LABELS)
    asked |= {(read.same[system], code) for system, code in asked if system in read.same}
    for rule in read.rules:
        for share in rule.members.includes:
            own = {"http://hl7.org/fhir/resource-types"}
            whole = share.codes is None and not share.tests
            assert whole or share.system in own or any(each in share for each in asked), (share.system, rule.labels)


def test_the_value_sets_are_whole_fhir_resources_that_say_where_they_come_from() -> None:
    files = sorted(each for each in LABELS.glob("*.json") if each.name != "manifest.json")
    named = {each["file"] for each in json.loads((LABELS / "manifest.json").read_text("utf-8"))["labels"]}
    assert {each.name for each in files} == named
    for each in files:
        resource = json.loads(each.read_text("utf-8"))
        check(resource, served=registry().types)
        assert resource["description"]
        assert resource["id"] == f"sensitivity-{each.stem}"


def test_every_label_is_one_that_a_consent_can_name() -> None:
    for rule in manifest(LABELS).rules:
        for label in rule.labels:
            assert label.display
            assert known_sensitivity(label.system, label.code) or label.code == "infectious-disease"
            assert str(canonical_label(label.system, label.code)).startswith("S:")


def test_sequences_are_genetic_whatever_they_are_coded_with(service: Labeller) -> None:
    found = service.found({"resourceType": "MolecularSequence", "coordinateSystem": 0}, [])
    assert [each.code for each in found] == ["GDIS", "R"]


@pytest.mark.parametrize("type", ["Consent", "AuditEvent", "ValueSet", "Medication", "Questionnaire"])
def test_what_is_no_finding_about_a_person_is_not_labelled(service: Labeller, type: str) -> None:
    assert service.found({"resourceType": type}, [f"{ICD}|B20"]) == []


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("manifest.json", "{", "is not JSON"),
        ("manifest.json", "[]", "is not a JSON object"),
        ("manifest.json", '{"labels": [{"file": "vs.json"}]}', "is not a manifest"),
        ("manifest.json", '{"labels": [{"file": "vs.json", "labels": []}]}', "not a sensitivity, or none"),
        (
            "manifest.json",
            json.dumps({"labels": [{"file": "vs.json", "labels": [{"system": CONFIDENTIALITY, "code": "R"}]}]}),
            "not a sensitivity, or none",
        ),
        ("vs.json", '{"resourceType": "CodeSystem"}', "is not a ValueSet"),
        ("vs.json", '{"resourceType": "ValueSet"}', "does not say what it is made of"),
        ("vs.json", '{"resourceType": "ValueSet", "compose": {"include": [{"valueSet": ["x"]}]}}', "other value sets"),
        ("vs.json", '{"resourceType": "ValueSet", "compose": {"include": [{"system": "x", "filter": [{}]}]}}', "FHIR R4"),
        (
            "vs.json",
            json.dumps({"resourceType": "ValueSet", "compose": {"include": [
                {"system": SCT, "filter": [{"property": "concept", "op": "is-a", "value": "1"}]}]}}),
            "a code alone does not answer",
        ),
    ],
)  # fmt: skip
def test_value_sets_that_cannot_be_used_stop_the_start_and_are_named(
    tmp_path: Path, file: str, text: str, why: str
) -> None:
    row = {"file": "vs.json", "labels": [{"system": ACT_CODE, "code": "HIV"}]}
    (tmp_path / "manifest.json").write_text(json.dumps({"labels": [row]}))
    (tmp_path / file).write_text(text)
    with pytest.raises(BadValueSets, match=why) as raised:
        manifest(tmp_path)
    assert str(tmp_path / file) in str(raised.value)


def test_a_folder_without_a_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadValueSets, match=r"manifest\.json cannot be read"):
        labeller(registry(), [tmp_path])
