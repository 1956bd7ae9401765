"""AuditEvents in words: who, on whose behalf, where, for what, about whom, what was asked, and on which Consent's word.

Pure. What an event does not say is left out; what nobody here has a word for is shown as it stands.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote_plus

from fhir_server.audit.basis import CLOSED, EMERGENCY, PATIENT, details_of
from fhir_server.audit.event import CONSENT_ROLE, RESOURCE_ROLE
from fhir_server.audit.happenings import BROKEN
from fhir_server.human_names import shown_of
from fhir_server.pages.desk.words import Speech

Json = Mapping[str, Any]
Names = Mapping[str, str]
PATIENT_ROLE, QUERY_ROLE = "1", "24"


@dataclass(frozen=True, slots=True)
class Row:
    """An event in a list. when: local time; patients: ids."""

    id: str
    when: str
    what: str
    outcome: str
    bad: bool
    who: str
    user: str
    institution: str
    purpose: str
    patients: tuple[str, ...]
    emergency: bool


class Line(NamedTuple):
    """One thing that an event says. label: key of its text."""

    label: str
    values: tuple[str, ...]


def names_of(resources: Iterable[Json]) -> Names:
    """Return, by relative reference, the names of the institutions and people among some resources."""
    found = {}
    for each in resources:
        named = each.get("name")
        name = named if isinstance(named, str) else next(filter(None, map(shown_of, named or ())), "")
        if name:
            found[f"{each['resourceType']}/{each['id']}"] = name
    return found


def row(event: Json, names: Names, speech: Speech, zone: tzinfo) -> Row:
    """Return an event as a list shows it."""
    user, institution = _user(event), _institution(event)
    return Row(
        id=event["id"],
        when=local(event["recorded"], zone),
        what=speech.happened(interaction(event)),
        outcome=speech.outcome(event.get("outcome", "")),
        bad=event.get("outcome") != "0",
        who=names.get(user, ""),
        user=user,
        institution=names.get(institution, "") or institution.removeprefix("Organization/"),
        purpose=speech.purpose(_purpose(event)) if _purpose(event) else "",
        patients=tuple(patients(event)),
        emergency=BROKEN in event.get("outcomeDesc", ""),
    )


def lines(event: Json, names: Names, speech: Speech, zone: tzinfo) -> list[Line]:
    """Return all that an event says, in the order in which one asks."""
    said = details_of(event) or {}
    found = [
        Line("when", (local(event["recorded"], zone),)),
        Line("what", (speech.happened(interaction(event)),)),
        Line("outcome", tuple(_outcome(event, speech))),
        Line("who", tuple(_who(event, names, speech))),
        Line("behalf", tuple(_behalf(event, names, said))),
        Line("where", tuple(_where(event))),
        Line("purpose", tuple(_why(event, speech))),
        Line("glass", (speech("glass_closed"),) if said.get(EMERGENCY) == (CLOSED,) else ()),
        Line("patients", tuple(patients(event))),
        Line("context", tuple(map(speech.context, said.get(PATIENT, ())))),
        Line("records", tuple(_records(event))),
        Line("query", tuple(line for each in queries(event) for line in query_lines(each))),
        Line("grounds", tuple(grounds(event, speech))),
        Line("basis", tuple(_basis(said, speech))),
        Line("id", (event["id"],)),
    ]
    return [each for each in found if any(each.values)]


def interaction(event: Json) -> str:
    """Return the code of what happened."""
    coded = event.get("subtype") or [event.get("type") or {}]
    return str(coded[0].get("code", ""))


def patients(event: Json) -> Iterator[str]:
    """Yield the ids of the Patients whose records an event is about."""
    for each in _of_role(event, PATIENT_ROLE):
        yield each.removeprefix("Patient/")


def queries(event: Json) -> Iterator[str]:
    """Yield what was asked for, opened; what cannot be opened is not a query."""
    for entity in event.get("entity", ()):
        if "query" in entity:
            try:
                yield base64.b64decode(entity["query"]).decode()
            except (binascii.Error, ValueError):
                continue


def query_lines(query: str) -> Iterator[str]:
    """Yield what is searched, and each parameter as it was meant.

    >>> list(query_lines("Patient?family=%E5%BC%A0&_count=5"))
    ['Patient', 'family = 张', '_count = 5']
    """
    path, _, rest = query.partition("?")
    yield unquote_plus(path)
    try:
        pairs = parse_qsl(rest, keep_blank_values=True)
    except ValueError:
        pairs = [("?", rest)]
    yield from (f"{name} = {value}" for name, value in pairs)


def grounds(event: Json, speech: Speech) -> Iterator[str]:
    """Yield the Consent versions and provisions that decided."""
    for entity in event.get("entity", ()):
        if (entity.get("role") or {}).get("code") != CONSENT_ROLE:
            continue
        paths = [each.get("valueString", "") for each in entity.get("detail", ())]
        if "what" in entity:
            yield ground(entity["what"].get("reference", ""), " ".join(paths), speech)
        else:
            for line in (line for each in paths for line in each.split("\n")):
                place, _, path = line.partition("#")
                yield ground(place, path, speech)


def ground(reference: str, path: str, speech: Speech) -> str:
    """Return a provision that decided, in words. reference: of a Consent's version."""
    place, _, version = reference.partition("/_history/")
    return speech("ground", consent=place, version=version or "?", provision=path or "Consent")


