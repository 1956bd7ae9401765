"""The default policy: role and institution first, then what the patients' Consents say.

permitted = scopes of the token ∧ role policy ∧ consent. Rules by number:

1. An institution's clinicians and systems see its own records for treatment, unless the patient denies it.
2. Records of another institution need an active Consent of the patient that names the requester.
3. Deny beats permit (decided in consent_engine).
4. Break-glass (purpose ETREAT or BTG, with a reason, for the patient in the token's context) opens what nobody has
   permitted; it does not open what the patient has denied. It is audited as such, and the patient is notified. The
   purpose BTG without a reason, or for another patient, opens nothing at all. A reason whose time has passed is none
   (emergencies/limit.py): the gate takes it from the requester before this is asked.
5. Statutory reporting (purpose PUBHLTH) needs no consent and reaches only the systems named in the settings.
6. A patient sees their own records; a related person sees what the patient's Consent grants them.
7. Who speaks for a patient, such as the guardian of a minor, sees the patient's Consents as the patient does, and by this
   rule nothing else (consenting/speaking.py).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from consent_engine.obligations import Obligation
from consent_engine.predicate import (
    EVERYTHING,
    NOTHING,
    AnyOf,
    Attribute,
    Predicate,
    all_of,
    either,
    negate,
    per_person,
)
from consent_engine.vocabulary import purposes_covering
from fhir_server.auth.requester import INSTITUTIONAL, Requester, Role
from fhir_server.auth.scopes import Reach, Way
from fhir_server.store.permitted import Due

# Types that are about institutions, staff, products and definitions, never about a patient: every user may see them.
# A type outside this list and outside the Patient compartment is seen by its own institution alone.
DIRECTORY = frozenset(
    [
        "CapabilityStatement",
        "CodeSystem",
        "CompartmentDefinition",
        "ConceptMap",
        "Endpoint",
        "HealthcareService",
        "ImplementationGuide",
        "Location",
        "Medication",
        "MedicationKnowledge",
        "NamingSystem",
        "OperationDefinition",
        "Organization",
        "OrganizationAffiliation",
        "Practitioner",
        "PractitionerRole",
        "Questionnaire",
        "SearchParameter",
        "StructureDefinition",
        "StructureMap",
        "Substance",
        "TerminologyCapabilities",
        "ValueSet",
    ]
)

# Copies of many records in one. What a patient denies may stand in it, and what they permit of some records, or of one
# institution's, does not open the others: any denial hides it, an obligation too, and no permission opens it.
COLLECTIONS = frozenset({"Bundle"})

# What who speaks for a patient sees of them (rule 7).
SPOKEN_FOR = frozenset({"Consent"})

BREAK_THE_GLASS = "BTG"

# Stands for the institutions that an event of nobody known concerns: all of them. No Organization can have this id.
SERVER = "*"

# The SMART scope contexts that each role's tokens may use; scopes of another context grant nothing.
CONTEXTS = {
    Role.PRACTITIONER: frozenset({"user", "patient"}),
    Role.PATIENT: frozenset({"user", "patient"}),
    Role.RELATED_PERSON: frozenset({"user", "patient"}),
    Role.SYSTEM: frozenset({"system", "user"}),
    Role.AUDITOR: frozenset({"system", "user"}),
}


class Group(NamedTuple):
    """Persons whose Consents say the same of this requester. due: what is to be done to which of their records."""

    persons: frozenset[Hashable]
    permit: Predicate
    forbid: Predicate
    due: Due = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings of the default policy.

    treatment: rule 1 is in force (otherwise nothing is permitted without a Consent).
    reporting: users that do statutory reporting. gated: False only for a server that serves all it holds to everybody
    whose token's scopes allow it, as the reference side of the non-interference test does.
    """

    treatment: bool = True
    reporting: frozenset[str] = frozenset()
    gated: bool = True


def for_treatment(requester: Requester) -> bool:
    """Return whether the requester's purpose is treatment or a kind of it."""
    return "TREAT" in purposes_covering(requester.purpose)


def breaks_glass(requester: Requester) -> bool:
    """Return whether this is an emergency access with a stated reason (rule 4)."""
    if requester.role is not Role.PRACTITIONER or not requester.reason:
        return False
    return "ETREAT" in purposes_covering(requester.purpose)


def reports(requester: Requester, policy: Policy) -> bool:
    """Return whether this is statutory reporting by a system that is set to do it (rule 5)."""
    if requester.role is not Role.SYSTEM or requester.user not in policy.reporting:
        return False
    return "PUBHLTH" in purposes_covering(requester.purpose)


def as_own(type: str, own: frozenset[Hashable], spoken: frozenset[Hashable]) -> frozenset[Hashable]:
    """Return the persons whose records of a type a requester sees as if they were their own (rules 6 and 7)."""
    return own | spoken if type in SPOKEN_FOR else own


