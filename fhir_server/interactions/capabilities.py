"""GET [base]/metadata — FHIR R4 RESTful API, "capabilities": made from the tables that the server itself works by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir_server.definitions.registry import Registry, SearchParameter
from fhir_server.interactions.routes import INTERACTIONS
from fhir_server.search.support import unsupported

FHIR_VERSION = "4.0.1"
FORMATS = ["application/fhir+json", "json"]
DATE = "2026-11-21"


def capability_statement(registry: Registry, *, base: str, version: str, update_as_create: bool) -> dict[str, Any]:
    """Return the CapabilityStatement of a server at this base URL."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": DATE,
        "kind": "instance",
        "software": {"name": "FHIR Facade", "version": version},
        "implementation": {"description": "FHIR R4 facade with consent-aware access", "url": base},
        "fhirVersion": FHIR_VERSION,
        "format": FORMATS,
        "rest": [
            {
                "mode": "server",
                "documentation": (
                    "Every answer is as if the server held only what the requester may see by its token, its role and the"
                    " patients' Consents. What is absent and what is hidden is answered alike."
                ),
                "security": _security(),
                "resource": [_resource(registry, type, update_as_create) for type in sorted(registry.types)],
                "interaction": [{"code": "transaction"}, {"code": "batch"}],
            }
        ],
    }


def _security() -> dict[str, Any]:
    system = "http://terminology.hl7.org/CodeSystem/restful-security-service"
    return {
        "cors": False,
        "service": [{"coding": [{"system": system, "code": "OAuth"}], "text": "Bearer tokens with SMART scopes"}],
    }


def _resource(registry: Registry, type: str, update_as_create: bool) -> dict[str, Any]:
    offered = [code for code in INTERACTIONS if type != "AuditEvent" or code not in ("create", "update", "delete")]
    parameters = {code: each for code, each in registry.parameters(type).items() if unsupported(each) is None}
    includes = [f"{type}:{code}" for code, each in parameters.items() if each.type == "reference"]
    return {
        "type": type,
        "interaction": [{"code": code} for code in offered],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": update_as_create and type != "AuditEvent",
        "conditionalCreate": False,
        "conditionalRead": "full-support",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchInclude": includes,
        "searchParam": [_parameter(each) for each in parameters.values()],
    }


def _parameter(parameter: SearchParameter) -> Mapping[str, str]:
    return {"name": parameter.code, "definition": parameter.url, "type": parameter.type}
