"""The versions of an authorization's Consent, and what tells of each step: the Provenance, and the notice to who asked.

Pure: JSON in, JSON out. Source: FHIR R4 Consent.verification, Provenance, Communication; the codes of
provenance-participant-type and v3-DataOperation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from consent_engine import vocabulary as v
from fhir_server.consenting.asked import ASKED, STATUS, Proof, Request, State
from fhir_server.consenting.steps import Step
from fhir_server.consenting.words import NOTICES, STEPS
from fhir_server.store.instants import instant

Json = dict[str, Any]
VERIFIED_BY_WAY = f"{v.FACADE}/StructureDefinition/verification-way"
EVIDENCE = f"{v.FACADE}/StructureDefinition/verification-evidence"
PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
CATEGORY = "http://terminology.hl7.org/CodeSystem/communication-category"
# Said of the server itself, where nobody acts.
SERVER = {"display": "fhir-facade"}


def next_version(consent: Mapping[str, Any], state: State, *, at: int, proof: Proof | None = None) -> Json:
    """Return the Consent as it is after a step: its status, state and, once the patient has agreed, who verified it how.

    at: of the version, µs since 1970 UTC. proof: of who has agreed. All else stays as it was asked.
    """
    made: Json = {**consent, "status": STATUS[state]}
    if "extension" in consent:
        made["extension"] = [_with_state(each, state) for each in consent["extension"]]
    if state is State.ACTIVE and proof is not None:
        provision = consent["provision"]
        start = {"start": instant(proof.at)}
        made["dateTime"] = instant(proof.at)
        made["performer"] = [{"reference": proof.by}]
        made["verification"] = [verification(proof)]
        made["provision"] = {**provision, "period": {**provision.get("period", {}), **start}}
    return made


def _with_state(extension: Json, state: State) -> Json:
    if extension.get("url") != ASKED:
        return extension
    parts = [
        {**each, "valueCode": state.value} if each.get("url") == "state" else each for each in extension["extension"]
    ]
    return {**extension, "extension": parts}


def verification(proof: Proof) -> Json:
    """Return what Consent.verification says of a proof."""
    return {
        "extension": [{"url": VERIFIED_BY_WAY, "valueCode": proof.type}, *_evidence(proof)],
        "verified": True,
        "verifiedWith": {"reference": proof.by},
        "verificationDate": instant(proof.at),
    }


def _evidence(proof: Proof) -> Iterator[Json]:
    """Yield what was kept of a proof: the document, its SM3 digest, and who has checked it."""
    parts: list[Json] = [
        *([{"url": "document", "valueReference": {"reference": proof.evidence}}] if proof.evidence else []),
        *([{"url": "sm3", "valueString": proof.digest}] if proof.digest else []),
        *([{"url": "witness", "valueReference": {"reference": proof.witness}}] if proof.witness else []),
    ]
    if parts:
        yield {"url": EVIDENCE, "extension": parts}


def provenance(
    place: str,
    patient: str,
    step: Step | None,
    user: str | None,
    organization: str,
    *,
    at: int,
    proof: Proof | None = None,
) -> Json:
    """Return the Provenance of one version of a Consent.

    place: "Consent/id/_history/version". patient: id of whose it is, so that they find it among their records. step: None
    for the first. user: who acted; None: the server, by itself. organization: id of the user's institution.
    """
    return {
        "resourceType": "Provenance",
        "target": [{"reference": place}, {"reference": f"Patient/{patient}"}],
        "recorded": instant(at),
        "activity": {
            "coding": [{"system": OPERATION, "code": "CREATE" if step is None else "UPDATE"}],
            "text": STEPS[step].zh,
        },
        "agent": list(_agents(step, user, organization, proof)),
        **({"entity": [{"role": "source", "what": {"reference": proof.evidence}}]} if proof and proof.evidence else {}),
    }


def _agents(step: Step | None, user: str | None, organization: str, proof: Proof | None) -> Iterator[Json]:
    if user is None:
        yield {"type": _participant("assembler"), "who": SERVER}
    else:
        behalf = {} if proof and proof.by == user else {"onBehalfOf": {"reference": f"Organization/{organization}"}}
        kind = "enterer" if step is Step.VERIFY else "author"
        yield {"type": _participant(kind), "who": {"reference": user}, **behalf}
    if proof and proof.by != user:
        yield {"type": _participant("verifier"), "who": {"reference": proof.by}}


def _participant(code: str) -> Json:
    return {"coding": [{"system": PARTICIPANT, "code": code}]}


def notice(request: Request, place: str, state: State, *, at: int) -> Json:
    """Return what is told to who asked. place: of the version of the Consent that it is about.

    It names the Consent, which its readers may or may not see, and nobody.
    """
    to = dict.fromkeys((request.user, f"Organization/{request.organization}"))
    return {
        "resourceType": "Communication",
        "status": "preparation",
        "category": [{"coding": [{"system": CATEGORY, "code": "notification"}], "text": "授权状态通知"}],
        "about": [{"reference": place}],
        "recipient": [{"reference": each} for each in to if not each.startswith(("Patient/", "RelatedPerson/"))],
        "sent": instant(at),
        "payload": [{"contentString": NOTICES[state]}],
    }


def reminder_notice(patient: str, place: str, text: str, *, at: int) -> Json:
    """Return the notice by which a patient finds among their records that an authorization ends soon."""
    return {
        "resourceType": "Communication",
        "status": "preparation",
        "category": [{"coding": [{"system": CATEGORY, "code": "reminder"}], "text": "授权到期提醒"}],
        "subject": {"reference": f"Patient/{patient}"},
        "recipient": [{"reference": f"Patient/{patient}"}],
        "about": [{"reference": place}],
        "sent": instant(at),
        "payload": [{"contentString": text}],
    }
