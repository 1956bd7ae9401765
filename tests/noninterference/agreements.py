"""Random Consents, whose provisions speak of what the other random resources carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from itertools import combinations
from typing import Any

from hypothesis import strategies as st

from tests.consent_engine.build import (
    ACT_CODE,
    ACT_REASON,
    CONFIDENTIALITY,
    LOINC,
    TYPES,
    coding,
    concept,
    obligation,
)
from tests.noninterference.masks import ELEMENTS

Json = dict[str, Any]

ORGANIZATIONS = ("h1", "h2", "h3")
DOCTORS = ("dr1", "dr2", "dr3")  # each at the institution of the same number
CODES = ("c1", "c2", "c3")
DATES = ("2025", "2025-06", "2026-02-03", "2026-06-15T12:00:00Z", "2026-06-15T20:00:00.5+08:00")
CLASSES = ("Patient", "Observation", "Encounter")
# To whom users may belong; "none" is never written.
BELONGING = (
    ("Group", "gr1"),
    ("Group", "gr2"),
    ("Group", "none"),
    ("CareTeam", "ca1"),
    ("PractitionerRole", "pr1"),
    ("Organization", "dep1"),
)
PROFILE = "http://hl7.org/fhir/StructureDefinition/vitalsigns"
LABELS = [(CONFIDENTIALITY, code) for code in "NRV"] + [(ACT_CODE, code) for code in ("HIV", "PSY", "SUD")]


def as_list(one: Any) -> list[Any]:
    return [one]


rarely = st.integers(0, 9).map(lambda n: n == 9)
codes = st.sampled_from(CODES).map(lambda code: concept(LOINC, code))
dates = st.sampled_from(DATES)
periods = st.sampled_from([{"start": "2025-03"}, {"end": "2026-02-03"}, {"start": "2026-01", "end": "2026-06-15"}])


def subset(values: Sequence[Any], most: int, least: int = 0) -> st.SearchStrategy[list[Any]]:
    """Return so many of the values, each number of them equally often."""
    by_size = [st.sampled_from(list(combinations(values, size))) for size in range(least, most + 1)]
    return st.sampled_from(by_size).flatmap(lambda of_size: of_size).map(list)


@cache
def some_of(names: tuple[str, ...], most: int) -> st.SearchStrategy[list[str]]:
    """Return a subset of names; made once for all who ask, since to make a strategy takes longer than to draw from it."""
    return subset(names, most)


# What a provision may say that is the same in all worlds.
SAID: Mapping[str, st.SearchStrategy[Any]] = {
    "purpose": subset([coding(ACT_REASON, each) for each in ("TREAT", "ETREAT", "HRESCH")], 2, 1),
    "class": subset(
        [*(coding(TYPES, each) for each in CLASSES), coding("urn:ietf:rfc:3986", PROFILE)],
        2,
        1,
    ),
    "code": codes.map(as_list),
    "securityLabel": subset([coding(*label) for label in LABELS], 2, 1),
    "dataPeriod": periods,
    "period": periods,
    "action": st.just([concept("http://terminology.hl7.org/CodeSystem/consentaction", "access")]),
}
OF_CLASSES = subset([coding(TYPES, each) for each in CLASSES], 2, 1)
OBLIGING = st.lists(st.sampled_from(list(ELEMENTS)), min_size=4, max_size=12, unique=True)
ROLES = st.sampled_from(["PRCP", "PRCP", "IRCP", "AUT", "CST"])


class Agreements:
    """Makes Consents of the patients of one world. prefix: with which its ids begin."""

    def __init__(self, draw: st.DrawFn, patients: Sequence[str], prefix: str) -> None:
        self.draw = draw
        self.patients = patients
        self.prefix = prefix

    def consent(self) -> Json:
        status = self.draw(st.sampled_from(["active"] * 7 + ["inactive"]))
        scope = self.draw(st.sampled_from(["patient-privacy"] * 7 + ["research"]))
        policy = self.draw(st.sampled_from([None] * 6 + ["OPTIN", "OPTOUT"]))
        return {
            "status": status,
            "scope": concept("http://terminology.hl7.org/CodeSystem/consentscope", scope),
            "category": [concept("http://loinc.org", "59284-0")],
            "patient": {"reference": f"Patient/{self.draw(st.sampled_from(self.patients))}"},
            **({} if self.draw(rarely) else {"dateTime": self.draw(dates)}),
            **({"policyRule": concept(ACT_CODE, policy)} if policy else {}),
            **self._performers(),
            "provision": self._broad() if self.draw(st.booleans()) else self._provision(0),
        }

    def _performers(self) -> Json:
        """Return who gave it: mostly nobody is named; a child's mother, a stranger, one who is not there, the patient."""
        named = [f"RelatedPerson/{self.prefix}-rp1"] * 3 + [f"RelatedPerson/{self.prefix}-none", "Practitioner/dr1"]
        if self.draw(st.integers(0, 3)) < 3:
            return {}
        found = self.draw(subset([*named[2:], f"Patient/{self.patients[0]}"], 2, 1))
        return {"performer": [{"reference": each} for each in found]}

    def _provision(self, depth: int) -> Json:
        elements: dict[str, st.SearchStrategy[Any]] = {
            "actor": self._actors,
            **{name: SAID[name] for name in ("purpose", "class", "code", "securityLabel", "dataPeriod", "period")},
            "data": self._data,
            "action": SAID["action"],
        }
        chosen = self.draw(some_of(tuple(elements), 2))
        found: Json = {name: self.draw(elements[name]) for name in chosen}
        if not self.draw(rarely):
            found["type"] = self.draw(st.sampled_from(["permit", "deny"]))
        if found.get("type") == "permit" and self.draw(st.integers(0, 2)) == 2:
            found["extension"] = self._obligations()
        if depth < 2 and (nested := self.draw(st.integers(0, 5)) // 4):
            found["provision"] = [self._provision(depth + 1) for _ in range(nested)]
        return found

    def _broad(self) -> Json:
        """Return a provision that bears on most requesters and records, so that several speak of the same."""
        kind = self.draw(st.sampled_from(["permit", "permit", "deny"]))
        narrowed = self.draw(st.sampled_from(["actor", "class", "code", "data", None, None]))
        made = {"actor": self._one_actor, "class": OF_CLASSES, "code": SAID["code"], "data": self._data}
        obliging = kind == "permit" and self.draw(st.integers(0, 2))
        return {
            "type": kind,
            **({narrowed: self.draw(made[narrowed])} if narrowed else {}),
            **({"extension": self._obligations()} if obliging else {}),
        }

    def _obligations(self) -> list[Json]:
        action = self.draw(st.sampled_from(["REDACT", "MASK"]))
        return [obligation(action, each) for each in self.draw(OBLIGING)]

    @cached_property
    def _one_actor(self) -> st.SearchStrategy[list[Json]]:
        return st.tuples(self._actor).map(list)

    @cached_property
    def _actors(self) -> st.SearchStrategy[list[Json]]:
        return st.one_of(st.tuples(self._actor), st.tuples(self._actor, self._actor)).map(list)

    @cached_property
    def _actor(self) -> st.SearchStrategy[Json]:
        who = [f"Organization/{id}" for id in ORGANIZATIONS] + [f"Practitioner/{id}" for id in DOCTORS]
        who += ["Device/emr-h1", f"RelatedPerson/{self.prefix}-rp1", *(f"Patient/{id}" for id in self.patients)]
        who += [f"{type}/{self.prefix}-{name}" for type, name in BELONGING]
        participation = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
        return st.builds(
            lambda role, who: {"role": concept(participation, role), "reference": {"reference": who}},
            ROLES,
            st.sampled_from(who),
        )

    @cached_property
    def _data(self) -> st.SearchStrategy[list[Json]]:
        of = [("instance", f"Observation/{self.prefix}-ob1"), ("instance", f"Patient/{self.patients[0]}")]
        of.append(("authoredby", "Practitioner/dr1"))
        named = [f"Encounter/{self.prefix}-en1", f"Composition/{self.prefix}-cm1", f"Patient/{self.patients[0]}"]
        of += [(meaning, each) for meaning in ("related", "dependents") for each in named]
        of.append(("related", f"Encounter/{self.prefix}-none"))
        datum = st.sampled_from(of).map(lambda said: {"meaning": said[0], "reference": {"reference": said[1]}})
        return datum.map(as_list)
