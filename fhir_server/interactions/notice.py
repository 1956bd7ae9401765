"""The notice that a patient gets when somebody has opened their records in an emergency (break-glass).

It is a Communication to the Patient, stored together with the AuditEvent, before the records leave; one for each token
and patient, however often the token is used.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fhir_server.audit.event import Happening, Touched
from fhir_server.auth.requester import Requester
from fhir_server.consenting.names import name_of
from fhir_server.interactions.call import Call, Services
from fhir_server.interactions.keepers import CATEGORY, tell_of_lapsed
from fhir_server.store.commit import Unit
from fhir_server.store.drafts import Draft
from fhir_server.store.instants import instant, moment

NAMESPACE = uuid.UUID("0f0e7a0b-7d0e-4b5c-9a53-9d3f4f3f9f61")
PURPOSES = "http://terminology.hl7.org/CodeSystem/v3-ActReason"


async def record(use: Services, call: Call, *happenings: Happening, asked: Iterable[str] = ()) -> None:
    """Store the AuditEvents of a disclosure or refusal, and the notices that it calls for; return when all are durable.

    happenings: what different readers of the log are to know of it, stored together: a refusal behind which a record hides
    takes as long as one behind which there is none. asked: ids of the Patients whom a search names.
    """
    at, unit = use.now(), Unit()
    for each in happenings:
        await _add(use, call, each, unit, asked, at=at)
    await use.committer.commit(unit)


async def _add(use: Services, call: Call, happening: Happening, unit: Unit, asked: Iterable[str], *, at: int) -> None:
    for patient, custodian in happening.notified:
        id = str(uuid.uuid5(NAMESPACE, f"{call.requester.token}|{patient}"))
        who = await named(use, call.requester)
        draft = Draft(communication(call.requester, who, patient, use.zone, at=at), id, custodian)
        stored, *_ = await use.writer.store([draft], at=at)
        for document in stored.inserts["Communication"]:
            unit.touch("Communication", {"_id": id}, {"$setOnInsert": document})
    if happening.lapsed:
        await tell_of_lapsed(use, happening.lapsed, unit, at=at)
    await use.emergencies.file(call.requester, happening, unit, at=at)
    await use.audit.add(attempted(call.remarked(happening), asked), call.requester, unit, at=at)


def attempted(happening: Happening, asked: Iterable[str]) -> Happening:
    """Return what happened with the Patients who were asked for and of whom nothing was found, as they were asked for.

    They are named in the log of the requester's institution alone, which knows what its users ask; whether there is such a
    Patient, and what hides behind it, changes nothing in it. By it the patient learns of the attempt (pages/my/looks.py).
    """
    found = {patient for each in happening.touched for patient in each.patients}
    more = tuple(Touched(f"Patient/{each}", None, (each,)) for each in asked if each not in found)
    count = len(happening.touched) if happening.count is None else happening.count
    return replace(happening, touched=(*happening.touched, *more), count=count) if more else happening


async def named(use: Services, requester: Requester) -> tuple[str, str]:
    """Return the names of the requester's institution and of the requester, which everybody may know."""
    institution = await name_of(use.resources, f"Organization/{requester.organization}")
    return institution, await name_of(use.resources, requester.user)


def communication(requester: Requester, who: tuple[str, str], patient: str, zone: Any, *, at: int) -> Mapping[str, Any]:
    """Return the notice to a patient. who: see named. at: microseconds since 1970 UTC; zone: the deployment's."""
    institution, user = who
    when = moment(at).astimezone(zone).strftime("%Y-%m-%d %H:%M")
    return {
        "resourceType": "Communication",
        "status": "preparation",
        "category": [{"coding": [{"system": CATEGORY, "code": "notification"}], "text": "紧急查阅通知"}],
        "subject": {"reference": f"Patient/{patient}"},
        "recipient": [{"reference": f"Patient/{patient}"}],
        "about": [{"reference": f"Organization/{requester.organization}"}, {"reference": requester.user}],
        "sent": instant(at),
        "reasonCode": [{"coding": [{"system": PURPOSES, "code": requester.purpose}], "text": requester.reason}],
        "payload": [
            {
                "contentString": (
                    f"您的健康记录于 {when} 因紧急救治被查阅。查阅机构：{institution}；"
                    f"查阅人：{user}；理由：{requester.reason}。如有疑问，请联系保管记录的医疗机构。"
                )
            }
        ],
    }
