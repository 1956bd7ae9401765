"""Obligations on a permit: what of a record it opens only without, or with masked, elements (D18).

R4 has no element for them, so they stand in an extension on the provision:
  {"url": OBLIGATION, "extension": [{"url": "obligation", "valueCoding": ActCode REDACT or MASK},
                                    {"url": "element", "valueString": "Patient.telecom"}]}
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from consent_engine.elements import Unreadable, coding, entries
from consent_engine.reasons import Reason
from consent_engine.resource_types import RESOURCE_TYPE_NAMES
from consent_engine.vocabulary import ACT_CODE, OBLIGATION

ACTIONS = frozenset({"REDACT", "MASK"})

_ELEMENT = re.compile(r"([A-Z][A-Za-z]+)\.([a-z][A-Za-z]*)(?:\.[a-z][A-Za-z]*)*", re.ASCII)
# Without these a record is none, or could be taken for one that has no restriction.
_INDISPENSABLE = frozenset({"id", "implicitRules", "meta", "modifierExtension", "resourceType"})
_SIMPLE = frozenset({"url", "id"})
_CODING = frozenset({"id", "system", "version", "code", "display", "userSelected"})


@dataclass(frozen=True, slots=True)
class Obligation:
    """What is to be done to a record before it is shown.

    action: "REDACT" (remove) or "MASK" (replace by a data-absent reason); element: "Patient.telecom".
    """

    action: str
    element: str


def read_obligations(value: object) -> frozenset[Obligation]:
    """Return the obligations in the extensions of a provision. Raises Unreadable if one is anything else."""
    return frozenset(_obligation(each) for each in entries(value))


def _obligation(extension: Mapping[str, Any]) -> Obligation:
    if extension.get("url") != OBLIGATION:
        raise Unreadable(Reason.UNKNOWN_ELEMENT)
    if extension.keys() - _SIMPLE != {"extension"}:
        raise Unreadable(Reason.OBLIGATION)
    parts = {str(each.get("url")): each for each in entries(extension["extension"])}
    if parts.keys() != {"obligation", "element"} or len(extension["extension"]) != len(parts):
        raise Unreadable(Reason.OBLIGATION)
    return Obligation(_action(parts["obligation"]), _element(parts["element"]))


def _action(part: Mapping[str, Any]) -> str:
    value = part.get("valueCoding")
    if part.keys() - _SIMPLE != {"valueCoding"} or not isinstance(value, Mapping) or value.keys() - _CODING:
        raise Unreadable(Reason.OBLIGATION)
    system, code = coding(value)
    if system != ACT_CODE or code not in ACTIONS:
        raise Unreadable(Reason.OBLIGATION)
    return code


def _element(part: Mapping[str, Any]) -> str:
    value = part.get("valueString")
    found = _ELEMENT.fullmatch(value) if isinstance(value, str) else None
    if part.keys() - _SIMPLE != {"valueString"} or not found:
        raise Unreadable(Reason.OBLIGATION)
    if found[1] not in RESOURCE_TYPE_NAMES or found[2] in _INDISPENSABLE:
        raise Unreadable(Reason.OBLIGATION)
    return found[0]
