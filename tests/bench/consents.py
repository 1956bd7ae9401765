"""The cost of consent: the same questions and answers with few and with many Consents, and by way of very many grants."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from rich.console import Console

from fhir_server.app import keyring_of
from fhir_server.fhir_json import dump
from fhir_server.loading.files import Chunk, Raw, Reject, chunks
from fhir_server.loading.load import load
from fhir_server.loading.processes import usual
from fhir_server.settings import Settings
from fhir_server.store.installation import LAYOUT
from tests.bench.drive import Measured, Target, measured, middle
from tests.bench.serving import server

Json = dict[str, Any]
HOSPITAL, CLINIC = "bench", "clinic"
PER_PATIENT = (0, 1, 20, 200)
FEW_PATIENTS, MANY_PATIENTS = 150, 10_000
RECORDS, SHARED_BY_MANY = 12, 3  # Observations of each patient
PORT = 18_180
ROUNDS, REQUESTS, ASKED_FOR, CONNECTIONS = 9, 300, 24, 16
SYSTEM = "urn:fhir-facade:bench-consent"
LOST_ALONE, LOST_ACROSS = 0.15, 0.40


@dataclass(frozen=True, slots=True)
class Variant:
    """One store and who asks it. consents: of each patient. by: the institution of the user."""

    name: str
    patients: int
    records: int
    consents: int
    by: str = HOSPITAL
    port: int = PORT

    @property
    def database(self) -> str:
        return f"consent_{self.patients}_{self.consents}"


ALONE = tuple(Variant(f"{n} Consents", FEW_PATIENTS, RECORDS, n, port=PORT + n) for n in PER_PATIENT)
ACROSS = (
    Variant("own institution, 0 Consents", MANY_PATIENTS, SHARED_BY_MANY, 0, port=PORT + 300),
    Variant(f"{MANY_PATIENTS:,} granting patients", MANY_PATIENTS, SHARED_BY_MANY, 1, CLINIC, PORT + 301),
)

# By title: the path of a question about the patient of a number.
OF_ONE: Mapping[str, Any] = {
    "read": lambda n: f"Observation/o{n}-0",
    "patient's Observations": lambda n: f"Observation?patient=p{n}",
    "patient and code": lambda n: f"Observation?patient=p{n}&code=common",
    "patient, newest first": lambda n: f"Observation?patient=p{n}&_sort=-date&_count=5",
    "count of a patient's": lambda n: f"Observation?patient=p{n}&_summary=count",
}
OF_MANY: Mapping[str, Any] = {
    "search by identifier": lambda n: f"Patient?identifier={SYSTEM}|{n}",
    "search by code, one result": lambda n: f"Observation?code=only-{n}",
    "search by code, all patients": lambda n: "Observation?code=common&_count=20",
    "search by date": lambda n: f"Observation?date=2026-01-{n % 28 + 1:02}&_count=20",
    "chain": lambda n: f"Observation?subject:Patient.identifier={SYSTEM}|{n}",
    "_has": lambda n: f"Patient?_has:Observation:patient:code=only-{n}",
}

Figures = dict[str, dict[str, Measured]]  # row -> variant -> figures


def records(variant: Variant) -> Iterator[Json]:
    """Yield all that a store holds."""
    for number in range(variant.patients):
        yield {
            "resourceType": "Patient",
            "id": f"p{number}",
            "identifier": [{"system": SYSTEM, "value": str(number)}],
        }
        for place in range(variant.records):
            code = f"only-{number}" if place == 1 else "common"
            yield {
                "resourceType": "Observation",
                "id": f"o{number}-{place}",
                "status": "final",
                "code": {"coding": [{"system": SYSTEM, "code": code}]},
                "subject": {"reference": f"Patient/p{number}"},
                "effectiveDateTime": f"2026-01-{(number + place) % 28 + 1:02}",
            }
        yield from (consent(variant, number, each) for each in range(variant.consents))


def consent(variant: Variant, patient: int, number: int) -> Json:
    """Return one of the Consents of a patient; those of one patient say different things."""
    system = "http://terminology.hl7.org/CodeSystem/"
    recipient = {"coding": [{"system": f"{system}v3-ParticipationType", "code": "PRCP"}]}
    kinds: tuple[Json, ...] = (
        {"type": "permit", "provision": [{"type": "deny", "securityLabel": [_label("HIV")]}]},
        {"type": "permit", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Observation"}]},
        {"type": "deny", "code": [{"coding": [{"system": SYSTEM, "code": f"never-{number}"}]}]},
        {"type": "permit", "period": {"start": f"20{number % 20:02}-01-01"}},
        {"type": "deny", "securityLabel": [_label("PSY")]},
    )
    provision = kinds[number % len(kinds)] | {
        "actor": [{"role": recipient, "reference": {"reference": f"Organization/{variant.by}"}}],
        "purpose": [{"system": f"{system}v3-ActReason", "code": "TREAT"}],
    }
    return {
        "resourceType": "Consent",
        "id": f"c{patient}-{number}",
        "status": "active",
        "scope": {"coding": [{"system": f"{system}consentscope", "code": "patient-privacy"}]},
        "category": [{"text": "bench"}],
        "patient": {"reference": f"Patient/p{patient}"},
        "dateTime": "2026-01-01",
        "provision": provision,
    }


def _label(code: str) -> Json:
    return {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": code}


def settings_of(data: Path, variant: Variant) -> Settings:
    return Settings.load(data, database=variant.database, zone="UTC", port=variant.port)


def fill(data: Path, variant: Variant, uri: str, say: Console) -> None:
    """Load a store, unless it is."""
    settings = settings_of(data, variant)
    marker = data / f"{variant.database}.layout{LAYOUT}"
    if marker.exists():
        return
    with MongoClient[Json](uri) as client:
        client.drop_database(variant.database)
    say.print(f"loading {variant.name}, {variant.patients:,} patients")
    found = _chunks(variant)
    work = load(
        settings, keyring_of(settings), uri, HOSPITAL, found, processes=usual(), reject=_refuse, progress=lambda _: None
    )
    asyncio.run(work)
    marker.touch()


def _chunks(variant: Variant) -> Iterator[Chunk]:
    made = (Raw("bench", f"resource {n}", dump(each), whole=True) for n, each in enumerate(records(variant)))
    return chunks(made, lambda resource: str(resource["id"]))


def _refuse(reject: Reject) -> None:
    sys.exit(f"{reject.position}: {reject.reason}")


def measure(data: Path, uri: str, say: Console) -> tuple[Figures, Figures]:
    """Return the figures for one patient's records, and across patients."""
    for variant in (*ALONE, *ACROSS):
        fill(data, variant, uri, say)
    return _asked(data, uri, ALONE, OF_ONE, say), _asked(data, uri, ACROSS, OF_MANY, say)


