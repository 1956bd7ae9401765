"""From StructureDefinitions and ValueSets to the types served and their element tree (types.json, elements.json)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

NEVER_STORED = {"Parameters": "never stored: it only carries the input and output of operations"}
FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"


def compare(r4: Mapping[str, Json], r4b: Mapping[str, Json]) -> tuple[list[str], dict[str, str]]:
    """Return the types served, and the reason for each R4 type that is not.

    Served are those whose element tree R4B left as it was, since resources are validated by R4B models.
    """
    served, unserved = [], {}
    for name, structure in sorted(r4.items()):
        if structure["kind"] != "resource" or structure["abstract"]:
            continue
        reason = NEVER_STORED.get(name) or difference(structure, r4b.get(name))
        if reason:
            unserved[name] = reason
        else:
            served.append(name)
    for name, structure in sorted(r4.items()):
        if structure["kind"] == "complex-type" and (reason := difference(structure, r4b.get(name))):
            print(f"data type {name}: {reason}")
    return served, unserved


def difference(r4: Json, r4b: Json | None) -> str | None:
    """Return in words how the element tree of a type differs between R4 and R4B, None if it does not."""
    if r4b is None:
        return "gone in R4B"
    ours, theirs = _tree(r4), _tree(r4b)
    changed = sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))
    if not changed:
        return None
    named = ", ".join(changed[:3])
    return f"differs in R4B: {named}" + (f" and {len(changed) - 3} more elements" if len(changed) > 3 else "")


def _tree(structure: Json) -> dict[str, tuple[Any, ...]]:
    return {
        e["path"]: (
            e.get("min"),
            e.get("max"),
            sorted(said["code"] for said in e.get("type", ())),
            e.get("contentReference", "").rpartition("#")[2],
        )
        for e in structure["snapshot"]["element"]
    }


def elements(
    structures: Mapping[str, Json], resources: list[str], systems: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return {"path < base": {name: types}} for every type and backbone element; registry.py says how to read it.

    resources: the concrete resource types, those not served as well, which others can contain. Elements are in the
    order of the standard. Those that a type inherits stand with its base only; a base comes before what is built on it.
    """
    table: dict[str, dict[str, str]] = {}
    done: set[str] = set()

    def add(name: str) -> None:
        structure = structures.get(name)
        if structure is None or name in done:
            return
        done.add(name)
        add(_base(structure))
        table.update(_children(structure, systems))

    complex_types = (n for n, s in structures.items() if s["kind"] == "complex-type" and s["type"] == n)
    for name in (*sorted(complex_types), *resources):
        add(name)
    return table


def _types(element: Json) -> list[str]:
    """Return the type names of an element definition; for FHIRPath's own types the FHIR type they stand for."""
    found = []
    for said in element.get("type", ()):
        stands_for = (e["valueUrl"] for e in said.get("extension", ()) if e["url"] == FHIR_TYPE)
        found.append(next(stands_for, said["code"]))
    return found


def _base(structure: Json) -> str:
    base: str = structure.get("baseDefinition", "")
    return base.rpartition("/")[2]


def _children(structure: Json, systems: Mapping[str, str]) -> dict[str, dict[str, str]]:
    root, *below = structure["snapshot"]["element"]
    bases = {root["path"]: _base(structure)} | {e["path"]: _types(e)[0] for e in below if _types(e)}
    found: dict[str, dict[str, str]] = {root["path"]: {}}
    for element in below:
        parent, _, name = element["path"].rpartition(".")
        own = found.setdefault(parent, {})
        if element["base"]["path"] == element["path"]:
            many = "[]" if element["max"] != "1" else ""
            own[name + many] = _said(element, systems)
    return {f"{path} < {bases[path]}" if bases[path] else path: own for path, own in found.items()}


def _said(element: Json, systems: Mapping[str, str]) -> str:
    if "contentReference" in element:
        return str(element["contentReference"])
    if element["path"] == "Resource.id":
        return "id"  # published as string; the text of the standard says id
    binding = element.get("binding", {})
    system = systems.get(binding.get("valueSet", "").partition("|")[0])
    required = system and _types(element) == ["code"] and binding.get("strength") == "required"
    return "|".join(_types(element)) + (f" {system}" if required else "")


def code_systems(value_sets: Mapping[str, Json]) -> dict[str, str]:
    """Return {canonical URL of a value set: its code system} for those that draw from exactly one."""
    return {url: systems.pop() for url in value_sets if len(systems := _drawn_from(url, value_sets)) == 1}


def _drawn_from(url: str, value_sets: Mapping[str, Json]) -> set[str]:
    """Return the systems of a value set; "?" stands for what is not published here."""
    if url not in value_sets:
        return {"?", url}
    found: set[str] = set()
    for part in value_sets[url].get("compose", {}).get("include", ()):
        if "system" in part:
            found.add(part["system"])
        else:
            found.update(*(_drawn_from(other.partition("|")[0], value_sets) for other in part["valueSet"]))
    return found
