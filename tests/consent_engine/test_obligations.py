"""D18: obligations on a permit; which ones are understood, and for which records they are due."""

from typing import Any

import pytest

from consent_engine.obligations import Obligation
from consent_engine.predicate import EVERYTHING, NOTHING, AnyOf, Attribute, either, negate
from consent_engine.rules import combined, obligations
from tests.consent_engine.build import (
    ACT_CODE,
    HIV,
    OBLIGATION,
    T0,
    TYPES,
    actor,
    ask,
    coding,
    codings,
    compiled,
    concept,
    consent,
    deny,
    labels,
    obligation,
    permit,
    read,
    unreadable,
)

DR1 = ask("Practitioner/Dr1")
TELECOM, NAME = Obligation("REDACT", "Patient.telecom"), Obligation("MASK", "Patient.name.given")
NO_TELECOM, NO_NAME = obligation(TELECOM.action, TELECOM.element), obligation(NAME.action, NAME.element)
PATIENTS = {"class": codings(TYPES, "Patient")}
IS_PATIENT = AnyOf(Attribute.TYPE, frozenset({"Patient"}))
IS_HIV = AnyOf(Attribute.LABEL, frozenset({"S:HIV"}))


def due(*provisions: Any, **how: Any) -> dict[Obligation, Any]:
    return dict(obligations([compiled(consent(each), DR1, **how) for each in provisions]))


def test_an_obligation_is_due_where_its_permit_holds():
    json = consent(permit(**PATIENTS, extension=[NO_TELECOM, NO_NAME]))
    assert combined([compiled(json, DR1)]) == (IS_PATIENT, NOTHING)
    assert dict(obligations([compiled(json, DR1)])) == {TELECOM: IS_PATIENT, NAME: IS_PATIENT}
    assert unreadable(read(json)) == ()


DUE = [
    ("at any depth", [deny(provision=[permit(extension=[NO_NAME], **PATIENTS)])], {NAME: IS_PATIENT}),
    ("also where a deeper permit decides", [permit(extension=[NO_NAME], provision=[permit()])], {NAME: EVERYTHING}),
    ("also where another Consent permits without it", [permit(extension=[NO_NAME]), permit()], {NAME: EVERYTHING}),
    (
        "of several Consents, wherever one holds",
        [permit(extension=[NO_NAME], **PATIENTS), permit(extension=[NO_NAME], securityLabel=labels(HIV))],
        {NAME: None},
    ),
    ("not to others", [permit(extension=[NO_NAME], actor=[actor("Practitioner/Dr2")]), permit()], {}),
    ("not when it is not in force", [permit(extension=[NO_NAME], period={"end": "2026-06-14"}), permit()], {}),
    ("not of a Consent that takes no part", [], {}),
]


@pytest.mark.parametrize(("provisions", "expected"), [row[1:] for row in DUE], ids=[row[0] for row in DUE])
def test_whichever_provision_decides_an_obligation_is_due(provisions, expected):
    found = due(*provisions)
    assert found.keys() == expected.keys()
    for each, when in expected.items():
        assert when is None or found[each] == when


def test_of_several_permits_each_makes_it_due():
    found = due(permit(extension=[NO_NAME], **PATIENTS), permit(extension=[NO_NAME], code=[concept("urn:x", "1")]))
    assert found == {NAME: either(IS_PATIENT, AnyOf(Attribute.CODE, frozenset({"urn:x|1"})))}


def test_on_the_say_so_of_an_institution_it_is_due_for_its_own_records():
    own = AnyOf(Attribute.CUSTODIAN, frozenset({"Org1"}))
    assert due(permit(extension=[NO_NAME]), authority="Org1") == {NAME: own}


def test_no_obligation_of_an_inactive_or_unusable_consent_is_due():
    for json in (
        consent(permit(extension=[NO_NAME]), status="inactive"),
        consent({"type": "x", "extension": [NO_NAME]}),
    ):
        assert obligations([compiled(json, DR1, T0)]) == {}


def with_action(**value: Any) -> dict[str, Any]:
    return {**NO_NAME, "extension": [{"url": "obligation", **value}, NO_NAME["extension"][1]]}


def with_element(**value: Any) -> dict[str, Any]:
    return {**NO_NAME, "extension": [NO_NAME["extension"][0], {"url": "element", **value}]}


NOT_UNDERSTOOD = [
    [],
    None,
    [NO_NAME, {"url": "urn:x", "valueBoolean": True}],
    [{"url": OBLIGATION}],
    [{"url": OBLIGATION, "valueCode": "MASK"}],
    [{"url": OBLIGATION, "extension": []}],
    [{"url": OBLIGATION, "extension": NO_NAME["extension"][:1]}],
    [{"url": OBLIGATION, "extension": [*NO_NAME["extension"], NO_NAME["extension"][1]]}],
    [{"url": OBLIGATION, "extension": [*NO_NAME["extension"], {"url": "until", "valueDate": "2027"}]}],
    [{"url": OBLIGATION, "extension": [{"url": ["element"]}, {"url": "obligation"}]}],
    [{**NO_NAME, "valueBoolean": True}],
    [{**NO_NAME, "extension": [*NO_NAME["extension"][:1], {"url": "element", "extension": [{"url": "urn:x"}]}]}],
    [with_action(valueCoding=coding(ACT_CODE, "PSEUD"))],
    [with_action(valueCoding=coding("urn:x", "MASK"))],
    [with_action(valueCoding={"code": "MASK"})],
    [with_action(valueCoding={**coding(ACT_CODE, "MASK"), "extension": [{"url": "urn:x"}]})],
    [with_action(valueCode="MASK")],
    [with_element(valueString="telecom")],
    [with_element(valueString="Patient")],
    [with_element(valueString="Person1.name")],
    [with_element(valueString="Human.name")],
    [with_element(valueString="Patient.name[0]")],
    [with_element(valueString="Patient.where(true)")],
    [with_element(valueString="Patient.id")],
    [with_element(valueString="Patient.meta.security")],
    [with_element(valueString="Patient.modifierExtension")],
    [with_element(valueString=["Patient.name"])],
    [with_element(valueCode="Patient.name")],
]


@pytest.mark.parametrize("extensions", NOT_UNDERSTOOD)
def test_an_obligation_that_is_not_understood_leaves_its_provision_in_doubt(extensions):
    json = consent(permit(extension=extensions, provision=[deny(securityLabel=labels(HIV))]))
    assert unreadable(read(json))
    assert combined([compiled(json, DR1)]) == (NOTHING, IS_HIV)
    assert due(json["provision"]) == {}


@pytest.mark.parametrize("root", [deny(extension=[NO_NAME]), {"extension": [NO_NAME]}])
def test_only_a_permit_can_have_one(root):
    said = compiled(consent({**root, "provision": [permit(), deny(securityLabel=labels(HIV))]}), DR1)
    assert combined([said])[0] == NOTHING
    assert combined([said])[1] in (EVERYTHING, IS_HIV)
    assert negate(IS_HIV) not in combined([said])