def permission(
    requester: Requester,
    type: str,
    letter: str,
    *,
    policy: Policy,
    groups: Sequence[Group],
    own: frozenset[Hashable],
    spoken: frozenset[Hashable] = frozenset(),
    context: frozenset[Hashable],
    personal: bool,
    term: Callable[[str], Hashable],
    hidden: Callable[[str], Predicate],
    unenforceable: Predicate,
) -> Predicate:
    """Return the predicate of the records of a type that the requester may touch.

    letter: permission in SMART's terms (c, r, u, d, s). groups: disjoint sets of persons whose Consents bear on the
    requester. own: person keys of the requester (patients). spoken: of those for whom the requester speaks.
    context: person keys of the token's patient in context.
    personal: whether records of the type can be a person's. term: keys an index term. hidden: of which records
    values of a search parameter are withheld: a scope that asks by it does not reach them, else it would tell the values.
    unenforceable: the records of which something is to be withheld that cannot be: they are withheld as a whole.
    """
    ways = requester.scopes.ways(type, letter, CONTEXTS[requester.role])
    if not ways:
        return NOTHING
    if not policy.gated:
        return EVERYTHING
    opened = context if breaks_glass(requester) else frozenset()
    own = as_own(type, own, spoken)
    by_role = _by_role(requester, type, policy=policy, groups=groups, own=own, opened=opened, personal=personal)
    if personal and requester.purpose == BREAK_THE_GLASS:
        # Whoever says so has to say why, and for whom: without it not even what a Consent permits for it is seen.
        by_role = all_of(by_role, per_person(((opened, EVERYTHING),) if opened else (), NOTHING, NOTHING))
    reached = either(*(_along(way, type, context, term, hidden) for way in ways))
    return all_of(by_role, reached, negate(unenforceable))


def _along(
    way: Way,
    type: str,
    context: frozenset[Hashable],
    term: Callable[[str], Hashable],
    hidden: Callable[[str], Predicate],
) -> Predicate:
    """Return what one way that a token's scopes open reaches of a type."""
    found: list[Predicate] = [AnyOf(Attribute.TERM, frozenset(map(term, each))) for each in way.terms]
    asked = {each.partition("|")[0] for terms in way.terms for each in terms}
    found += (negate(hidden(param)) for param in sorted(asked))
    if way.reach is Reach.PATIENT and type not in DIRECTORY:
        found.append(per_person(((context, EVERYTHING),) if context else (), NOTHING, NOTHING))
    return all_of(*found)


def due(groups: Sequence[Group], type: str, own: frozenset[Hashable]) -> Due:
    """Return the obligations that bind a requester who sees resources of a type, each with those for which it does.

    own: the persons whose records of the type are the requester's as_own; nothing is owed for these. One person's obligation
    binds for a record of several.
    """
    found: dict[Obligation, list[tuple[frozenset[Hashable], Predicate]]] = {}
    for group in groups:
        for obligation, when in group.due:
            if obligation.element.partition(".")[0] == type:
                found.setdefault(obligation, []).append((group.persons - own, negate(when)))
    # Not of every person that it is not due: due for the sake of one at least.
    return tuple(
        (obligation, negate(per_person(free, EVERYTHING, EVERYTHING)))
        for obligation, free in sorted(found.items(), key=_element)
    )


def _element(row: tuple[Obligation, object]) -> tuple[str, str]:
    return row[0].element, row[0].action


def _by_role(
    requester: Requester,
    type: str,
    *,
    policy: Policy,
    groups: Sequence[Group],
    own: frozenset[Hashable],
    opened: frozenset[Hashable],
    personal: bool,
) -> Predicate:
    institution = AnyOf(Attribute.CUSTODIAN, frozenset({requester.organization}))
    if type == "AuditEvent" or requester.role is Role.AUDITOR:
        # Only auditors see the log, and they see what concerns their institution: its users and its records.
        if type == "AuditEvent" and requester.role is Role.AUDITOR:
            return AnyOf(Attribute.CUSTODIAN, frozenset({requester.organization, SERVER}))
        return EVERYTHING if type in DIRECTORY and requester.role is Role.AUDITOR else NOTHING
    if type in DIRECTORY:
        return EVERYTHING
    if reports(requester, policy):
        return institution
    of_institution = institution if requester.role in INSTITUTIONAL else NOTHING
    if not personal:
        return of_institution
    nobodys = of_institution if for_treatment(requester) else NOTHING
    treated = nobodys if policy.treatment else NOTHING
    if type in COLLECTIONS:
        denied = [group.persons for group in groups if group.forbid != NOTHING or group.due]
        groups = [Group(persons, NOTHING, EVERYTHING) for persons in denied]
    return per_person(_stated(groups, own, opened, treated), treated, nobodys)


def _stated(
    groups: Sequence[Group], own: frozenset[Hashable], opened: frozenset[Hashable], treated: Predicate
) -> tuple[tuple[frozenset[Hashable], Predicate], ...]:
    """Return what must hold of the records of the persons of whom more is known than the rule for all.

    own: the requester's own. opened: those for whom the glass is broken: all but what they have denied.
    """
    known = frozenset(person for group in groups for person in group.persons)
    found: list[tuple[frozenset[Hashable], Predicate]] = [(own, EVERYTHING), (opened - known - own, EVERYTHING)]
    for persons, permit, forbid, _ in groups:
        # What is permitted is not forbidden: where nothing but a permit opens, that alone is asked.
        seen = permit if treated == NOTHING else all_of(negate(forbid), either(treated, permit))
        found.append((persons - own - opened, seen))
        found.append((persons & opened - own, negate(forbid)))
    return tuple((persons, part) for persons, part in found if persons)
