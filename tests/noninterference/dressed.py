"""Random stores in which records repeat what is withheld of them: in words, in displays, in what they contain.

Every patient has permitted all but some elements (test_masked.py); what documents refer to may be hidden, or masked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.noninterference.agreements import Json, codes
from tests.noninterference.test_masked import withholding
from tests.noninterference.world import FAMILIES, Step, World
from tests.noninterference.written import references

HELD = "held"
WORDS = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
TYPES = ("Patient", "Observation", "Condition", "Encounter", "MedicationRequest", "List", "Composition", "Appointment")


@st.composite
def dressed(draw: st.DrawFn, prefix: str) -> World:
    """Draw a world in which something is withheld of records that say it more than once."""
    world = draw(withholding(prefix))
    return replace(world, groups=[[_dressed(draw, world, each) for each in group] for group in world.groups])


def _dressed(draw: st.DrawFn, world: World, step: Step) -> Step:
    if step.resource is None or step.type not in TYPES:
        return step
    named = draw(st.sampled_from(FAMILIES))
    made: Json = _displayed(step.resource, named)
    if draw(st.booleans()):
        made["text"] = {"status": "generated", "div": WORDS.format(f"{named} {made.get('status', '')}")}
    if draw(st.integers(0, 2)) == 0:
        made |= draw(st.sampled_from([_containing_patient, _containing_medication, _containing_visit]))(
            draw, world, made
        )
    return replace(step, resource=made)


def _displayed(value: Any, named: str) -> Any:
    """Return a value in which every reference says a name."""
    if isinstance(value, list):
        return [_displayed(each, named) for each in value]
    if not isinstance(value, dict):
        return value
    display = {"display": named} if "reference" in value and isinstance(value["reference"], str) else {}
    return {name: _displayed(each, named) for name, each in value.items()} | display


def _containing_patient(draw: st.DrawFn, world: World, made: Json) -> Json:
    family = draw(st.sampled_from(FAMILIES))
    words = {"text": {"status": "generated", "div": WORDS.format(family)}}
    held = {"resourceType": "Patient", "id": HELD, "name": [{"family": family}], "birthDate": "1980", **words}
    where = {"Observation": "performer", "Condition": "asserter"}.get(made["resourceType"])
    named: Any = {"reference": f"#{HELD}", "display": family}
    return {"contained": [held], **({where: [named] if where == "performer" else named} if where else {})}


def _containing_medication(draw: st.DrawFn, world: World, made: Json) -> Json:
    held = {"resourceType": "Medication", "id": HELD, "code": draw(codes)}
    if made["resourceType"] != "MedicationRequest":
        return {"contained": [held]}
    made.pop("medicationCodeableConcept", None)
    return {"contained": [held], "medicationReference": {"reference": f"#{HELD}"}}


def _containing_visit(draw: st.DrawFn, world: World, made: Json) -> Json:
    subject = {"reference": f"Patient/{draw(st.sampled_from(world.patients))}"}
    status = {"status": "finished", "class": {"system": "urn:class", "code": draw(st.sampled_from("AB"))}}
    held = {"resourceType": "Encounter", "id": HELD, **status, "subject": subject}
    where = {"encounter": {"reference": f"#{HELD}"}} if made["resourceType"] in ("Observation", "Condition") else {}
    return {"contained": [held], **where}


def sections(composition: Json) -> Iterator[Json]:
    for each in composition.get("section", ()):
        yield each
        yield from sections(each)


def spoken_of(section: Json) -> set[str]:
    """Return what a section refers to: "Type/id"."""
    return {each for name in ("entry", "focus", "author") for one in [section.get(name)] for each in _of(one)}


def _of(value: Any) -> Iterator[str]:
    return references(value) if value else iter(())
