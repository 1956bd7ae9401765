"""The operations that this server offers; the router and the CapabilityStatement are made from it."""

from __future__ import annotations

from collections.abc import Mapping

from fhir_server.deliveries.receiving import receive
from fhir_server.operations.authorization_request import request_authorization
from fhir_server.operations.authorization_status import authorization_status
from fhir_server.operations.authorization_steps import confirm, decline, revoke, verify
from fhir_server.operations.definition import OURS, Level, Operation, Parameter
from fhir_server.operations.document import document
from fhir_server.operations.enforcement import enforcement
from fhir_server.operations.everything import encounter_everything, patient_everything
from fhir_server.operations.explain_access import explain_access
from fhir_server.operations.lastn import lastn
from fhir_server.operations.meta import meta, meta_add, meta_delete
from fhir_server.operations.replay import replay

SYSTEM, TYPE, INSTANCE, VERSION = Level
CHANGED_AND_PAGED = (
    Parameter("_since", "instant"),
    Parameter("_type", "code", max=None),
    Parameter("_count", "positiveInt"),
)
ROWS = (
    Operation(
        "Patient-everything",
        "everything",
        frozenset({TYPE, INSTANCE}),
        patient_everything,
        types=frozenset({"Patient"}),
        parameters=(Parameter("start", "date"), Parameter("end", "date"), *CHANGED_AND_PAGED),
        pages=True,
    ),
    Operation(
        "Encounter-everything",
        "everything",
        frozenset({INSTANCE}),
        encounter_everything,
        types=frozenset({"Encounter"}),
        parameters=CHANGED_AND_PAGED,
        pages=True,
    ),
    Operation(
        "Observation-lastn",
        "lastn",
        frozenset({TYPE}),
        lastn,
        types=frozenset({"Observation"}),
        parameters=(Parameter("max", "positiveInt"),),
        searches=True,
    ),
    Operation(
        "Composition-document",
        "document",
        frozenset({TYPE, INSTANCE}),
        document,
        types=frozenset({"Composition"}),
        parameters=(Parameter("id", "uri"), Parameter("persist", "boolean")),
    ),
    Operation("Resource-meta", "meta", frozenset({SYSTEM, TYPE, INSTANCE, VERSION}), meta),
    Operation(
        "Resource-meta-add",
        "meta-add",
        frozenset({INSTANCE}),
        meta_add,
        parameters=(Parameter("meta", "Meta", min=1),),
        affects_state=True,
    ),
    Operation(
        "Resource-meta-delete",
        "meta-delete",
        frozenset({INSTANCE}),
        meta_delete,
        parameters=(Parameter("meta", "Meta", min=1),),
        affects_state=True,
    ),
    Operation(
        "explain-access",
        "explain-access",
        frozenset({INSTANCE}),
        explain_access,
        parameters=(
            Parameter("user", "uri"),
            Parameter("organization", "uri"),
            Parameter("department", "uri"),
            Parameter("role", "code"),
            Parameter("purpose", "code"),
            Parameter("at", "instant"),
        ),
        base=OURS,
    ),
    Operation(
        "receive",
        "receive",
        frozenset({SYSTEM}),
        receive,
        parameters=(Parameter("source", "uri", min=1), Parameter("encounter", "uri", min=1)),
        affects_state=True,
        base=OURS,
        takes="Bundle",
    ),
    Operation(
        "authorization-status",
        "authorization-status",
        frozenset({INSTANCE}),
        authorization_status,
        types=frozenset({"Patient"}),
        parameters=(Parameter("purpose", "code"),),
        base=OURS,
    ),
    Operation(
        "request-authorization",
        "request-authorization",
        frozenset({INSTANCE}),
        request_authorization,
        types=frozenset({"Patient"}),
        parameters=(
            Parameter("way", "code"),
            Parameter("purpose", "code"),
            Parameter("type", "code", max=None),
            Parameter("dataPeriod", "Period"),
            Parameter("expires", "instant"),
        ),
        affects_state=True,
        base=OURS,
    ),
    Operation(
        "verify",
        "verify",
        frozenset({INSTANCE}),
        verify,
        types=frozenset({"Consent"}),
        # What the way asks for (consenting/ways/): a code; or the scan of a signed form, and who has checked it.
        parameters=(
            Parameter("code", "string", secret=True),
            Parameter("document", "uri"),
            Parameter("witness", "uri"),
        ),
        affects_state=True,
        base=OURS,
    ),
    *(
        Operation(name, name, frozenset({INSTANCE}), run, frozenset({"Consent"}), affects_state=True, base=OURS)
        for name, run in (("confirm", confirm), ("decline", decline), ("revoke", revoke))
    ),
    Operation("replay", "replay", frozenset({INSTANCE}), replay, types=frozenset({"AuditEvent"}), base=OURS),
    Operation(
        "consent-enforcement",
        "enforcement",
        frozenset({TYPE, INSTANCE}),
        enforcement,
        types=frozenset({"Consent"}),
        pages=True,
        base=OURS,
    ),
)
# By the id of the OperationDefinition in the standard, or of our own.
OPERATIONS: Mapping[str, Operation] = {each.id: each for each in ROWS}


def operation_at(code: str, type: str | None, level: Level) -> Operation | None:
    """Return the operation of this name that is offered on a type (None: the system) at a level."""
    return next((each for each in ROWS if each.code == code and each.offered(type, level)), None)
