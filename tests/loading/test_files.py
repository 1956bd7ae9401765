"""Loading: every layout is read, references follow, ids are stable, and bad parts do not stop the rest."""

import gzip
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from fhir_server.loading import files
from fhir_server.loading.bundle import namer
from fhir_server.loading.files import Item, Raw, Reject, RejectsFile, chunks, read, rejected, sources
from tests.shared import SHARED

A = {"resourceType": "Patient", "id": "a"}
B = {"resourceType": "Patient", "id": "b"}
ONE = "urn:uuid:11111111-1111-4111-8111-11111111111A"
TWO = "urn:uuid:22222222-2222-4222-8222-222222222222"


def keyed(key: bytes) -> Any:
    return lambda content: hmac.new(key, content, hashlib.sha256).digest()


NAMED = namer("hospital-a", keyed(b"k"))


def bundle(*entries: Any, type: str = "transaction") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def written(folder: Path, name: str, content: Any) -> Path:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def items(path: Path) -> list[Item]:
    return [item for source in sources([path]) for raw in read(source) for item in files.items(raw, NAMED)]


def resources(path: Path) -> list[dict[str, Any]]:
    found = items(path)
    assert [item.problem for item in found] == [None] * len(found)
    return [item.resource for item in found if item.resource]


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content", "positions"),
    [
        ("a.json", A, ["resource"]),
        ("a.json", bundle({"resource": A}, {"resource": B}), ["entry[0]", "entry[1]"]),
        ("a.ndjson", json.dumps(A).encode() + b"\n\r\n" + json.dumps(B).encode(), ["line 1", "line 3"]),
        (
            "A.JSONL",
            json.dumps(bundle({"resource": A}, {"resource": B})).encode(),
            ["line 1 entry[0]", "line 1 entry[1]"],
        ),
        ("a.json", {"resourceType": "Bundle", "type": "collection"}, []),
        ("a.ndjson", b"", []),
    ],
)
def test_every_layout_is_read(tmp_path: Path, name: str, content: Any, positions: list[str], packed: str) -> None:
    path = written(tmp_path, name + packed, content)
    assert [item.position for item in items(path)] == positions
    assert resources(path) == [A, B][: len(positions)]
    assert {item.file for item in items(path)} <= {str(path)}


@pytest.mark.parametrize("type", ["transaction", "batch", "collection", "searchset", "history", "document", "message"])
def test_bundles_of_every_type_are_unpacked(tmp_path: Path, type: str) -> None:
    assert resources(written(tmp_path, "a.json", bundle({"resource": A}, type=type))) == [A]


def test_folders_are_read_at_all_levels_in_order_and_other_files_left(tmp_path: Path) -> None:
    for name in ("b/1.json", "a/2.ndjson.gz", "a.json", "readme.txt", "a/x.csv"):
        written(tmp_path, name, A)
    assert [source.path.relative_to(tmp_path).as_posix() for source in sources([tmp_path])] == [
        "a/2.ndjson.gz",
        "a.json",
        "b/1.json",
    ]


def test_a_missing_path_stops_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sources([tmp_path / "none"])


def test_references_within_a_bundle_follow_their_resource(tmp_path: Path) -> None:
    observation = {
        "resourceType": "Observation",
        "subject": {"reference": ONE, "display": ONE},
        "performer": [{"reference": "http://x.cn/fhir/Practitioner/7/_history/2"}, {"reference": "urn:uuid:elsewhere"}],
        "identifier": [{"system": "urn:ietf:rfc3986", "value": ONE}],
        "extension": [{"url": "u:x", "valueUri": ONE}, {"url": "u:y", "valueReference": {"reference": ONE}}],
        "text": {"status": "generated", "div": f'<div><a href="{ONE}">{ONE}</a></div>'},
        "hasMember": [{"reference": "Observation/1"}, {"reference": "#x"}],
    }
    path = written(
        tmp_path,
        "a.json",
        bundle(
            {"fullUrl": TWO, "resource": observation},
            {"fullUrl": ONE, "resource": {"resourceType": "Patient"}},
            {"fullUrl": "http://x.cn/fhir/Practitioner/7", "resource": {"resourceType": "Practitioner"}},
        ),
    )
    found, patient, practitioner = resources(path)
    id = ONE[9:].lower()
    assert (found["id"], patient["id"], practitioner["id"]) == (TWO[9:], id, "7")
    assert found["subject"] == {"reference": f"Patient/{id}", "display": ONE}
    assert found["performer"] == [{"reference": "Practitioner/7"}, {"reference": "urn:uuid:elsewhere"}]
    assert found["identifier"] == observation["identifier"]
    assert found["extension"][0]["valueUri"] == f"Patient/{id}"
    assert found["extension"][1]["valueReference"]["reference"] == f"Patient/{id}"
    assert found["text"]["div"] == f'<div><a href="Patient/{id}">{ONE}</a></div>'
    assert found["hasMember"] == observation["hasMember"]


