"""A question written as a Consent is read as the same question; what others write there is no question."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent_engine.consent import read_consent
from consent_engine.rules import AccessRequest
from fhir_server.consenting.asked import Request, State, consent_of, read_request, read_state
from fhir_server.consenting.checking import LONGEST, checked
from fhir_server.consenting.records import RECORDS, UNTOLD
from fhir_server.consenting.words import ASKABLE_PURPOSES, ASKABLE_TYPES
from fhir_server.definitions.registry import registry
from fhir_server.errors import InvalidRequest
from fhir_server.store.instants import microseconds
from fhir_server.store.shadow import personal_types

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONE = timezone(timedelta(hours=8))
DAYS = st.dates(date(1950, 1, 1), date(2030, 1, 1))


@st.composite
def requests(draw: st.DrawFn) -> Request:
    since, until = draw(
        st.one_of(st.just((None, None)), st.tuples(DAYS, DAYS).map(lambda pair: (min(pair), max(pair))))
    )
    types = draw(st.sets(st.sampled_from(sorted(ASKABLE_TYPES)), max_size=4))
    ends = NOW + timedelta(milliseconds=draw(st.integers(1, LONGEST // timedelta(milliseconds=1))))
    purpose, way = draw(st.sampled_from(sorted(ASKABLE_PURPOSES))), draw(st.sampled_from(["app", "sms", "guardian"]))
    client = draw(st.none() | st.just("booking"))
    return Request("c", "p", "h1", "Practitioner/d", purpose, tuple(sorted(types)), since, until, ends, way, client)


@given(requests(), st.sampled_from(State))
def test_a_question_is_read_as_it_was_written(request: Request, state: State) -> None:
    consent = consent_of(checked(request, at=NOW), state, at=microseconds(NOW), said="已发送")
    assert read_request(consent, zone=ZONE) == request
    assert read_state(consent, at=NOW, zone=ZONE) is state


@given(requests())
def test_the_engine_understands_every_word_of_it(request: Request) -> None:
    consent = consent_of(request, State.ACTIVE, at=microseconds(NOW))
    read = read_consent(consent, id="c", version="1", zone=ZONE, authority=None)
    assert (read.ignored, read.flaw, read.doubts) == (None, None, ())
    assert read.root is not None
    assert read.root.recipients == {"Organization/h1"}
    assert read.root.purposes == {request.purpose}
    assert AccessRequest(frozenset({"Organization/h1"}), request.purpose).purpose in read.root.purposes


def test_all_records_are_all_types_of_a_person_but_what_tells_of_authorizations() -> None:
    assert {*RECORDS} == personal_types(registry()) - UNTOLD
    request = Request("c", "p", "h1", "Practitioner/d", "TREAT", (), None, None, NOW, "app")
    named = {each["code"] for each in consent_of(request, State.ACTIVE, at=0)["provision"]["class"]}
    assert not named & UNTOLD
    assert "Observation" in named


def test_an_authorization_ends_at_its_end() -> None:
    request = Request("c", "p", "h1", "Practitioner/d", "TREAT", (), None, None, NOW, "app")
    consent = consent_of(request, State.ACTIVE, at=0)
    before, then = NOW - timedelta(milliseconds=1), NOW + timedelta(seconds=1)
    assert read_state(consent, at=before, zone=ZONE) is State.ACTIVE
    assert read_state(consent, at=then, zone=ZONE) is State.EXPIRED


@pytest.mark.parametrize("broken", ["extension", "provision", "patient", "id"])
def test_what_is_not_written_like_a_question_is_none(broken: str) -> None:
    consent = consent_of(Request("c", "p", "h", "Device/d", "TREAT", (), None, None, NOW, "app"), State.VERIFYING, at=0)
    del consent[broken]
    assert read_request(consent, zone=ZONE) is None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"way": "pigeon"}, "way"),
    ({"purpose": "BTG"}, "purpose"),
    ({"purpose": "HMARKT"}, "purpose"),
    ({"types": ("AuditEvent",)}, "AuditEvent"),
    ({"types": ("Observation", "Consent")}, "Consent"),
    ({"types": ("Provenance",)}, "Provenance"),
    ({"types": ("Nonsense",)}, "Nonsense"),
    ({"since": date(2026, 2, 2), "until": date(2026, 2, 1)}, "since"),
    ({"expires": NOW}, "expires"),
    ({"expires": NOW + LONGEST + timedelta(seconds=1)}, "expires"),
]


@pytest.mark.parametrize(("changed", "named"), WRONG)
def test_what_a_patient_cannot_be_asked_is_refused_with_advice(changed: dict[str, Any], named: str) -> None:
    plain: dict[str, Any] = {"purpose": "TREAT", "types": (), "since": None, "until": None, "way": "app"}
    asks = {**plain, "expires": NOW + timedelta(days=1), **changed}
    with pytest.raises(InvalidRequest, match=named):
        checked(Request(consent="", patient="p", organization="h", user="Device/d", **asks), at=NOW)


def test_a_code_is_bound_to_everything_that_is_asked() -> None:
    plain = Request("c", "p", "h", "Device/d", "TREAT", ("Observation",), None, None, NOW, "sms")
    changes: list[dict[str, Any]] = [
        {"patient": "q"}, {"organization": "i"}, {"purpose": "HRESCH"}, {"types": ()}, {"since": date(2020, 1, 1)},
        {"until": date(2020, 1, 1)}, {"expires": NOW + timedelta(days=1)},
    ]  # fmt: skip
    assert len({plain.scope, *(replace(plain, **each).scope for each in changes)}) == len(changes) + 1
