"""Who may see what, said a second time: from the resources as they were written, with nothing keyed and nothing compiled.

It shares the reading and evaluation of single Consents (consent_engine, which has its own second reading) and the
search for resident id numbers; whose record it is, what it carries, and the default policy are stated here anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from consent_engine.consent import read_consent
from consent_engine.decision import Mode, Verdict, decide
from consent_engine.predicate import Record
from consent_engine.rules import AccessRequest, Compiled, rules_for
from fhir_server.auth.bearer import requester_of
from fhir_server.auth.requester import Requester
from tests.noninterference.belonging import belongs_to, facts_of
from tests.noninterference.masks import masked
from tests.noninterference.scoped import Way, ways
from tests.noninterference.speaking import spoken_for
from tests.noninterference.written import Records, Version

NOW = datetime(2026, 6, 15, 12, 30, tzinfo=UTC)
DIRECTORY = {"Organization", "Practitioner", "PractitionerRole"}
NOT_IN_COMPARTMENT = {"Device"}
TREATMENT = {"TREAT", "ETREAT", "BTG", "COC"}
EMERGENCY = {"ETREAT", "BTG"}
BREAK_THE_GLASS = "BTG"


@dataclass(frozen=True)
class User:
    """Who asks, as the claims of the token say."""

    role: str
    user: str
    organization: str
    purpose: str
    scope: str
    patient: str | None = None
    reason: str | None = None
    practitioner_role: str | None = None
    department: str | None = None

    @property
    def institutional(self) -> bool:
        return self.role in ("practitioner", "system")

    def request(self, memberships: set[str]) -> AccessRequest:
        actors = {self.user, *memberships}
        if self.institutional:
            actors |= {f"Organization/{each}" for each in (self.organization, self.department) if each}
            actors |= {self.practitioner_role} if self.practitioner_role else set()
        return AccessRequest(frozenset(actors), self.purpose, "access", self.role == "related-person")

    @property
    def claims(self) -> dict[str, str]:
        """What the token says."""
        said = {
            "role": self.role,
            "fhirUser": self.user,
            "org": self.organization,
            "purpose": self.purpose,
            "scope": self.scope,
            "patient": self.patient,
            "reason": self.reason,
            "practitionerRole": self.practitioner_role,
            "department": self.department,
        }
        return {name: value for name, value in said.items() if value is not None}

    @property
    def requester(self) -> Requester:
        return requester_of(self.claims)

    @property
    def context(self) -> str | None:
        return self.user if self.role == "patient" else self.patient

    def ways(self, type: str, letter: str) -> list[Way]:
        """Return the ways by which the scopes allow an interaction on a type."""
        return ways(self.scope, type, letter, ("user", "system") if self.role == "system" else ("user", "patient"))


class Oracle:
    """What one user may see of records at NOW."""

    def __init__(
        self,
        records: Records,
        user: User,
        *,
        reporting: str = "",
        treatment: bool = True,
        mode: Mode = Mode.DENY_OVERRIDES,
    ) -> None:
        self.records, self.user, self.reporting, self.treatment, self.mode = records, user, reporting, treatment, mode
        self.consents: dict[str, list[Compiled]] = {}
        self._request = user.request(belongs_to(records, user.claims, NOW))
        self._facts = facts_of(records)
        # The persons for whom the user speaks.
        self.spoken = spoken_for(records, user.user, NOW) if user.role == "related-person" else set[str]()
        for each in records.current():
            if each.type == "Consent":
                self._hear(each)

    def _hear(self, each: Version) -> None:
        consent = read_consent(
            each.content,
            id=each.id,
            version=str(each.number),
            zone=UTC,
            authority=None if each.by_patient else each.organization,
            facts=self._facts,
        )
        compiled = rules_for(consent, self._request, NOW)
        for person in self.records.record(each).persons:
            self.consents.setdefault(str(person), []).append(compiled)

    @property
    def _reports(self) -> bool:
        user = self.user
        return user.role == "system" and user.purpose == "PUBHLTH" and user.user == self.reporting

    def sees(self, version: Version, letter: str) -> bool:
        """Return whether the user may see a version by a read (r) or a search (s)."""
        user, record = self.user, self.records.record(version)
        leading = [way for way in user.ways(version.type, letter) if way.leads_to(version.type, version.content)]
        if version.type in DIRECTORY:
            return bool(leading)
        if not any(not way.in_context or record.persons == {self._person(user.context)} for way in leading):
            return False
        own_institution = user.institutional and version.organization == user.organization
        if self._reports or version.type in NOT_IN_COMPARTMENT:
            return own_institution
        if user.purpose == BREAK_THE_GLASS and not (record.persons and all(map(self._broken, record.persons))):
            return False
        if not record.persons:
            return own_institution and user.purpose in TREATMENT
        persons = [str(each) for each in record.persons if not self._is_as_own(str(each), version.type)]
        return all(self._person_allows(each, record, own_institution) for each in persons)

    def shown(self, version: Version) -> Version:
        """Return a version that the user may see as it is shown: without what obligations withhold of it."""
        record = self.records.record(version)
        persons = {str(each) for each in record.persons if not self._is_as_own(str(each), version.type)}
        due = {
            obligation.element
            for person in (() if self._reports or version.type in {*DIRECTORY, *NOT_IN_COMPARTMENT} else persons)
            for compiled in self.consents.get(person, ())
            for rule in compiled.rules
            for obligation in rule.obligations
            if rule.when.holds(record)
        }
        content = masked(version.content, due)
        if content is version.content:
            return version
        return replace(version, content=content, resource=content if version.resource else None)

    def _person(self, patient: str | None) -> str | None:
        return self.records.person_of(patient.removeprefix("Patient/")) if patient else None

    def _is_as_own(self, person: str, type: str) -> bool:
        """Return whether the user sees a person's records of a type as their own: Consents, of whom they speak for."""
        if type == "Consent" and person in self.spoken:
            return True
        return self.user.role == "patient" and person == self._person(self.user.user)

    def _broken(self, person: object) -> bool:
        """Return whether the user breaks the glass for a person."""
        user = self.user
        emergency = user.role == "practitioner" and user.purpose in EMERGENCY and bool(user.reason)
        return emergency and user.patient is not None and person == self._person(user.patient)

    def _person_allows(self, person: str, record: Record, own_institution: bool) -> bool:
        said = decide(self.consents.get(person, ()), record, self.mode).because
        if said in (Verdict.FORBIDS, Verdict.UNREADABLE):
            return False
        treats = self.treatment and own_institution and self.user.purpose in TREATMENT
        return said is Verdict.PERMITS or self._broken(person) or treats