def _asked(data: Path, uri: str, variants: Sequence[Variant], rows: Mapping[str, Any], say: Console) -> Figures:
    with ExitStack() as servers:
        targets = {}
        for variant in variants:
            settings = settings_of(data, variant)
            token = servers.enter_context(server(settings, uri, organization=variant.by))
            targets[variant] = Target(settings.public_base, token, connections=CONNECTIONS)
        return asyncio.run(_rows(targets, rows, say))


async def _rows(targets: Mapping[Variant, Target], rows: Mapping[str, Any], say: Console) -> Figures:
    figures: Figures = {}
    for title, path in rows.items():
        figures[title] = await _in_turn(targets, title, path)
        first = next(iter(figures[title].values()))
        for name, each in figures[title].items():
            lost = 1 - each.per_second / first.per_second
            say.print(f"{title:30}{name:30}{each.per_second:8.0f}/s{lost:+8.0%}", highlight=False)
    return figures


async def _in_turn(targets: Mapping[Variant, Target], title: str, path: Any) -> dict[str, Measured]:
    """Return the figures of a row: in every round each store is asked the same, each time another one first."""
    order, variants = random.Random(title), list(targets)
    numbers = [order.randrange(FEW_PATIENTS) for _ in range(ASKED_FOR)]
    answers = {variant: await _warmed(targets[variant], [path(number) for number in numbers]) for variant in variants}
    if any(found != answers[variants[0]] for found in answers.values()):
        sys.exit(f"{title}: the stores do not answer alike")
    rounds: dict[Variant, list[Measured]] = {variant: [] for variant in variants}
    for turn in range(ROUNDS):
        paths = [path(order.choice(numbers)) for _ in range(REQUESTS)]
        for place in range(len(variants)):
            variant = variants[(turn + place) % len(variants)]
            rounds[variant].append(measured(*await targets[variant].ask(paths)))
    return {variant.name: middle(rounds[variant]) for variant in variants}


async def _warmed(target: Target, paths: Sequence[str]) -> list[Any]:
    """Return what the answers say: the ids that are shown, and the totals."""
    answers, _ = await target.ask([*paths, *paths])
    if wrong := [each.status for each in answers if each.status != 200]:
        sys.exit(f"{len(wrong)} answers with status {wrong[0]}")
    return [_said(json.loads(each.body)) for each in answers[: len(paths)]]


def _said(body: Json) -> Any:
    if body["resourceType"] != "Bundle":
        return body["id"]
    return body.get("total"), [each["resource"]["id"] for each in body.get("entry", ())]
