"""What "all records" means in an authorization: every type of a person's records, but not what tells of authorizations.

Consents, their Provenance, notices and the log of one institution would tell another whether the patient has authorized it,
refused it, or was seen by it in an emergency: who is let in is never told of others (consent.md, D12 and T42).
"""

from __future__ import annotations

from collections.abc import Iterable

UNTOLD = frozenset({"AuditEvent", "Bundle", "Communication", "Consent", "Person", "Provenance"})

# The types of the Patient compartment (FHIR R4, CompartmentDefinition "patient") with Patient and Binary; a test compares
# them.
RECORDS = (
    *("Account", "AdverseEvent", "AllergyIntolerance", "Appointment", "AppointmentResponse", "Basic", "Binary"),
    *("BodyStructure", "CarePlan", "CareTeam", "ChargeItem", "Claim", "ClaimResponse", "ClinicalImpression"),
    *("CommunicationRequest", "Composition", "Condition", "Coverage", "CoverageEligibilityRequest"),
    *("CoverageEligibilityResponse", "DetectedIssue", "DeviceRequest", "DeviceUseStatement", "DiagnosticReport"),
    *("DocumentManifest", "DocumentReference", "Encounter", "EnrollmentRequest", "EpisodeOfCare"),
    *("ExplanationOfBenefit", "FamilyMemberHistory", "Flag", "Goal", "Group", "ImagingStudy", "Immunization"),
    *("ImmunizationEvaluation", "ImmunizationRecommendation", "Invoice", "List", "MeasureReport", "Media"),
    *("MedicationAdministration", "MedicationDispense", "MedicationRequest", "MedicationStatement"),
    *("MolecularSequence", "NutritionOrder", "Observation", "Patient", "Procedure", "QuestionnaireResponse"),
    *("RelatedPerson", "RequestGroup", "ResearchSubject", "RiskAssessment", "Schedule", "ServiceRequest", "Specimen"),
    *("SupplyDelivery", "SupplyRequest", "VisionPrescription"),
)


def types_wanted(named: Iterable[str]) -> tuple[str, ...]:
    """Return the types to ask for, by those that are named; () = all.

    Patient comes with them: the records of other institutions are found by it (`patient=`), and without it whoever was let
    in would find nothing of what the patient agreed to. The patient is told of it as of the others.

    >>> types_wanted(["Observation"]), types_wanted([])
    (('Observation', 'Patient'), ())
    """
    types = frozenset(named)
    return tuple(sorted(types | {"Patient"})) if types else ()


def types_written(asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return the types that a Consent names for those that are asked for; () = all."""
    return asked or RECORDS


def types_asked(written: Iterable[str]) -> tuple[str, ...]:
    """Return the types that were asked for, by those that a Consent names; () = all.

    >>> types_asked(types_written(())), types_asked(["Observation"])
    ((), ('Observation',))
    """
    found = tuple(written)
    return () if frozenset(found) == frozenset(RECORDS) else found
