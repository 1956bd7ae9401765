"""Why a Consent, or a part of it, has no effect or another one than it seems to say.

The value of a reason is its English text; words.py has all of them for people. None names data of anybody.
"""

from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """One reason. D1, D2, D3: the rules of docs/consent.md that it follows from."""

    # D1: the Consent takes no part.
    STATUS = "status is not active"
    SCOPE = "scope is neither patient-privacy nor research"
    RESEARCH = "scope is research, the purpose is not"
    LAPSED = "nobody who gave it may still speak for the patient"
    ENDED = "its period is over"

    # D2: the Consent is unusable and forbids everything.
    AMBIGUOUS_SCOPE = "scope is ambiguous"
    IMPLICIT_RULES = "implicitRules are not understood"
    MODIFIER_EXTENSION = "a modifierExtension is not understood"
    CONTRADICTION = "policyRule and the type of the root provision contradict each other"
    BOTH_DIRECTIVES = "policyRule says both permit and deny"
    POLICY_RULE = "policyRule is malformed"
    DEPTH = "provisions are nested too deep"
    NESTED = "nested provisions are malformed"
    WRONG_TYPE = "the type of a provision is neither permit nor deny"
    MALFORMED = "a part of the Consent is malformed"

    # D1: who gave the Consent is in doubt, so that it permits nothing.
    PROXY = "whether somebody who gave it may speak for the patient is not known"

    # D2: it is read, and says nothing.
    EMPTY = "it neither permits nor denies anything"

    # D3: a part of a provision is not understood, so that the provision is in doubt.
    NO_TYPE = "neither given nor implied"
    UNKNOWN_ELEMENT = "not understood"
    LIST = "not a list of objects"
    REFERENCE = "a reference does not resolve to a type and an id"
    CODING = "a coding needs a system and a code"
    CONCEPT = "not a CodeableConcept"
    PERIOD = "a period needs a start or an end"
    PERIOD_ORDER = "a period ends before it starts"
    DATE = "not a date"
    ROLE = "the role of an actor is not known"
    CUSTODIAN = "a custodian is not an Organization"
    GROUP = "who belongs to a group or team is not known"
    PURPOSE = "a purpose is not a known purpose of use"
    ACTION = "an action is not known"
    CLASS = "a class is not a known resource type"
    MEANING = "this meaning of data is not supported"
    RELATED = "the record that others are related to is not known"
    LABEL = "a label is not a known confidentiality or sensitivity"
    OBLIGATION = "an obligation is not understood"
    OBLIGED_DENIAL = "a provision that does not permit has an obligation"


class Doubt(NamedTuple):
    """What of a provision is in doubt, and why."""

    element: str
    reason: Reason
