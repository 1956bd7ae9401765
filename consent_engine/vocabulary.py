"""The codes that the engine understands, and how they are ordered.

Source: HL7 v3 code systems as published with FHIR R4 (ActReason, ActCode, Confidentiality), and the R4 code systems
for consents. Trees are written as parent → children; a test compares them with the published files.
"""

from enum import StrEnum


class Effect(StrEnum):
    """What a provision, a rule or a decision does."""

    PERMIT = "permit"
    DENY = "deny"

    @property
    def opposite(self) -> "Effect":
        return Effect.DENY if self is Effect.PERMIT else Effect.PERMIT


class Mode(StrEnum):
    """How several Consents of a person are joined (D5); a setting of the deployment."""

    DENY_OVERRIDES = "deny-overrides"
    NEWEST_WINS = "newest-wins"


class LabelKind(StrEnum):
    """What a security label says about a record, as far as access is concerned."""

    CONFIDENTIALITY = "confidentiality"
    SENSITIVITY = "sensitivity"
    NEITHER = "neither"


FACADE = "https://fhir-facade.example.org/fhir"  # the base of our own definitions
OBLIGATION = FACADE + "/StructureDefinition/consent-obligation"

_V3 = "http://terminology.hl7.org/CodeSystem/v3-"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem/"

ACT_REASON = _V3 + "ActReason"
ACT_CODE = _V3 + "ActCode"
CONFIDENTIALITY = _V3 + "Confidentiality"
OBSERVATION_VALUE = _V3 + "ObservationValue"
PARTICIPATION_TYPE = _V3 + "ParticipationType"
ROLE_CODE = _V3 + "RoleCode"
ROLE_SYSTEMS = frozenset({ROLE_CODE, _V3 + "RoleClass", _TERMINOLOGY + "extra-security-role-type"})
RECIPIENT_ROLES = frozenset({"PROV", "GRANTEE", "DELEGATEE"})  # meant as recipients whatever system they come from
CONSENT_SCOPE = _TERMINOLOGY + "consentscope"
CONSENT_ACTION = _TERMINOLOGY + "consentaction"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
STRUCTURE_DEFINITION = "http://hl7.org/fhir/StructureDefinition"
URI = "urn:ietf:rfc:3986"

# ActCode, consent directives that set the base rule of a Consent.
DIRECTIVES = {
    "OPTIN": Effect.PERMIT,
    "OPTINR": Effect.PERMIT,  # with restrictions: the provisions
    "OPTOUT": Effect.DENY,
    "OPTOUTE": Effect.DENY,  # with exceptions: the provisions
}

# RoleCode: who so speaks for a patient does it by a power that coming of age does not end.
LASTING_POWERS = frozenset({"DPOWATT", "GUARD", "HPOWATT", "POWATT", "SPOWATT"})

CONFIDENTIALITY_ORDER = ("U", "L", "M", "N", "R", "V")

# What a Consent must name so that a request's action is covered. A read is an access; to disclose or use implies it.
ACTIONS_COVERING = {
    "access": frozenset({"access", "use", "disclose"}),
    "use": frozenset({"use"}),
    "disclose": frozenset({"disclose"}),
    "collect": frozenset({"collect"}),
    "correct": frozenset({"correct"}),
}

_PURPOSES = {
    "PurposeOfUse": "HMARKT HOPERAT HPAYMT HRESCH PATRQT PUBHLTH TREAT",
    "HOPERAT": "CAREMGT DONAT FRAUD GOV HACCRED HCOMPL HDECD HDIRECT HDM HLEGAL HOUTCOMS HPRGRP HQUALIMP HSYSADMIN"
    " MEMADMIN MILCDM PATADMIN PATSFTY PERFMSR RECORDMGT SYSDEV TRAIN",
    "HSYSADMIN": "LABELING METAMGT",
    "SYSDEV": "HTEST",
    "HPAYMT": "CLMATTCH COVAUTH COVERAGE REMITADV",
    "COVERAGE": "ELIGDTRM ELIGVER ENROLLM MILDCRG",
    "HRESCH": "BIORCH CLINTRCH DSRCH POARCH TRANSRCH",
    "CLINTRCH": "CLINTRCHNPC CLINTRCHPC PRECLINTRCH",
    "PATRQT": "FAMRQT PWATRNY SUPNWK",
    "PUBHLTH": "DISASTER THREAT",
    "TREAT": "CLINTRL COC ETREAT POPHLTH",
    "ETREAT": "BTG ERTREAT",
}

# Labels of ActCode by which access is restricted: sensitivities, compartments of users, laws that protect the record.
_SENSITIVITIES = {
    "_InformationSensitivityPolicy": "ADOL CEL DIA DRGIS EMP PDS PHY PRS _ActInformationSensitivityPolicy"
    " _EntitySensitivityPolicyType _RoleInformationSensitivityPolicy",
    "_ActInformationSensitivityPolicy": "ETH GDIS HIV MST SCA SDV SEX SICKLE SPI STD TBOO VIO",
    "SPI": "BH MH PSY PSYTHPN SUD",
    "BH": "COGN DVD EMOTDIS",
    "SUD": "ETHUD OPIOIDUD",
    "_EntitySensitivityPolicyType": "DEMO DOB GENDER LIVARG MARST RACE REL",
    "_RoleInformationSensitivityPolicy": "B EMPL LOCIS SSP",
    "COMPT": "ACOCOMPT CTCOMPT FMCOMPT HRCOMPT LRCOMPT PACOMPT RESCOMPT RMGTCOMPT",
    "_ActPrivacyLaw": "_ActUSPrivacyLaw",
    "_ActUSPrivacyLaw": "42CFRPart2 CommonRule HIPAANOPP HIPAAPsyNotes HIPAASelfPay Title38Section7332",
}