def test_an_id_of_its_own_is_kept_and_referred_to(tmp_path: Path) -> None:
    other = {"resourceType": "Basic", "subject": {"reference": ONE}}
    found = resources(written(tmp_path, "a.json", bundle({"fullUrl": ONE, "resource": A}, {"resource": other})))
    assert found[1]["subject"]["reference"] == "Patient/a"


def test_a_made_id_depends_on_organization_content_and_key_alone(tmp_path: Path) -> None:
    nameless = {"resourceType": "Patient", "gender": "male"}
    turned = {"gender": "male", "resourceType": "Patient"}
    (first,) = resources(written(tmp_path, "a.json", nameless))
    (second,) = resources(written(tmp_path, "b.ndjson.gz", turned))
    assert first["id"] == second["id"] == NAMED(nameless)
    others = [namer("hospital-b", keyed(b"k"))(nameless), namer("hospital-a", keyed(b"l"))(nameless), NAMED(A)]
    assert len({first["id"], *others}) == 4
    assert len(first["id"]) == 36


def test_bad_parts_are_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    lines = [json.dumps(A).encode(), b'{"Zhang":', b"[]", b'{"id":"x"}', b"\xff", json.dumps(B).encode()]
    found = items(written(tmp_path, "a.ndjson", b"\n".join(lines)))
    assert [(item.position, item.problem is None) for item in found] == [
        ("line 1", True), ("line 2", False), ("line 3", False), ("line 4", False), ("line 5", False), ("line 6", True),
    ]  # fmt: skip
    assert "Zhang" not in repr(found)
    entries = [{"resource": A}, {}, None, {"resource": {"resourceType": 3}}, {"request": {"method": "DELETE"}}]
    outcome = {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}}
    found = items(written(tmp_path, "b.json", bundle(*entries, outcome, {"resource": B})))
    assert [(item.position, item.problem is None) for item in found] == [
        ("entry[0]", True), ("entry[1]", False), ("entry[2]", False), ("entry[3]", False), ("entry[4]", False),
        ("entry[6]", True),
    ]  # fmt: skip


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    packed = gzip.compress(b"\n".join([json.dumps(A).encode()] * 20_000))
    broken = {
        "a.txt": b"{}", "b.json": b"not json", "c.json": {"resourceType": "Bundle", "entry": {}}, "d.json": b"",
    }  # fmt: skip
    for name, content in broken.items():
        (item,) = items(written(tmp_path, name, content))
        assert item.problem
    (tmp_path / "e.ndjson.gz").write_bytes(packed[: len(packed) // 2])
    found = items(tmp_path / "e.ndjson.gz")
    assert found[-1].problem
    assert all(item.resource == A for item in found[:-1])
    (tmp_path / "f.json.gz").write_bytes(b"{}")
    assert items(tmp_path / "f.json.gz")[-1].problem


def test_a_line_too_long_is_told_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 100)
    path = written(tmp_path, "a.ndjson", b"x" * 350 + b"\n" + json.dumps(A).encode())
    assert [(item.position, item.resource) for item in items(path)] == [("line 1", None), ("line 2", A)]


@pytest.mark.parametrize("name", ["a.ndjson", "a.ndjson.gz", "a.json", "a.json.gz"])
def test_progress_adds_up_to_the_bytes_on_disk(tmp_path: Path, name: str) -> None:
    many = [{**A, "id": str(number), "language": f"x-{hash(str(number))}"} for number in range(5000)]
    lines = b"\n".join(json.dumps(one).encode() for one in many)
    path = written(tmp_path, name, lines if "nd" in name else bundle(*({"resource": one} for one in many)))
    (source,) = sources([path])
    raws = list(read(source))
    steps = [raw.consumed for raw in raws]
    assert sum(1 for raw in raws for _ in files.items(raw, NAMED)) == 5000
    assert sum(raw.consumed for chunk in chunks(raws, NAMED) for raw in chunk) == source.size
    assert sum(steps) == source.size == path.stat().st_size
    assert min(steps) >= 0
    if "nd" in name:
        assert len([step for step in steps if step]) > 1


def test_a_bundle_of_synthea_stands_alone_after_reading() -> None:
    path = min((SHARED / "data" / "synthea").glob("*.gz"), key=lambda file: file.stat().st_size)
    found = resources(path)
    there = {f"{resource['resourceType']}/{resource['id']}" for resource in found}
    text = json.dumps(found)
    references = {part.partition('"')[0] for part in text.split('"reference": "')[1:]}
    assert references
    assert {ref for ref in references if not ref.startswith("#")} <= there


def test_rejects_are_written_for_the_owner_only_and_hold_no_content(tmp_path: Path) -> None:
    path = tmp_path / "rejects.ndjson"
    with RejectsFile(path) as rejects:
        assert not path.exists()
        rejects.write(
            rejected(Item("f", "line 1", {"resourceType": "Patient", "id": "a", "name": "Zhang"}, None), "why")
        )
        rejects.write(rejected(Item("f", "line 2", {"resourceType": "Zhang San", "id": "张"}, None), "why"))
        rejects.write(rejected(Item("f", "line 3", None, "bad"), "bad"))
        assert rejects.count == 3
    assert path.stat().st_mode & 0o777 == 0o600
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"file": "f", "position": "line 1", "type": "Patient", "id": "a", "reason": "why"},
        {"file": "f", "position": "line 2", "reason": "why"},
        {"file": "f", "position": "line 3", "reason": "bad"},
    ]


