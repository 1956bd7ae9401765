"""codes.json is what make.py writes from the files that HL7 publishes."""

from pathlib import Path

import orjson

from fhir_server.validation import make
from tests.shared import SHARED


def test_the_table_is_up_to_date(tmp_path: Path) -> None:
    out = tmp_path / "codes.json"
    assert make.main(["--r4", str(SHARED / "data" / "definitions"), "--out", str(out)]) == 0
    assert out.read_bytes() == Path(make.__file__).with_name("codes.json").read_bytes()


def test_codes_are_those_of_the_standard() -> None:
    made = orjson.loads(make.table(SHARED / "data" / "definitions"))
    url = made["elements"]["BundleEntryRequest.method"]
    assert made["codes"][url] == ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]
    assert "Attachment.contentType" not in made["elements"]
