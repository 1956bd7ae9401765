"""What a Binary belongs to: whose record it is, and how sensitive, lies there and not in the Binary itself.

Source: FHIR R4 Binary, "Security Context for Binary". What is not stored, or not yet, is unknown: then the Binary is the
record of somebody of whom nothing is known, until that resource is stored and the Binary follows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fhir_server.definitions.registry import Registry
from fhir_server.store.resources import Resources, Ungated
from fhir_server.store.shadow import Shadows

Resource = Mapping[str, Any]


class Context(NamedTuple):
    """Of what a Binary belongs to: the ids of its Patients and its keyed labels. known: it is stored."""

    patients: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()
    known: bool = False


def context_of(resource: Resource) -> str | None:
    """Return "Type/id" of what a Binary belongs to; None of anything else, and where it is a Patient itself."""
    named = resource.get("securityContext") if resource["resourceType"] == "Binary" else None
    reference = str((named or {}).get("reference", "")).partition("/_history/")[0]
    return None if reference.startswith("Patient/") else reference or None


def context_term(reference: str) -> str:
    """Return the plain index term under which Binaries are filed by what they belong to."""
    return f":context|{reference}"


def unknown_person(reference: str) -> str:
    """Return what stands for the id of the Patient of something that is not stored. No Patient can have it."""
    return f"?{reference}"


Belongings = Mapping[int, tuple[str, Context]]  # by place among resources: "Type/id", and what is known of it


class Contexts:
    """Looks up what Binaries belong to."""

    def __init__(self, resources: Resources, shadows: Shadows, registry: Registry) -> None:
        self._resources = resources
        self._shadows = shadows
        self._types = registry.types
        self._gate = Ungated("whose record a Binary is")

    async def of(self, resources: Sequence[Resource]) -> Belongings:
        """Return what the Binaries among resources that are stored together belong to.

        Of what is stored with them the labels are not known yet.
        """
        beside = {f"{each['resourceType']}/{each['id']}": each for each in resources if "id" in each}
        found: dict[int, tuple[str, Context]] = {}
        for place, resource in enumerate(resources):
            if reference := context_of(resource):
                named = beside.get(reference)
                if named is not None and named["resourceType"] != "Binary":
                    context = Context(self._shadows.patients(named), known=True)
                else:
                    context = await self._stored(reference)
                found[place] = (reference, context)
        return found

    async def _stored(self, reference: str) -> Context:
        type, _, id = reference.partition("/")
        if type not in self._types:
            return Context()
        document = (await self._resources.many(type, [id], self._gate)).get(id)
        if document is None:
            return Context()
        self._resources.check(type, [document])
        return Context(tuple(document.get("pr", ())), tuple(document.get("lab", ())), True)
