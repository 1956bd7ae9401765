"""The short words of the rows, and the FHIR that they stand for.

A Consent is a phrase with elements below it and elements of the Consent beside it:

    - permit Org1 TREAT: {securityLabel: [N], provision: [deny: {securityLabel: [HIV]}]}
      dateTime: 2026-01-01

A phrase is "permit" or "deny", then actors (a name of the fixture, or Type/id) and purposes (codes of v3 ActReason).
Whatever is not a short word is FHIR and goes into the Consent as it is.
Source: FHIR R4 Consent; HL7 v3 ActReason, ActCode, Confidentiality, ParticipationType.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Names = Callable[[str], str]

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"
ACT_REASON, ACT_CODE = TERMINOLOGY + "v3-ActReason", TERMINOLOGY + "v3-ActCode"
CONFIDENTIALITY, PARTICIPATION = TERMINOLOGY + "v3-Confidentiality", TERMINOLOGY + "v3-ParticipationType"
SCOPE, ACTION = TERMINOLOGY + "consentscope", TERMINOLOGY + "consentaction"
TYPES = "http://hl7.org/fhir/resource-types"
OBLIGATION = "https://fhir-facade.example.org/fhir/StructureDefinition/consent-obligation"
CONFIDENTIALITIES = frozenset("ULMNRV")
PURPOSES = frozenset("TREAT ETREAT BTG HRESCH CLINTRCH PUBHLTH HPAYMT HOPERAT PATRQT HMARKT".split())
EFFECTS = ("permit", "deny")


class Unreadable(ValueError):
    """A row says something that is no word of the suite; the message says what."""


def coding(system: str, code: str) -> Json:
    return {"system": system, "code": code}


def label(word: str) -> Json:
    """Return a security label: a letter is a confidentiality, else a code of ActCode."""
    return coding(CONFIDENTIALITY if word in CONFIDENTIALITIES else ACT_CODE, word)


def phrase(said: str) -> tuple[str, list[str], list[str]]:
    """Return the effect, the actors and the purposes of a phrase.

    >>> phrase("permit Org1 TREAT")
    ('permit', ['Org1'], ['TREAT'])
    """
    effect, *words = said.split()
    if effect not in EFFECTS:
        raise Unreadable(f"{said!r} does not begin with permit or deny")
    return effect, [word for word in words if word not in PURPOSES], [word for word in words if word in PURPOSES]


class Short:
    """Writes the FHIR of short words. names: from a name to a reference; codes: from a name to "system|code"."""

    def __init__(self, names: Names, codes: Mapping[str, str]) -> None:
        self._names = names
        self._codes = codes
        self._elements: Mapping[str, Callable[[Any], tuple[str, Any]]] = {
            "actor": lambda given: ("actor", [self._actor(each) for each in given]),
            "action": lambda given: ("action", [self._coded(ACTION, each) for each in given]),
            "securityLabel": lambda given: ("securityLabel", [_or(label, each) for each in given]),
            "purpose": lambda given: ("purpose", [_or(lambda code: coding(ACT_REASON, code), each) for each in given]),
            "class": lambda given: ("class", [_or(_class, each) for each in given]),
            "code": lambda given: ("code", [self.concept(each) for each in given]),
            "data": lambda given: (
                "data",
                [self._data(each) for each in (given if isinstance(given, list) else [given])],
            ),
            "obligation": lambda given: ("extension", [_obligation(each) for each in given]),
            "provision": lambda given: ("provision", [self.provision(each) for each in given]),
        }

    def consent(self, given: Any) -> Json:
        """Return the Consent that a row gives, without its patient."""
        said = {given: {}} if isinstance(given, str) else dict(given)
        rule = next((each for each in said if each.split()[0] in EFFECTS), None)
        provision = {} if rule is None else {"provision": self._rule(rule, said.pop(rule))}
        base = {"status": "active", "scope": "patient-privacy", "dateTime": "2026-01-01"}
        made = {"category": [{"text": "disclosure"}], **base, **provision, **said}
        return {"resourceType": "Consent", **{name: self._own(name, value) for name, value in made.items()}}

    def provision(self, given: Any) -> Json:
        """Return one provision: a phrase, or a phrase with elements below it, or FHIR as it is."""
        if isinstance(given, str):
            return self._rule(given, {})
        if len(given) == 1 and next(iter(given)).split()[0] in EFFECTS:
            return self._rule(*next(iter(given.items())))
        return dict(given)

    def concept(self, given: Any) -> Any:
        """Return a CodeableConcept: a name of the fixture's codes, "system|code", or FHIR as it is."""
        if not isinstance(given, str):
            return given
        system, _, code = self._codes.get(given, given).partition("|")
        return {"coding": [coding(system, code)]}

    def _rule(self, said: str, elements: Mapping[str, Any]) -> Json:
        effect, actors, purposes = phrase(said)
        made = dict(filter(None, (self._element(*each) for each in (elements or {}).items())))
        for name, given in (("actor", actors), ("purpose", purposes)):
            if given:
                made = {**dict([self._elements[name](given)]), **made}
        return {"type": effect, **made}

    def _element(self, name: str, given: Any) -> tuple[str, Any]:
        known = self._elements.get(name)
        return known(given) if known and (name == "data" or isinstance(given, list)) else (name, given)

    def _own(self, name: str, given: Any) -> Any:
        if name == "scope":
            return self._coded(SCOPE, given)
        if name == "policyRule":
            return self._coded(ACT_CODE, given)
        if name in ("performer", "organization") and isinstance(given, list):
            return [{"reference": self._names(each)} if isinstance(each, str) else each for each in given]
        return str(given) if name == "dateTime" else given

    def _actor(self, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        role, _, name = given.rpartition(" ")
        concept = {"coding": [coding(PARTICIPATION, role or "PRCP")]}
        return {"role": concept, "reference": {"reference": self._names(name)}}

    def _coded(self, system: str, given: Any) -> Any:
        return {"coding": [coding(system, given)]} if isinstance(given, str) else given

    def _data(self, given: Mapping[str, str]) -> Any:
        (meaning, name), *more = given.items()
        if more:
            return given
        return {"meaning": meaning, "reference": {"reference": self._names(name)}}


def _or(made: Callable[[str], Json], given: Any) -> Any:
    return made(given) if isinstance(given, str) else given


def _class(word: str) -> Json:
    system, _, code = word.rpartition("|")
    return coding(system or TYPES, code)


def _obligation(given: Mapping[str, str]) -> Json:
    ((action, element),) = given.items()
    parts = [{"url": "obligation", "valueCoding": coding(ACT_CODE, action)}, {"url": "element", "valueString": element}]
    return {"url": OBLIGATION, "extension": parts}
