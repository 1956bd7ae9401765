"""Primitive types at their edges (FHIR R4, Datatypes)."""

from typing import Any

import pytest

from fhir_server.fhir_json import FhirDecimal
from fhir_server.validation.primitives import CHECKS

GOOD: dict[str, list[Any]] = {
    "base64Binary": ["AA==", "AAEC", "AA\nEC", " AAEC "],
    "boolean": [True, False],
    "code": ["a", "a b", "男"],
    "date": ["2020", "2020-12", "2020-02-29", "0001-01-01"],
    "dateTime": ["2020", "2020-12", "2020-02-29", "2020-02-29T00:00:00Z", "2020-02-29T23:59:60.123456789+14:00"],
    "decimal": [0, -1, 1.5, FhirDecimal("1.50")],
    "id": ["a", "A-1.b", "x" * 64],
    "instant": ["2020-02-29T00:00:00.000-13:59"],
    "integer": [0, -(2**31), 2**31 - 1],
    "oid": ["urn:oid:1.2.156.0", "urn:oid:2.16"],
    "positiveInt": [1, 2**31 - 1],
    "string": ["a", " a ", "中\u3000文", "a\tb\r\nc", "\u00a0x"],
    "time": ["00:00:00", "23:59:60.5"],
    "unsignedInt": [0],
    "uri": ["a", "urn:x:张", "http://x.cn/a?b#c"],
    "uuid": ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
}
BAD: dict[str, list[Any]] = {
    "base64Binary": ["", " ", "A", "AA=", "A!==", "张三", 1, None],
    "boolean": ["true", 0, 1, None, []],
    "code": ["", " a", "a ", "a  b", "a\x00", 1],
    "date": [
        "",
        "20",
        "2020-00",
        "2020-13",
        "2020-2-1",
        "2021-02-29",
        "2020-01-01T00:00:00Z",
        "0000",
        "２０２０",
        "2020\n",
    ],
    "dateTime": [
        "2020-01-01T00:00:00",
        "2020-01-01T24:00:00Z",
        "2020-01-01T00:00Z",
        "2020-01-01 00:00:00Z",
        "2020-01T",
    ],
    "decimal": ["1", True, None, [1]],
    "id": ["", "x" * 65, "a_b", "a/b", "张", "a\n", 1],
    "instant": ["2020", "2020-01-01", "2020-01-01T00:00:00"],
    "integer": [1.0, "1", True, 2**31, -(2**31) - 1, FhirDecimal("-0")],
    "oid": ["1.2.3", "urn:oid:3.1", "urn:oid:1.02", "urn:oid:1"],
    "positiveInt": [0, -1, True],
    "string": ["", " ", "\u3000", "\n", "a\x00", "a\x1b[0m", 1, None, "x" * (1024 * 1024 + 1)],
    "time": ["24:00:00", "00:00", "00:00:00Z"],
    "unsignedInt": [-1],
    "uri": ["", "a b", "a\n", "\u3000", 1],
    "uuid": ["c757873d-ec9a-4326-a141-556f43239520", "urn:uuid:C757873D-EC9A-4326-A141-556F43239520"],
}


@pytest.mark.parametrize(("type", "value"), [(type, value) for type, values in GOOD.items() for value in values])
def test_values_of_the_type_pass(type: str, value: Any) -> None:
    assert CHECKS[type](value) is None


@pytest.mark.parametrize(("type", "value"), [(type, value) for type, values in BAD.items() for value in values])
def test_other_values_do_not(type: str, value: Any) -> None:
    assert CHECKS[type](value)


def test_all_types_with_a_check_are_tested_or_the_same_as_one_that_is() -> None:
    same = {"canonical": "uri", "url": "uri", "markdown": "string"}
    assert CHECKS.keys() - GOOD.keys() == same.keys()
    assert all(CHECKS[one] is CHECKS[other] for one, other in same.items())
