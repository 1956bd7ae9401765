"""Writes codes.json, the codes of R4's required bindings, from the files that HL7 publishes.

python -m fhir_server.validation.make --r4 DIR
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

PROFILES = ("profiles-types.json", "profiles-resources.json")
EXPANSIONS = "expansions.json"


def main(arguments: list[str] | None = None) -> int:
    """Write the table beside this file (or to --out). Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fhir_server.validation.make", description=main.__doc__)
    parser.add_argument(
        "--r4",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"folder with {', '.join(PROFILES)}, {EXPANSIONS} (or .gz)",
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("codes.json"), metavar="FILE")
    asked = parser.parse_args(arguments)
    asked.out.write_bytes(table(asked.r4))
    return 0


def table(folder: Path) -> bytes:
    """Return {"codes": {value set: [code]}, "elements": {"PatientLink.type": value set}} as JSON, sorted.

    Elements are those of type code with a required binding whose value set R4 publishes with its expansion; the
    others (media types) are open. A name is the path of the parent in one word, as the models are called.
    """
    codes = {url: found for url, found in _expansions(folder) if found}
    elements = {name: url for name, url in _bindings(folder) if url in codes}
    used = {url: sorted(codes[url]) for url in elements.values()}
    made = orjson.dumps({"codes": used, "elements": elements}, option=orjson.OPT_SORT_KEYS)
    return made.replace(b"],", b"],\n") + b"\n"


def _expansions(folder: Path) -> Iterator[tuple[str, set[str]]]:
    for value_set in _resources(folder / EXPANSIONS):
        if value_set["resourceType"] == "ValueSet":
            yield value_set["url"], set(_concepts(value_set.get("expansion", {})))


def _concepts(part: dict[str, Any]) -> Iterator[str]:
    for concept in part.get("contains", ()):
        if not concept.get("abstract"):
            yield concept["code"]
        yield from _concepts(concept)


def _bindings(folder: Path) -> Iterator[tuple[str, str]]:
    for structure in (s for name in PROFILES for s in _resources(folder / name)):
        if structure["resourceType"] != "StructureDefinition" or structure.get("derivation") != "specialization":
            continue
        for element in structure["snapshot"]["element"]:
            binding = element.get("binding", {})
            if binding.get("strength") == "required" and {"code": "code"}.items() <= element["type"][0].items():
                parent, _, name = element["path"].rpartition(".")
                yield f"{one_word(parent)}.{name}", binding["valueSet"].partition("|")[0]


def one_word(path: str) -> str:
    """Return the path of a backbone element as one word.

    >>> one_word("Bundle.entry.request")
    'BundleEntryRequest'
    """
    return "".join(part[0].upper() + part[1:] for part in path.split("."))


def _resources(path: Path) -> Iterator[dict[str, Any]]:
    packed = path.with_name(path.name + ".gz")
    raw = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    for entry in orjson.loads(raw)["entry"]:
        yield entry["resource"]


if __name__ == "__main__":
    raise SystemExit(main())
