"""The committed tables are what make.py writes from the published files; and the rules by which it does."""

import gzip
import json
from pathlib import Path

import pytest

import fhir_server.definitions
from fhir_server.definitions.make import R4_FILES, main, tables
from fhir_server.definitions.make_elements import code_systems, difference
from fhir_server.definitions.make_search import compartments, members_for, targets
from fhir_server.definitions.registry import registry
from tests.shared import SHARED

HERE = Path(fhir_server.definitions.__file__).parent


@pytest.fixture(scope="module")
def written():
    """R4B is not among the shared data: the R4 types that are served stand for it, as it left them alone."""
    folder = SHARED / "data" / "definitions"
    texts = [gzip.decompress((folder / f"{name}.gz").read_bytes()) for name in R4_FILES]
    r4 = [entry["resource"] for text in texts for entry in json.loads(text)["entry"]]
    r4b = [r for r in r4 if r["resourceType"] == "StructureDefinition" and r["id"] not in registry().unserved]
    return tables(r4, r4b)


@pytest.mark.parametrize("name", ["elements.json", "summary.json", "search_parameters.json", "compartments.json"])
def test_the_committed_tables_are_up_to_date(written, name):
    assert written[name] == (HERE / name).read_text(encoding="utf-8")


def test_the_types_served_are_those_committed(written):
    assert json.loads(written["types.json"])["served"] == sorted(registry().types)


def test_without_the_r4b_package_nothing_is_written(tmp_path, capsys):
    for name in R4_FILES:
        (tmp_path / name).write_text('{"entry": []}')
    assert main(["--r4", str(tmp_path), "--r4b", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "no StructureDefinition" in capsys.readouterr().err
    assert not (tmp_path / "types.json").exists()


def structure(*elements):
    return {"snapshot": {"element": list(elements)}}


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ({"min": 0, "max": "1", "type": [{"code": "code"}]}, {"min": 0, "max": "1", "type": [{"code": "code"}]}, None),
        ({"min": 0, "max": "1"}, {"min": 1, "max": "1"}, "differs in R4B: A.b"),
        ({"min": 0, "max": "1"}, {"min": 0, "max": "*"}, "differs in R4B: A.b"),
        ({"type": [{"code": "uri"}]}, {"type": [{"code": "url"}]}, "differs in R4B: A.b"),
        ({"type": [{"code": "a"}, {"code": "b"}]}, {"type": [{"code": "b"}, {"code": "a"}]}, None),
        ({"contentReference": "#A.c"}, {"contentReference": "http://hl7.org/x#A.c"}, None),
        ({"contentReference": "#A.c"}, {"contentReference": "#A.d"}, "differs in R4B: A.b"),
        ({"short": "x", "binding": {}}, {"short": "y"}, None),  # words and bindings are not the tree
    ],
)
def test_types_differ_by_their_element_tree_alone(ours, theirs, reason):
    assert difference(structure({"path": "A.b", **ours}), structure({"path": "A.b", **theirs})) == reason


def test_a_type_that_is_missing_is_gone():
    assert difference(structure(), None) == "gone in R4B"


def test_a_value_set_has_a_system_if_it_draws_from_exactly_one():
    one = {"compose": {"include": [{"system": "urn:a"}, {"system": "urn:a", "filter": []}]}}
    two = {"compose": {"include": [{"system": "urn:a"}, {"system": "urn:b"}]}}
    through = {"compose": {"include": [{"valueSet": ["one|4.0.1"]}]}}
    unknown = {"compose": {"include": [{"valueSet": ["elsewhere"]}]}}
    sets = {"one": one, "two": two, "through": through, "unknown": unknown}
    assert code_systems(sets) == {"one": "urn:a", "through": "urn:a"}


def test_members_of_other_bases_fall_away_and_parentheses_stay():
    union = "Patient.name | (Observation.value as Quantity) | Observation.value.as(Range) | PatientX.name"
    assert members_for("Observation", union) == "(Observation.value as Quantity) | Observation.value.as(Range)"
    assert members_for("Patient", union) == "Patient.name"
    assert members_for("Group", union) == ""


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("A.b.where(resolve() is Patient)", {"Patient"}),
        ("A.c", {"Group"}),
        ("(A.c as Reference)", {"Group"}),
        ("A.c | A.b.where(resolve() is Patient)", {"Group", "Patient"}),
        ("A.any", {"Group", "Patient"}),
    ],
)
def test_targets_are_narrowed_to_what_the_expression_can_reach(expression, expected):
    assert targets(["Group", "Patient"], expression, {"A.c": frozenset({"Group", "Device"})}) == expected


def test_a_compartment_keeps_known_parameters_and_reports_the_rest(capsys):
    definition = {
        "code": "Patient",
        "resource": [
            {"code": "B", "param": ["b", "lost"]},
            {"code": "A", "param": ["{def}", "a"]},
            {"code": "Unserved", "param": ["a"]},
            {"code": "C"},
        ],
    }
    known = [["A", "a"], ["B", "b"]]
    assert compartments([definition], known, ["A", "B", "C"]) == [["Patient", "A", ["a"]], ["Patient", "B", ["b"]]]
    assert "B has no search parameter lost" in capsys.readouterr().out