def local(instant: str, zone: tzinfo) -> str:
    """Return a FHIR instant as a clock on the wall has it.

    >>> from datetime import UTC
    >>> local("2026-11-21T08:00:00.123Z", UTC)
    '2026-11-21 08:00:00'
    """
    return datetime.fromisoformat(instant).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def _user(event: Json) -> str:
    return next((_reference(each) for each in _agents(event) if each.get("requestor")), "")


def _institution(event: Json) -> str:
    others = (_reference(each) for each in _agents(event) if not each.get("requestor"))
    return next((each for each in others if each.startswith("Organization/")), "")


def _agents(event: Json) -> Iterable[Json]:
    found: Iterable[Json] = event.get("agent", ())
    return found


def _reference(agent: Json) -> str:
    who = agent.get("who") or {}
    return str(who.get("reference") or who.get("display") or (who.get("identifier") or {}).get("value") or "")


def _outcome(event: Json, speech: Speech) -> Iterator[str]:
    yield speech.outcome(event.get("outcome", ""))
    if said := event.get("outcomeDesc"):
        yield speech.described(said)


def _who(event: Json, names: Names, speech: Speech) -> Iterator[str]:
    for agent in _agents(event):
        if agent.get("requestor"):
            reference = _reference(agent)
            name, role = names.get(reference, ""), (agent.get("role") or [{}])[0].get("text", "")
            yield " ".join(each for each in (name, reference, speech.role(role)) if each)


def _behalf(event: Json, names: Names, said: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for agent in _agents(event):
        reference = _reference(agent)
        if not agent.get("requestor") and reference.startswith("Organization/"):
            yield " ".join(each for each in (names.get(reference, ""), reference) if each)
    for name in ("department", "practitionerRole", "client"):
        yield from (f"{name} {value}" for value in said.get(name, ()))


def _where(event: Json) -> Iterator[str]:
    for agent in _agents(event):
        if address := (agent.get("network") or {}).get("address"):
            yield str(address)
    source = event.get("source") or {}
    yield " ".join(filter(None, (source.get("site"), _reference({"who": source.get("observer")}))))


def _purpose(event: Json) -> str:
    coding = [one for each in event.get("purposeOfEvent", ()) for one in each.get("coding", ())]
    return str(coding[0].get("code", "")) if coding else ""


def _why(event: Json, speech: Speech) -> Iterator[str]:
    if code := _purpose(event):
        yield f"{speech.purpose(code)} ({code})"
    for agent in _agents(event):
        yield from (
            speech("reason", reason=speech.reason(each["text"]))
            for each in agent.get("purposeOfUse", ())
            if each.get("text")
        )


def _of_role(event: Json, role: str) -> Iterator[str]:
    for each in event.get("entity", ()):
        if (each.get("role") or {}).get("code") == role and "what" in each:
            yield str(each["what"].get("reference", ""))


def _records(event: Json) -> Iterator[str]:
    """Yield the records that an event is about, without the Patients whom a search named and did not find."""
    searched = interaction(event).startswith("search") and event.get("outcome") == "0"
    for each in _of_role(event, RESOURCE_ROLE):
        if not searched or "/_history/" in each or not each.startswith("Patient/"):
            yield each


def _basis(said: Mapping[str, tuple[str, ...]], speech: Speech) -> Iterator[str]:
    for name in ("mode", "implicit policy", "scope", "results"):
        yield from (
            f"{speech.basis(name)} {speech.codes.get(f'{name}|{value}', value)}" for value in said.get(name, ())
        )
