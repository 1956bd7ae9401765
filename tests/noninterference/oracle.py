"""Who may see what, said a second time: from the resources as they were written, with nothing keyed and nothing compiled.

It shares the reading and evaluation of single Consents (consent_engine, which has its own second reading) and the
search for resident id numbers; whose record it is, what it carries, and the default policy are stated here anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from consent_engine.consent import read_consent
from consent_engine.decision import Verdict, decide
from consent_engine.predicate import Record
from consent_engine.rules import AccessRequest, Compiled, rules_for
from fhir_server.auth.bearer import requester_of
from fhir_server.auth.requester import Requester
from tests.noninterference.written import Records, Version

NOW = datetime(2026, 6, 15, 12, 30, tzinfo=UTC)
DIRECTORY = {"Organization", "Practitioner"}
NOT_IN_COMPARTMENT = {"Device"}
TREATMENT = {"TREAT", "ETREAT", "BTG", "COC"}
EMERGENCY = {"ETREAT", "BTG"}


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

    @property
    def institutional(self) -> bool:
        return self.role in ("practitioner", "system")

    @property
    def request(self) -> AccessRequest:
        actors = {self.user} | ({f"Organization/{self.organization}"} if self.institutional else set())
        actors |= {self.practitioner_role} if self.practitioner_role and self.institutional else set()
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
        }
        return {name: value for name, value in said.items() if value is not None}

    @property
    def requester(self) -> Requester:
        return requester_of(self.claims)

    @property
    def context(self) -> str | None:
        return self.user if self.role == "patient" else self.patient

    def reach(self, type: str, letter: str) -> str | None:
        """Return "all", "context" or None: how far the scopes go."""
        contexts = ("user", "system") if self.role == "system" else ("user", "patient")
        found = set()
        for scope in self.scope.split():
            context, _, rest = scope.partition("/")
            of, _, letters = rest.partition(".")
            if of in ("*", type) and letter in letters and context in contexts:
                found.add(context)
        return "all" if found & {"user", "system"} else "context" if found else None


class Oracle:
    """What one user may see of records at NOW."""

    def __init__(self, records: Records, user: User, *, reporting: str = "", treatment: bool = True) -> None:
        self.records, self.user, self.reporting, self.treatment = records, user, reporting, treatment
        self.consents: dict[str, list[Compiled]] = {}
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
        )
        compiled = rules_for(consent, self.user.request, NOW)
        for person in self.records.record(each).persons:
            self.consents.setdefault(str(person), []).append(compiled)

    def sees(self, version: Version, letter: str) -> bool:
        """Return whether the user may see a version by a read (r) or a search (s)."""
        user, record = self.user, self.records.record(version)
        reach = user.reach(version.type, letter)
        if reach is None:
            return False
        if version.type in DIRECTORY:
            return True
        if reach == "context":
            context = user.context and self.records.person_of(user.context.removeprefix("Patient/"))
            if record.persons != {context}:
                return False
        own_institution = user.institutional and version.organization == user.organization
        if user.role == "system" and user.purpose == "PUBHLTH" and user.user == self.reporting:
            return own_institution
        if version.type in NOT_IN_COMPARTMENT:
            return own_institution
        if not record.persons:
            return own_institution and user.purpose in TREATMENT
        return all(self._person_allows(str(person), record, own_institution) for person in record.persons)

    def _person_allows(self, person: str, record: Record, own_institution: bool) -> bool:
        user = self.user
        if user.role == "patient" and person == self.records.person_of(user.user.removeprefix("Patient/")):
            return True
        said = decide(self.consents.get(person, ()), record).because
        if said in (Verdict.FORBIDS, Verdict.UNREADABLE):
            return False
        in_context = user.patient is not None and person == self.records.person_of(
            user.patient.removeprefix("Patient/")
        )
        broken = user.role == "practitioner" and user.purpose in EMERGENCY and bool(user.reason) and in_context
        treats = self.treatment and own_institution and user.purpose in TREATMENT
        return said is Verdict.PERMITS or broken or treats
