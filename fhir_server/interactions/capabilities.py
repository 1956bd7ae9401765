"""GET [base]/metadata — FHIR R4 RESTful API, "capabilities": made from the tables that the server itself works by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fhir_server.definitions.registry import ANY_TYPE, Registry, SearchParameter
from fhir_server.interactions.changes import OURS
from fhir_server.interactions.routes import INTERACTIONS
from fhir_server.operations.definition import Level
from fhir_server.operations.table import OPERATIONS
from fhir_server.search.modifiers import taken_by
from fhir_server.search.question import SPECIAL
from fhir_server.search.results import INCLUDES, ONCE
from fhir_server.search.support import unsupported
from fhir_server.settings import Settings

FHIR_VERSION = "4.0.1"
DATE = "2026-11-21"
COMPARTMENTS = ("Device", "Encounter", "Patient", "Practitioner", "RelatedPerson")
# R4's codes of interactions, in its order (http://hl7.org/fhir/type-restful-interaction and system-restful-interaction).
OF_TYPES = tuple("read vread update patch delete history-instance history-type create search-type".split())
OF_SYSTEM = ("transaction", "batch", "search-system", "history-system")
CHANGES = frozenset({"create", "update", "patch", "delete"})
# Bundles are read by the HTTP layer, which has batches and transactions carried out without a row in the table.
_BUNDLES = frozenset({"transaction", "batch"})

Json = dict[str, Any]


def capability_statement(
    registry: Registry,
    settings: Settings,
    *,
    base: str,
    version: str,
    formats: Iterable[str],
    patches: Iterable[str],
) -> Json:
    """Return the CapabilityStatement of a server at this base URL.

    formats, patches: the media types (and short names) in which resources and patches are read.
    """
    patchable = {"patchFormat": list(patches)} if "patch" in INTERACTIONS else {}
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": DATE,
        "kind": "instance",
        "software": {"name": "FHIR Facade", "version": version},
        "implementation": {"description": "FHIR R4 facade with consent-aware access", "url": base},
        "fhirVersion": FHIR_VERSION,
        "format": list(formats),
        **patchable,
        "rest": [_rest(registry, settings)],
    }


def _rest(registry: Registry, settings: Settings) -> Json:
    led = _led_to(registry)
    rest: Json = {
        "mode": "server",
        "documentation": (
            "Every answer is as if the server held only what the requester may see by its token, its role and the"
            " patients' Consents. What is absent and what is hidden is answered alike."
        ),
        "security": _security(settings.origin),
        "resource": [_resource(registry, settings, type, led.get(type, [])) for type in sorted(registry.types)],
        "interaction": [{"code": code} for code in OF_SYSTEM if code in _BUNDLES or code in INTERACTIONS],
        "searchParam": [*map(_parameter, supported(registry, ANY_TYPE).values()), *_without_definition()],
        "operation": _operations(None, (Level.SYSTEM,)),
    }
    if "search-compartment" in INTERACTIONS:
        definitions = "http://hl7.org/fhir/CompartmentDefinition"
        rest["compartment"] = [f"{definitions}/{code.lower()}" for code in COMPARTMENTS if registry.compartment(code)]
    return rest


def _security(origin: str) -> Json:
    """Return how clients get in; origin: of the authorization server. Clients of SMART 1.0 find it by the extension."""
    system = "http://terminology.hl7.org/CodeSystem/restful-security-service"
    ends = (("authorize", "authorize"), ("token", "token"), ("introspect", "introspect"), ("revoke", "revoke"))
    return {
        "extension": [
            {
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [{"url": name, "valueUri": f"{origin}/auth/{path}"} for name, path in ends],
            }
        ],
        "cors": True,
        "service": [
            {
                "coding": [{"system": system, "code": "SMART-on-FHIR", "display": "SMART-on-FHIR"}],
                "text": "SMART App Launch 2.2: see .well-known/smart-configuration",
            }
        ],
    }


def supported(registry: Registry, type: str) -> Mapping[str, SearchParameter]:
    """Return the search parameters of a type that are answered, by code."""
    return {code: each for code, each in registry.parameters(type).items() if unsupported(each) is None}


def interactions_of(type: str) -> list[str]:
    """Return the codes of the interactions that are offered on a type, in R4's order."""
    return [code for code in OF_TYPES if code in INTERACTIONS and not (type in OURS and code in CHANGES)]


def _resource(registry: Registry, settings: Settings, type: str, led: list[str]) -> Json:
    offered = interactions_of(type)
    parameters = supported(registry, type)
    links = [code for code, each in parameters.items() if each.type == "reference"]
    deletes = "multiple" if settings.most_conditional_deletes > 1 else "single"
    return {
        "type": type,
        "interaction": [{"code": code} for code in offered],
        "versioning": "versioned",
        "readHistory": "vread" in offered,
        "updateCreate": settings.update_as_create and "update" in offered,
        "conditionalCreate": "create" in offered,
        "conditionalRead": "full-support",
        "conditionalUpdate": "update" in offered,
        "conditionalDelete": deletes if "delete" in offered else "not-supported",
        "referencePolicy": ["literal", "logical", "local"],
        "searchInclude": ["*", f"{type}:*", *(f"{type}:{code}" for code in links)],
        "searchRevInclude": ["*", *led],
        "searchParam": [_parameter(each) for each in parameters.values()],
        "operation": _operations(type, (Level.TYPE, Level.INSTANCE, Level.VERSION)),
    }


def _operations(type: str | None, levels: Iterable[Level]) -> list[Json]:
    """Return the operations on a type (None: the system) that are offered at one of the levels."""
    return [
        {"name": each.code, "definition": each.url}
        for each in OPERATIONS.values()
        if any(each.offered(type, level) for level in levels) and not (type in OURS and each.affects_state)
    ]


def _led_to(registry: Registry) -> dict[str, list[str]]:
    """Return by type the reference parameters, "Type:code", that may lead to it."""
    found: dict[str, list[str]] = {}
    for source in sorted(registry.types):
        for code, each in supported(registry, source).items():
            for target in each.targets if each.type == "reference" else ():
                found.setdefault(target, []).append(f"{source}:{code}")
    return found


def _parameter(parameter: SearchParameter) -> Json:
    taken = ", ".join(f":{each}" for each in taken_by(parameter))
    types = " and :[type]" if parameter.type == "reference" else ""
    return {
        "name": parameter.code,
        "definition": parameter.url,
        "type": parameter.type,
        "documentation": f"Modifiers: {taken}{types}.",
    }


def _without_definition() -> Iterator[Json]:
    """Yield the parameters of every search that R4's search page describes, but no SearchParameter defines."""
    for name in sorted({*SPECIAL, "_has"}):
        yield {"name": name, "type": "special", "documentation": "FHIR R4 Search."}
    for name in sorted(ONCE | INCLUDES):
        yield {"name": name, "type": "special", "documentation": "FHIR R4 Search; it shapes the result."}
