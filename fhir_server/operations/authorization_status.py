"""Patient/[id]/$authorization-status: how the patient's authorization towards the requester's own institution stands.

Nothing else is told: neither who else has one, nor what records there are (consent.md, D12).
"""

from __future__ import annotations

from fhir_server.consenting.words import OPENS, STATES
from fhir_server.fhir_json import dump
from fhir_server.interactions.call import Answer, Call, Services
from fhir_server.operations.definition import Invocation
from fhir_server.operations.telling import reference, value
from fhir_server.store.instants import instant, microseconds

NONE = "none"


async def authorization_status(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return Parameters: status, text, until when it holds, and the Consent where the institution keeps it itself.

    Of one that holds, opens says whose records: of all institutions, or "own", with this institution as custodian, where it
    rests on a form or a code that only the institution itself vouches for. No other institution is ever named.

    Raises Absent if the requester may not see the Patient. In: purpose, that the authorization has to be for.
    """
    found = await use.consenting.standing(call, str(asked.id), purpose=asked.one("purpose"))
    words = STATES[found.state]
    said = [
        value("status", "Code", str(found.state or NONE)),
        value("text", "String", words.zh),
        value("text-en", "String", words.en),
    ]
    if found.until:
        said.append(value("until", "DateTime", instant(microseconds(found.until))))
    if found.everywhere is not None:
        words = OPENS[found.everywhere]
        said.append(value("opens", "Code", "all" if found.everywhere else "own"))
        said += [value("opens-text", "String", words.zh), value("opens-text-en", "String", words.en)]
        if not found.everywhere:
            said.append(reference("custodian", f"Organization/{call.requester.organization}"))
    if found.consent:
        said.append(reference("consent", f"Consent/{found.consent}"))
    return Answer(200, dump({"resourceType": "Parameters", "parameter": said}))
