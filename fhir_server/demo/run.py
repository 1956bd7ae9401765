"""The demo: two hospitals filled, the tokens of four users, and what to try with them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fhir_server.auth.bearer import Bearer
from fhir_server.demo.data import DEMO_PATIENT_A, HOSPITAL_A, HOSPITAL_B, consent, resources
from fhir_server.fhir_json import dump
from fhir_server.interactions.call import Services
from fhir_server.loading.files import Raw, Reject, chunks
from fhir_server.loading.loader import Loader, Tally
from fhir_server.loading.preparing import Preparer
from fhir_server.settings import Settings

DAY = 24 * 3600
CONSENT = "consent-demo"

# name of the variable, what it is, claims
USERS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "DOCTOR",
        "张明远，示范市第一人民医院（本院）医生 / a doctor of the own hospital",
        {"role": "practitioner", "fhirUser": "Practitioner/dr-zhang", "org": HOSPITAL_A, "scope": "user/*.cruds"},
    ),
    (
        "OTHER_DOCTOR",
        "示范市中医医院（他院）医生 / a doctor of another hospital",
        {"role": "practitioner", "fhirUser": "Practitioner/dr-li", "org": HOSPITAL_B, "scope": "user/*.cruds"},
    ),
    (
        "PATIENT",
        "患者本人 / the patient",
        {"role": "patient", "fhirUser": f"Patient/{DEMO_PATIENT_A}", "org": HOSPITAL_A, "scope": "patient/*.cruds"},
    ),
    (
        "AUDITOR",
        "审计员 / an auditor",
        {"role": "auditor", "fhirUser": "Practitioner/auditor-a", "org": HOSPITAL_A, "scope": "user/*.rs"},
    ),
)


async def fill(use: Services, say: Console) -> None:
    """Load both hospitals, and the Consent that the patient has not confirmed yet, unless they are there."""
    for institution in (HOSPITAL_A, HOSPITAL_B):
        found = list(resources(institution))
        if institution == HOSPITAL_A:
            found.append(proposed(_now(use)))
        with _bar(say, institution, len(found)) as bar:
            prepare = Preparer(use.definitions, institution, _unnamed).prepared
            loader = Loader(use, prepare, reject=_refuse, progress=_advance(bar))
            await loader.load(chunks(_raws(found), _unnamed))


def proposed(now: datetime) -> dict[str, Any]:
    """Return the demo's Consent as the hospital has prepared it: it grants nothing until the patient confirms it."""
    return {**_consent(now), "status": "proposed"}


def show(settings: Settings, bearer: Bearer) -> None:
    """Print the base URL, a token for each user, and three lines to try, in this order."""
    folder = settings.data / "demo"
    folder.mkdir(mode=0o700, exist_ok=True)
    confirmed = folder / "consent.json"
    confirmed.write_bytes(orjson.dumps(_consent(datetime.now().astimezone())))
    tokens = {name: bearer.issue({**claims, "purpose": "TREAT"}, lifetime=DAY) for name, _, claims in USERS}
    for line in _lines(settings.public_base, tokens, confirmed):
        print(line, flush=True)


def _lines(base: str, tokens: dict[str, str], confirmed: Path) -> Iterable[str]:
    yield ""
    yield f"FHIR base URL: {base}"
    yield ""
    yield "四个令牌，有效一天（先粘贴这几行） / Four tokens, good for a day (paste these lines first):"
    for name, what, _ in USERS:
        yield f"# {what}"
        yield f"export {name}={tokens[name]}"
    search = f"'{base}/Observation?patient=Patient/{DEMO_PATIENT_A}&_count=2'"
    content = "-H 'Content-Type: application/fhir+json'"
    put = f'curl -s -o {os.devnull} -X PUT -H "Authorization: Bearer $PATIENT" {content}'
    yield ""
    yield "# 1. 本院医生检索本院记录：有结果 / The own hospital's doctor searches: rows"
    yield f'curl -s -H "Authorization: Bearer $DOCTOR" {search}'
    yield "# 2. 他院医生同样检索：没有结果 / The other hospital's doctor asks the same: none"
    yield f'curl -s -H "Authorization: Bearer $OTHER_DOCTOR" {search}'
    yield "# 3. 患者确认授权后再检索：有结果 / The patient's Consent is stored, and the same again: rows"
    yield (
        f"{put} --data-binary @{shlex.quote(str(confirmed))} {base}/Consent/{CONSENT}; "
        f'curl -s -H "Authorization: Bearer $OTHER_DOCTOR" {search}'
    )
    yield ""
    yield "Ctrl-C 停止一切 / Ctrl-C stops everything."


def _consent(now: datetime) -> dict[str, Any]:
    start = now.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    return consent(start=start, end=start + timedelta(days=730), id=CONSENT)


def _now(use: Services) -> datetime:
    return use.clock().astimezone(use.zone)


def _raws(found: Iterable[dict[str, Any]]) -> Iterable[Raw]:
    return (Raw("demo", each["id"], dump(each), whole=True) for each in found)


def _refuse(reject: Reject) -> None:
    raise ValueError(f"demo data {reject.position}: {reject.reason}")


def _unnamed(resource: dict[str, Any]) -> str:
    raise ValueError(f"demo data: a {resource['resourceType']} has no id")


def _bar(say: Console, institution: str, total: int) -> Progress:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=say
    )
    bar.add_task(institution, total=total)
    return bar


def _advance(bar: Progress) -> Callable[[Tally], None]:
    task = bar.task_ids[0]
    return lambda tally: bar.update(task, completed=tally.seen)
