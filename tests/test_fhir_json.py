"""JSON in and out: digits kept, strictness, and what is said about bad bodies."""

import copy
import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from fhir_server.errors import InvalidRequest
from fhir_server.fhir_json import FhirDecimal, canonical, decimal_text, dump, parse
from tests.shared import SHARED

NUMBERS = [
    "0", "-0", "-0.0", "1", "-1", "1.0", "1.50", "100.00", "0.1000000000000000055", "1E+2", "1e-7", "1e-07", "1e16",
    "1E0", "9223372036854775807", "18446744073709551616", "123456789012345678901234567890", "0.00001",
    "3.14159265358979323846", "1e308", "1e-400",
]  # fmt: skip


@pytest.mark.parametrize("layout", ["{}", "[{}, 1]", '{{"a":{{"value":{}}}}}', '{{ "a" : {} }}'])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_is_written_with_the_digits_it_came_with(number: str, layout: str) -> None:
    raw = layout.format(number).encode()
    assert dump(parse(raw)) == raw.replace(b" ", b"")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_tells_its_digits(number: str) -> None:
    assert decimal_text(parse(f"[ {number} ]".encode())[0]) == number


def _digits(text: str) -> Any:
    return json.loads(text, parse_float=lambda digits: f"float {digits}", parse_int=lambda digits: f"int {digits}")


@pytest.mark.parametrize(
    "path", sorted((SHARED / "data" / "examples-r4").glob("[A-O]*.ndjson.gz")), ids=lambda p: p.name
)
def test_the_examples_of_r4_keep_every_digit_and_name(path: Path) -> None:
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        assert _digits(dump(parse(line.encode())).decode()) == _digits(line)


def test_members_keep_their_order_unless_a_digest_is_made() -> None:
    assert dump(parse(b'{"b":1, "a":2}')) == b'{"b":1,"a":2}'
    assert canonical(parse(b'{"b":1.10, "a":2}')) == b'{"a":2,"b":1.10}'


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"nul", b"NaN", b"-Infinity", b"1e400", b"[1e400]", b"01", b"+1", b".5", b"1.", b'{"a":1,}',
        b"[1] 2", b"{'a':1}", b'"\xff"', b'"\\ud800"', b'"\x01"', b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"//x\n{}",
        b'{"a":1,"a":1}', b'[{"a":{"b":1,"c":2, "b":3}}]', b'{"a":1,"\\u0061":2}',
    ],
)  # fmt: skip
def test_what_is_not_strict_json_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse(raw)


@pytest.mark.parametrize("depth", [255, 1000, 1025, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b"[ ", b" ]")])
def test_deep_nesting_is_refused_and_not_a_crash(opening: bytes, closing: bytes, depth: int) -> None:
    with pytest.raises(InvalidRequest):
        parse(opening * depth + b"1" + closing * depth)


def test_what_was_read_can_be_written_at_the_deepest_level() -> None:
    raw = b"[" * 254 + b"1.50" + b"]" * 254
    assert dump(parse(raw)) == raw


def test_a_refusal_names_the_place_and_not_the_content() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(b'{"resourceType":"Patient",\n"name":"Zhang" "id":1}')
    assert "line 2" in refused.value.diagnostics
    assert "Zhang" not in refused.value.diagnostics
    assert refused.value.__cause__ is None
    with pytest.raises(InvalidRequest) as refused:
        parse(b'{"Zhang":1,"Zhang":2}')
    assert "Zhang" not in refused.value.diagnostics


@pytest.mark.parametrize("same", [copy.copy, copy.deepcopy, lambda number: pickle.loads(pickle.dumps(number))])
def test_a_decimal_survives_copying(same: Any) -> None:
    copied = same(FhirDecimal("1.50"))
    assert (copied, copied.text) == (1.5, "1.50")


def test_only_json_values_are_written() -> None:
    with pytest.raises(TypeError):
        dump({"a": object()})
