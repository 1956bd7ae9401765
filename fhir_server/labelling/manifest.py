"""Reading which value sets give which labels, from folders with a manifest.json and FHIR ValueSets beside it.

    {"same": {"<code system>": ["<another URI of it>", …]},
     "labels": [{"file": "hiv.json", "labels": [{"system": …, "code": "HIV", "display": …}]}, …]}

same: code systems whose codes are read as those of another: national editions, OIDs.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from consent_engine.vocabulary import LabelKind, label_kind
from fhir_server.definitions.registry import Registry
from fhir_server.labelling.labeller import Label, Labeller, Rule, plain
from fhir_server.settings import SettingsError
from fhir_server.store.shadow import personal_types
from terminology.deciding import decided
from terminology.expansion import read_value_set
from terminology.members import CannotExpand

MANIFEST = "manifest.json"
# A Consent names codes to make a rule about them, and an AuditEvent tells what happened: neither is a finding.
NO_FINDINGS = frozenset({"AuditEvent", "Consent"})


class BadValueSets(SettingsError):
    """Value sets for labels cannot be used; the message says which file, and why."""


class Manifest(NamedTuple):
    """rules: what gives which labels. same: by the URI of a code system, the one whose codes it shares."""

    rules: tuple[Rule, ...]
    same: dict[str, str]


def labeller(registry: Registry, folders: Iterable[Path]) -> Labeller:
    """Return what labels the resources that say something of persons. Raises BadValueSets."""
    read = [manifest(each) for each in folders]
    return Labeller(
        [rule for each in read for rule in each.rules],
        of=personal_types(registry) - NO_FINDINGS,
        same={uri: system for each in read for uri, system in each.same.items()},
    )


def manifest(folder: Path) -> Manifest:
    """Return what the manifest of a folder says. Raises BadValueSets."""
    path = folder / MANIFEST
    said = _read(path)
    try:
        same = {plain(uri): system for system, uris in said.get("same", {}).items() for uri in uris}
        rows = [(str(each["file"]), tuple(_label(each) for each in each["labels"])) for each in said["labels"]]
    except (AttributeError, KeyError, TypeError) as error:
        raise BadValueSets(f"{path} is not a manifest of labels: {type(error).__name__} {error}.") from None
    for file, labels in rows:
        if not labels or any(label_kind(each.system, each.code) is not LabelKind.SENSITIVITY for each in labels):
            raise BadValueSets(f"{path} gives {file} a label that is not a sensitivity, or none.")
    return Manifest(tuple(_rule(folder / file, labels) for file, labels in rows), same)


def _rule(path: Path, labels: tuple[Label, ...]) -> Rule:
    resource = _read(path)
    if resource.get("resourceType") != "ValueSet":
        raise BadValueSets(f"{path} is not a ValueSet.")
    try:
        return Rule(decided(read_value_set(resource)), labels)
    except CannotExpand as error:
        raise BadValueSets(f"{path} cannot be used for labels: {error}.") from None
    except (AttributeError, KeyError, TypeError) as error:
        raise BadValueSets(f"{path} is not a ValueSet as FHIR R4 has it: {type(error).__name__} {error}.") from None


def _label(said: dict[str, Any]) -> Label:
    return Label(str(said["system"]), str(said["code"]), said.get("display"))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except OSError as error:
        raise BadValueSets(f"{path} cannot be read: {error.strerror}.") from None
    except orjson.JSONDecodeError as error:
        raise BadValueSets(f"{path} is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise BadValueSets(f"{path} is not a JSON object.")
    return found
