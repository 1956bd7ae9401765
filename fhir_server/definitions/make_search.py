"""From SearchParameters and CompartmentDefinitions to search_parameters.json and compartments.json."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fhir_server.definitions.registry import EVERY_TYPE

Json = dict[str, Any]

# Full text and named queries: R4 gives them no expression and leaves their meaning to the server.
LEFT_OUT = {"_text", "_content", "_query"}


def search_parameters(
    defined: Iterable[Json], structures: Mapping[str, Json], served: list[str]
) -> Iterator[list[Any]]:
    """Yield [base, code, type, expression, url, targets, components] for every served base, in order."""
    by_url = {parameter["url"]: parameter for parameter in defined}
    allowed = _allowed_targets(structures)
    rows = []
    for parameter in by_url.values():
        components = [_component(part, by_url) for part in parameter.get("component", ())]
        for base in parameter["base"]:
            if base not in (*served, "Resource") or parameter["code"] in LEFT_OUT:
                continue
            expression = members_for(base, parameter["expression"])
            if not expression:
                print(f"search parameter {base}.{parameter['code']}: its expression says nothing of {base}")
                continue
            found = targets(parameter.get("target", ()), expression, allowed)
            kept = [type for type in sorted(found) if type in served]
            said = EVERY_TYPE if kept == served else kept
            rows.append([base, parameter["code"], parameter["type"], expression, parameter["url"], said, components])
    yield from sorted(rows, key=lambda row: (row[0] != "Resource", row[0], row[1]))


def targets(listed: Iterable[str], expression: str, allowed: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the listed target types that the expression can lead to.

    R4 lists targets once for all bases of a parameter: Patient and Group for `patient` everywhere, although nearly
    every base admits patients only. A chain without a type (patient.name) needs to know that.
    allowed: target types by element path, where the element does not admit all.
    """
    found: set[str] = set()
    for member in _members(expression):
        resolved = re.search(r"resolve\(\) is (\w+)", member)
        path = re.sub(r"\(| as \w+\)|\.as\(\w+\)", "", member)
        found |= {resolved[1]} if resolved else allowed.get(path, frozenset(listed))
    return frozenset(listed) & found


def _allowed_targets(structures: Mapping[str, Json]) -> dict[str, frozenset[str]]:
    allowed = {}
    for structure in structures.values():
        for element in structure["snapshot"]["element"]:
            profiles = [said.get("targetProfile", ()) for said in element.get("type", ())]
            names = frozenset(profile.rpartition("/")[2] for group in profiles for profile in group)
            if names and "Resource" not in names:
                allowed[element["path"].removesuffix("[x]")] = names
    return allowed


def _component(part: Json, by_url: Mapping[str, Json]) -> list[str]:
    definition = by_url[part["definition"]]
    return [definition["code"], definition["type"], part["expression"]]


def members_for(base: str, expression: str) -> str:
    """Return the members of a union that start at this base or at no type at all, joined again.

    >>> members_for("Condition", "AllergyIntolerance.code | (Condition.code as CodeableConcept) | Condition.codex")
    '(Condition.code as CodeableConcept) | Condition.codex'
    >>> members_for("InsurancePlan", "name | alias")
    'name | alias'
    """
    return " | ".join(member for member in _members(expression) if _start(member) in (base, None))


def _members(expression: str) -> list[str]:
    parts, depth = [""], 0
    for character in expression:
        depth += (character == "(") - (character == ")")
        if character == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _start(member: str) -> str | None:
    found = re.match(r"\(*\s*([A-Z]\w*)", member)
    return found[1] if found else None


def compartments(defined: Iterable[Json], rows: Iterable[list[Any]], served: list[str]) -> list[list[Any]]:
    """Return [compartment, type, parameter codes] for each served type that can be in it."""
    known = {(row[0], row[1]) for row in rows}
    found = []
    for definition in sorted(defined, key=lambda d: str(d["code"])):
        for entry in sorted(definition["resource"], key=lambda r: str(r["code"])):
            type = entry["code"]
            if type not in served:
                continue
            # {def}: the resource that gives the compartment its name; no search parameter.
            listed = [code for code in entry.get("param", ()) if code != "{def}"]
            for code in listed:
                if (type, code) not in known:
                    print(f"compartment {definition['code']}: {type} has no search parameter {code}")
            if kept := [code for code in listed if (type, code) in known]:
                found.append([definition["code"], type, kept])
    return found
