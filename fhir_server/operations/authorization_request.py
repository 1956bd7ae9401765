"""Patient/[id]/$request-authorization: an institution asks a patient to let it see their records (consenting/)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta, tzinfo
from typing import Any

from fhir_server.consenting.asked import WAYS, Request
from fhir_server.consenting.records import types_wanted
from fhir_server.errors import InvalidRequest
from fhir_server.fhir_json import dump
from fhir_server.interactions.call import Answer, Call, Services
from fhir_server.operations.definition import Invocation
from fhir_server.search.types.date import covered
from fhir_server.store.instants import moment

DEFAULT_VALIDITY = timedelta(days=365)


async def request_authorization(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return the Consent (status proposed) by which the patient is asked. Raises Absent for a hidden Patient.

    In: way (default app), purpose (default that of the token), type (any number, Patient comes with them; none: all),
    dataPeriod (days of the records, included), expires (default a year from now).
    """
    consent = await use.consenting.request(call, _request(use, call, asked))
    return Answer(201, dump(consent), {"Location": f"{call.base}/Consent/{consent['id']}/_history/2"})


def _request(use: Services, call: Call, asked: Invocation) -> Request:
    period = asked.one("dataPeriod") or {}
    since, until = (_covered(period, name, use.zone) for name in ("start", "end"))
    return Request(
        consent="",
        patient=str(asked.id),
        organization=call.requester.organization,
        user=call.requester.user,
        purpose=asked.one("purpose") or call.requester.purpose,
        types=types_wanted(asked.given.get("type", ())),
        since=_day(since[0], use.zone) if since else None,
        until=_day(until[1], use.zone) if until else None,
        expires=moment(asked.one("expires")[1]) if asked.one("expires") else use.clock() + DEFAULT_VALIDITY,
        way=asked.one("way") or WAYS[0],
    )


def _covered(period: Mapping[str, Any], name: str, zone: tzinfo) -> tuple[int, int] | None:
    """Return the time that an end of a Period covers. Raises InvalidRequest if it is no date."""
    if name not in period:
        return None
    found = covered(str(period[name]), zone)
    if found is None:
        raise InvalidRequest(f"dataPeriod.{name} is not a date, such as 2024-01-31.", expression=f"dataPeriod.{name}")
    return found


def _day(at: int, zone: tzinfo) -> date:
    return moment(at).astimezone(zone).date()
