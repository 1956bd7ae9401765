"""Who gave a Consent: the patient, or others in the patient's stead, and until when these may speak for the patient (D1).

A RelatedPerson speaks for a patient who is under age, or by a power that lasts. Sources: Civil Code of the PRC, art. 17
(of age at 18) and 23 (a guardian acts for who cannot); FHIR R4, Consent.performer and RelatedPerson.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import Enum
from typing import Any

from consent_engine import vocabulary as v
from consent_engine.dates import Span, span
from consent_engine.elements import Unreadable, complete_codings, period, relative_reference
from consent_engine.groups import Facts, changes_meaning

OF_AGE = 18

ALWAYS = Span(None, None)


class Mandate(Enum):
    """Whether a Consent was given by somebody who may give it, at an instant."""

    VALID = "valid"
    IN_DOUBT = "in doubt"
    LAPSED = "lapsed"


@dataclass(frozen=True, slots=True)
class Proxies:
    """When those who gave a Consent in the patient's stead may speak for the patient.

    surely: times at which one of them is known to; perhaps: times at which that is not known.
    """

    surely: tuple[Span, ...]
    perhaps: tuple[Span, ...]

    def mandate(self, at: datetime) -> Mandate:
        if any(each.covers(at) for each in self.surely):
            return Mandate.VALID
        return Mandate.IN_DOUBT if any(each.covers(at) for each in self.perhaps) else Mandate.LAPSED


def rests_on_proxies(resource: Mapping[str, Any]) -> frozenset[str]:
    """Return "Type/id" of what must be known of those who gave the Consent; nothing if the patient did."""
    patient, performers = _parties(resource)
    named = frozenset(each for each in performers if each and each.startswith("RelatedPerson/"))
    if not named or patient in performers:
        return frozenset()
    return named | frozenset(filter(None, [patient]))


def read_proxies(resource: Mapping[str, Any], zone: tzinfo, facts: Facts) -> Proxies | None:
    """Return when those who gave the Consent may speak for the patient; None: the patient gave it, or nobody is named.

    Whoever is named only beside the patient, or only as a professional who took the Consent down, changes nothing.
    """
    patient, performers = _parties(resource)
    if (patient and patient in performers) or not any(map(_stands_in, performers)):
        return None
    times = [_times(each, patient, zone, facts) for each in performers if _stands_in(each)]
    return Proxies(tuple(s for surely, _ in times for s in surely), tuple(p for _, perhaps in times for p in perhaps))


def _parties(resource: Mapping[str, Any]) -> tuple[str | None, list[str | None]]:
    """The patient, and the performers; None stands for one of whom it cannot be said who it is."""
    performers = resource.get("performer", [])
    named = performers if isinstance(performers, list) else [None]
    return relative_reference(resource.get("patient")), [relative_reference(each) for each in named]


_PROFESSIONAL = ("Practitioner/", "PractitionerRole/", "Organization/")


def _stands_in(performer: str | None) -> bool:
    return performer is None or not performer.startswith(_PROFESSIONAL)


Times = tuple[tuple[Span, ...], tuple[Span, ...]]
NOT_KNOWN: Times = (), (ALWAYS,)
NEVER: Times = (), ()


def _times(proxy: str | None, patient: str | None, zone: tzinfo, facts: Facts) -> Times:
    """When one proxy surely, and when perhaps, may speak for the patient."""
    fact = facts.get(proxy) if proxy and proxy.startswith("RelatedPerson/") else None
    if fact is None or patient is None or changes_meaning(fact):
        return NOT_KNOWN
    if relative_reference(fact.get("patient")) != patient:
        return NOT_KNOWN  # written down for another, or for one whose record was merged
    if fact.get("active", True) is not True:
        return NEVER if fact["active"] is False else NOT_KNOWN
    try:
        in_force = period(fact["period"], zone) if "period" in fact else ALWAYS
    except Unreadable:
        return NOT_KNOWN
    surely, perhaps = ((ALWAYS,), ()) if _lasts(fact) else _childhood(facts.get(patient), zone)
    return _within(in_force, surely), _within(in_force, perhaps)


def _lasts(proxy: Mapping[str, Any]) -> bool:
    relationships = proxy.get("relationship")
    found = [c for each in _list(relationships) for c in complete_codings(each)]
    return any(system == v.ROLE_CODE and code in v.LASTING_POWERS for system, code in found)


def _list(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else ()


def _childhood(patient: Mapping[str, Any] | None, zone: tzinfo) -> Times:
    """Until when the patient is surely, and from then on perhaps, under age."""
    if patient is None or changes_meaning(patient):
        return NOT_KNOWN
    found = _of_age(patient.get("birthDate"), zone)
    if found is None:
        return NOT_KNOWN
    first, last = found
    return (Span(None, first),), ((Span(first, last),) if first < last else ())


def _of_age(birth_date: object, zone: tzinfo) -> tuple[datetime, datetime] | None:
    """Between which instants a person comes of age: at the start of a birthday, which may be known by month or year only.

    Born on 29 February: on 28 February or 1 March of a common year; the law can be read either way.
    """
    if not isinstance(birth_date, str) or span(birth_date, zone) is None or "T" in birth_date:
        return None
    birthday = f"{int(birth_date[:4]) + OF_AGE:04}{birth_date[4:]}"
    covered = span(birthday, zone)
    if covered is None:
        return span(birthday[:5] + "02-28", zone)
    return covered[0], covered[0] if len(birthday) == len("2010-01-01") else covered[1]


def _within(outer: Span, inner: tuple[Span, ...]) -> tuple[Span, ...]:
    both = (outer.intersection(each) for each in inner)
    return tuple(each for each in both if each is not None)