def test_rejects_are_not_written_through_a_link_and_an_old_file_is_closed_to_others(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("before")
    old.chmod(0o644)
    with RejectsFile(old) as rejects:
        rejects.write(Reject("f", "line 1", None, None, "why"))
    assert old.stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(old)
    with RejectsFile(tmp_path / "link") as rejects, pytest.raises(OSError, match="link"):
        rejects.write(Reject("f", "line 1", None, None, "why"))


def test_a_chunk_holds_whole_bundles_and_a_large_one_is_taken_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 1_000)
    monkeypatch.setattr(files, "LARGEST_IN_ONE", 1_200)
    inner = bundle({"resource": B}, type="collection") | {"id": "kept"}
    small, large = bundle({"resource": A}, {"resource": inner}), bundle(*({"resource": A} for _ in range(40)))
    path = written(tmp_path, "a.ndjson", b"\n".join(json.dumps(each).encode() for each in (small, small, large)))
    (source,) = sources([path])
    found = list(chunks(read(source), NAMED))
    assert [raw.position for raw in found[0]][:3] == ["line 1", "line 2", "line 3 entry[0]"]
    apart = [raw for chunk in found for raw in chunk if raw.content][2:]
    assert [raw.position for raw in apart] == [f"line 3 entry[{place}]" for place in range(40)]
    assert all(sum(len(raw.content or b"") for raw in chunk) <= 1_000 for chunk in found)
    taken = [item.resource for chunk in found for raw in chunk for item in files.items(raw, NAMED)]
    assert taken == [A, inner, A, inner, *[A] * 40]


def test_an_item_comes_back_from_its_raw_form_as_it_was() -> None:
    exact = b'{"resourceType":"Observation","id":"x","valueQuantity":{"value":1.50}}'
    (item,) = files.items(Raw("f", "line 1", exact), NAMED)
    assert item.raw.content == exact
    assert list(files.items(item.raw, NAMED)) == [item]
    bad = Item("f", "line 2", None, "is bad")
    assert list(files.items(bad.raw, NAMED)) == [bad]
    nested = Item("f", "entry[0]", {**bundle({"resource": A}), "id": "n"}, None)
    assert list(files.items(nested.raw, NAMED)) == [nested]


def test_a_resource_larger_than_the_store_takes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST_RESOURCE", 100)
    long = {**B, "language": "x" * 100}
    raw = Raw("f", "", json.dumps(bundle({"resource": A}, {"resource": long})).encode())
    assert [item.problem for item in files.items(raw, NAMED)] == [None, "is larger than 100 bytes"]