# Sensitivities that stood among the confidentialities until 2011; ActCode has the same codes.
_FORMER_CONFIDENTIALITIES = frozenset({"ETH", "HIV", "PSY", "SDV"})

# What to do, or not to do, with a record that one has: says nothing of who may see it.
_HANDLING = {
    "ObligationPolicy": "ANONY AOD AUDIT AUDTR CPLYCC CPLYCD CPLYJPP CPLYOPP CPLYOSP CPLYPOL DECLASSIFYLABEL DEID"
    " DELAU DOWNGRDLABEL DRIVLABEL ENCRYPT HUAPRV LABEL MASK MINEC PERSISTLABEL PRIVMARK PSEUD REDACT UPGRDLABEL",
    "ENCRYPT": "ENCRYPTR ENCRYPTT ENCRYPTU",
    "RefrainPolicy": "NOAUTH NOCOLLECT NODSCLCD NODSCLCDS NOINTEGRATE NOLIST NOMOU NOORGPOL NOPAT NOPERSISTP"
    " NORDSCLCD NORDSCLCDS NORDSCLW NORELINK NOREUSE NOVIP ORCON",
}


def _parents(tree: dict[str, str]) -> dict[str, str]:
    return {child: parent for parent, children in tree.items() for child in children.split()}


PURPOSE_PARENTS = _parents(_PURPOSES)
SENSITIVITY_PARENTS = _parents(_SENSITIVITIES)
PURPOSES = frozenset(PURPOSE_PARENTS) | {"PurposeOfUse"}
SENSITIVITIES = frozenset(SENSITIVITY_PARENTS) | _SENSITIVITIES.keys()
HANDLING_CODES = frozenset(_parents(_HANDLING)) | _HANDLING.keys()


def _with_ancestors(code: str, parents: dict[str, str]) -> frozenset[str]:
    line = [code]
    while line[-1] in parents:
        line.append(parents[line[-1]])
    return frozenset(line)


_COVERING = {code: _with_ancestors(code, PURPOSE_PARENTS) for code in PURPOSES}
_UNDER = {
    code: frozenset(c for c in SENSITIVITIES if code in _with_ancestors(c, SENSITIVITY_PARENTS))
    for code in SENSITIVITIES
}


def purposes_covering(code: str) -> frozenset[str]:
    """Return the purposes of use that cover this one: itself and its ancestors. An unknown one covers only itself.

    >>> sorted(purposes_covering("ETREAT"))
    ['ETREAT', 'PurposeOfUse', 'TREAT']
    """
    return _COVERING.get(code, frozenset({code}))


def sensitivities_under(code: str) -> frozenset[str]:
    """Return the ActCode sensitivities that this one stands for: itself and its descendants.

    >>> sorted(sensitivities_under("SUD"))
    ['ETHUD', 'OPIOIDUD', 'SUD']
    """
    return _UNDER.get(code, frozenset({code}))


def label_kind(system: str | None, code: str | None) -> LabelKind:
    """Return what a security label is. What is not known to be something else is a sensitivity: unknown means less."""
    if system == CONFIDENTIALITY and code in CONFIDENTIALITY_ORDER:
        return LabelKind.CONFIDENTIALITY
    if system in (OBSERVATION_VALUE, ACT_REASON) or (system == ACT_CODE and code in HANDLING_CODES):
        return LabelKind.NEITHER
    return LabelKind.SENSITIVITY


def known_sensitivity(system: str | None, code: str | None) -> str | None:
    """Return the ActCode code of a label that is a known sensitivity, else None."""
    known = (system == ACT_CODE and code in SENSITIVITIES) or (
        system == CONFIDENTIALITY and code in _FORMER_CONFIDENTIALITIES
    )
    return code if known else None


def nameable(system: str, code: str) -> bool:
    """Return whether a Consent can name this label: it is known, or comes from a code system that is not."""
    if label_kind(system, code) is LabelKind.SENSITIVITY and system in (ACT_CODE, CONFIDENTIALITY):
        return known_sensitivity(system, code) is not None
    return label_kind(system, code) is not LabelKind.NEITHER


def canonical_label(system: str | None, code: str | None) -> str | None:
    """Return the form under which a label of a record is compared; None if it does not restrict access.

    "C:R" for a confidentiality, "S:HIV" for a known sensitivity, "S:system|code" for one that is not known.

    >>> canonical_label("http://terminology.hl7.org/CodeSystem/v3-ActCode", "HIV"), canonical_label(None, "vip")
    ('S:HIV', 'S:|vip')
    """
    match label_kind(system, code):
        case LabelKind.CONFIDENTIALITY:
            return f"C:{code}"
        case LabelKind.NEITHER:
            return None
    return f"S:{known_sensitivity(system, code) or '|'.join((system or '', code or ''))}"
