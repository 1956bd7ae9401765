"""Writes the table of this folder from the files that HL7 publishes.

python -m terminology.make --r4 DIR
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]
FILES = ("valuesets.json", "v3-codesystems.json", "v2-tables.json")


def main(arguments: list[str] | None = None) -> int:
    """Write the table. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m terminology.make",
        description="Write r4.json.gz: R4's value sets and code systems without what no membership depends on.",
        epilog="R4: https://hl7.org/fhir/R4/definitions.json.zip",
    )
    parser.add_argument(
        "--r4", type=Path, required=True, metavar="DIR", help=f"folder with {', '.join(FILES)}, each plain or .gz"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR", help="where to write")
    asked = parser.parse_args(arguments)
    made = table(each for name in FILES for each in _read(asked.r4 / name))
    text = json.dumps(made, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    packed = gzip.compress(text, 9, mtime=0)
    (asked.out / "r4.json.gz").write_bytes(packed)
    print(
        f"r4.json.gz: {len(packed)} bytes, {len(made['ValueSet'])} value sets, {len(made['CodeSystem'])} code systems"
    )
    return 0


def _read(path: Path) -> Iterator[Json]:
    packed = path.with_name(path.name + ".gz")
    text = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    yield from (entry["resource"] for entry in json.loads(text)["entry"])


def table(resources: Iterable[Json]) -> dict[str, dict[str, Json]]:
    """Return what is kept, by type and URL.

    The expansions that HL7 publishes are not: those of value sets that cannot be computed here stop at 1,000 codes of
    each part, so that nobody can tell whether they are whole.
    """
    made: dict[str, dict[str, Json]] = {"CodeSystem": {}, "ValueSet": {}}
    for each in resources:
        if each["resourceType"] in made:
            made[each["resourceType"]][each["url"]] = _kept(each)
    return made


def _kept(resource: Json) -> Json:
    """Return a resource without what no membership depends on. Its URL is the key that it is kept under."""
    kept = {key: resource[key] for key in ("version", "content", "hierarchyMeaning") if key in resource}
    if resource["resourceType"] == "CodeSystem":
        declared = [{key: each[key] for key in ("code", "uri") if key in each} for each in resource.get("property", ())]
        return kept | ({"property": declared} if declared else {}) | {"concept": _concepts(resource)}
    compose = resource.get("compose", {})
    parts = {name: [_part(each) for each in compose[name]] for name in ("include", "exclude") if name in compose}
    return kept | {"compose": parts | ({"inactive": compose["inactive"]} if "inactive" in compose else {})}


def _part(said: Json) -> Json:
    kept = {key: said[key] for key in ("system", "version", "valueSet", "filter") if key in said}
    return kept | ({"concept": [{"code": each["code"]} for each in said["concept"]]} if "concept" in said else {})


def _concepts(parent: Json) -> list[Json]:
    return [
        {key: each[key] for key in ("code", "property") if key in each}
        | ({"concept": _concepts(each)} if "concept" in each else {})
        for each in parent.get("concept", ())
    ]


if __name__ == "__main__":
    sys.exit(main())
