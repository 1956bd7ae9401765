"""The status of a patient's authorization towards one institution: that institution's own, and nothing else (D12).

Counted are the Consents that name the institution itself and permit, if they are the patient's word or a trusted
authority's (ADR 8), or were asked for by the institution in our way. A Consent that names others, or everybody, changes
nothing in it: so the answer never tells whether another institution has an authorization, asked for one, or knows the
patient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from consent_engine.consent import Consent, read_consent
from consent_engine.groups import Facts
from consent_engine.proxies import Mandate
from consent_engine.vocabulary import Effect, purposes_covering
from fhir_server.consenting.asked import State, last_moment, read_state
from fhir_server.consenting.steps import PENDING


@dataclass(frozen=True, slots=True)
class Standing:
    """How an authorization stands. until: when it ends, if it holds. consent: id, if the institution keeps it itself.

    everywhere: of what holds, whether it opens the records of all institutions, or those of this one alone (ADR 8).
    """

    state: State | None
    until: datetime | None = None
    consent: str | None = None
    everywhere: bool | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """A Consent of the patient's that counts. waits: it is a question of this server's that still waits for an answer.

    kept: by the institution itself. at: of the version, µs since 1970 UTC. everywhere: it is the patient's word, or a trusted
    authority's, which opens the records of all; else the word of the institution itself, which opens its own.
    """

    resource: Mapping[str, Any]
    at: int
    kept: bool
    waits: bool
    everywhere: bool = True


NOTHING = Standing(None)
# What is told, where there are several: the first of these, and of what holds what opens most; of the others, the newest.
FIRST = (State.ACTIVE, State.VERIFYING, State.REQUESTED)


def standing(
    given: Iterable[Given], organization: str, *, purpose: str | None, at: datetime, zone: tzinfo, facts: Facts
) -> Standing:
    """Return how the authorizations of a patient towards an institution stand. purpose: ActReason code; None: any."""
    found = []
    for each in given:
        read = _as_active(each.resource, zone, facts)
        if _names(read, organization, purpose):
            state = _state(each, read, at, zone)
            if state is not None:
                narrow = state is State.ACTIVE and not each.everywhere
                found.append((_rank(state), narrow, -each.at, each, state))
    if not found:
        return NOTHING
    *_, best, state = min(found, key=lambda each: each[:3])
    consent = best.resource["id"] if best.kept else None
    if state is not State.ACTIVE:
        return Standing(state, None, consent)
    return Standing(state, last_moment(best.resource, zone=zone), consent, best.everywhere)


def _rank(state: State) -> int:
    return FIRST.index(state) if state in FIRST else len(FIRST)


def _as_active(resource: Mapping[str, Any], zone: tzinfo, facts: Facts) -> Consent:
    """Return a Consent as it would be read if it were active: whom it would let in."""
    version = resource.get("meta", {}).get("versionId", "")
    said = {**resource, "status": "active"}
    return read_consent(said, id=resource["id"], version=version, zone=zone, authority=None, facts=facts)


def _names(consent: Consent, organization: str, purpose: str | None) -> bool:
    root = consent.root
    if consent.ignored or consent.flaw or root is None or root.effect is not Effect.PERMIT:
        return False
    wanted = purpose is None or root.purposes is None or bool(root.purposes & purposes_covering(purpose))
    return wanted and f"Organization/{organization}" in (root.recipients or ())


def _state(given: Given, consent: Consent, at: datetime, zone: tzinfo) -> State | None:
    state = read_state(given.resource, at=at, zone=zone)
    if state in PENDING and not given.waits:
        return State.EXPIRED
    if state is State.ACTIVE and consent.proxies and consent.proxies.mandate(at) is Mandate.LAPSED:
        return State.EXPIRED
    return state
