"""R4's own value sets and code systems, from the table that make.py writes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from terminology.expansion import members
from terminology.make import main
from terminology.members import CannotExpand
from terminology.standard import TABLE, standard
from tests.shared import SHARED

R4 = SHARED / "data" / "definitions"
V3 = "http://terminology.hl7.org/CodeSystem/"
MOST_BYTES = 1_500_000


def codes(url: str) -> set[str]:
    value_set = standard().value_set(url)
    assert value_set is not None
    return {code for _, code in members(value_set, standard()).codes}


def test_the_table_is_small_enough_to_be_part_of_the_package() -> None:
    assert TABLE.stat().st_size < MOST_BYTES


@pytest.mark.skipif(not R4.is_dir(), reason="needs the definitions of R4 in ../shared")
def test_the_table_is_what_the_script_makes_of_the_published_files(tmp_path: Path) -> None:
    assert main(["--r4", str(R4), "--out", str(tmp_path)]) == 0
    made = json.loads(gzip.decompress((tmp_path / TABLE.name).read_bytes()))
    assert made == json.loads(gzip.decompress(TABLE.read_bytes()))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://hl7.org/fhir/ValueSet/administrative-gender", {"male", "female", "other", "unknown"}),
        ("http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1", {"male", "female", "other", "unknown"}),
        (
            "http://terminology.hl7.org/ValueSet/v3-ActEncounterCode",
            {"AMB", "EMER", "FLD", "HH", "IMP", "ACUTE", "NONAC", "OBSENC", "PRENC", "SS", "VR"},
        ),
        ("http://hl7.org/fhir/ValueSet/units-of-time", {"s", "min", "h", "d", "wk", "mo", "a"}),
    ],
)
def test_value_sets_of_the_standard_have_their_published_members(url: str, expected: set[str]) -> None:
    assert codes(url) == expected


def test_what_is_filtered_out_of_a_code_system_of_r4_is_computed() -> None:
    found = codes("http://hl7.org/fhir/ValueSet/patient-contactrelationship")
    system = standard().code_system("http://terminology.hl7.org/CodeSystem/v2-0131")
    assert system is not None
    assert "C" in found
    assert found < system.concepts.keys()


def test_another_version_than_the_one_here_is_not_known() -> None:
    assert standard().value_set("http://hl7.org/fhir/ValueSet/administrative-gender|3.0.0") is None
    assert standard().code_system(V3 + "v3-ActCode|1.0") is None


def test_a_value_set_over_codes_that_are_not_here_is_refused() -> None:
    value_set = standard().value_set("http://hl7.org/fhir/ValueSet/body-site")
    assert value_set is not None
    with pytest.raises(CannotExpand):
        members(value_set, standard())


def test_the_hierarchies_of_v3_are_here() -> None:
    system = standard().code_system(V3 + "v3-ActCode")
    assert system is not None
    assert system.below("IMP") == {"IMP", "ACUTE", "NONAC"}
    assert {"IMP", "_ActEncounterCode"} <= system.above("ACUTE")
