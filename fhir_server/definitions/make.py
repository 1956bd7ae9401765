"""Writes the tables of this folder from the files that HL7 publishes.

python -m fhir_server.definitions.make --r4 DIR --r4b DIR
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fhir_server.definitions.make_elements import code_systems, compare, elements
from fhir_server.definitions.make_search import compartments, search_parameters
from fhir_server.definitions.make_summary import summary

Json = dict[str, Any]

R4_FILES = (
    "profiles-types.json",
    "profiles-resources.json",
    "search-parameters.json",
    "valuesets.json",
    "v3-codesystems.json",
)


def main(arguments: list[str] | None = None) -> int:
    """Write the tables; print what was left out and why. Returns the exit status."""
    asked = _arguments().parse_args(arguments)
    r4 = [entry["resource"] for name in R4_FILES for entry in _read(asked.r4 / name)["entry"]]
    r4b = [_read(path) for path in sorted(asked.r4b.glob("StructureDefinition-*.json"))]
    if not r4b:
        print(f"no StructureDefinition-*.json in {asked.r4b}", file=sys.stderr)
        return 2
    for name, lines in tables(r4, r4b).items():
        (asked.out / name).write_text(lines, encoding="utf-8")
        print(f"{name}: {len(lines)} bytes")
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fhir_server.definitions.make",
        description="Write types.json, elements.json, summary.json, search_parameters.json and compartments.json from "
        "the files that HL7 publishes. The output depends on the input alone, so a second run changes nothing.",
        epilog="R4: https://hl7.org/fhir/R4/definitions.json.zip. "
        "R4B: `npm pack hl7.fhir.r4b.core@4.3.0`, then `tar xf` the archive: the folder is called package.",
    )
    parser.add_argument(
        "--r4", type=Path, required=True, metavar="DIR", help=f"folder with {', '.join(R4_FILES)}, each plain or .gz"
    )
    parser.add_argument(
        "--r4b", type=Path, required=True, metavar="DIR", help="unpacked package hl7.fhir.r4b.core 4.3.0"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, metavar="DIR", help="where to write (default: this package)"
    )
    return parser


def _read(path: Path) -> Json:
    packed = path.with_name(path.name + ".gz")
    text = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    found: Json = json.loads(text)
    return found


def tables(r4: Iterable[Json], r4b: Iterable[Json]) -> dict[str, str]:
    """Return the text of each table by file name."""
    r4 = list(r4)

    def of(kind: str) -> list[Json]:
        return [resource for resource in r4 if resource["resourceType"] == kind]

    structures = {s["id"]: s for s in of("StructureDefinition") if s["kind"] != "logical"}
    served, unserved = compare(structures, {s["id"]: s for s in r4b if s["kind"] != "logical"})
    systems = code_systems({value_set["url"]: value_set for value_set in of("ValueSet")})
    parameters = list(search_parameters(of("SearchParameter"), structures, served))
    return {
        "types.json": _types_file(served, unserved),
        "elements.json": _object(elements(structures, [*served, *unserved], systems)),
        "summary.json": _object(summary(structures, [*served, *unserved])),
        "search_parameters.json": _array(parameters),
        "compartments.json": _array(compartments(of("CompartmentDefinition"), parameters, served)),
    }


def _types_file(served: list[str], unserved: Mapping[str, str]) -> str:
    names = ",\n".join(_line(name) for name in served)
    return f'{{"served": [\n{names}\n],\n"unserved": {_object(unserved)}}}\n'


def _array(rows: Iterable[list[Any]]) -> str:
    return "[\n" + ",\n".join(_line(row) for row in rows) + "\n]\n"


def _object(rows: Mapping[str, Any]) -> str:
    return "{\n" + ",\n".join(f"{_line(key)}: {_line(row)}" for key, row in rows.items()) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    sys.exit(main())
