"""What a search costs and how it is carried out (_explain=true), for the operators of the server alone.

It speaks of what the store holds, not only of what the requester may see; it names no values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fhir_server.auth.gate import RequestGate
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Services, outcome
from fhir_server.interactions.searching.costs import examined
from fhir_server.interactions.searching.ordering import Sort, order
from fhir_server.interactions.searching.wanted import Wanted, filter_of
from fhir_server.interactions.together import all_of

Plan = Mapping[str, Any]


async def explanation(use: Services, wanted: Sequence[Wanted], gate: RequestGate, sort: Sort) -> dict[str, object]:
    """Return the entry that tells of each type's query: its plan, its indexes, what it examined, and the estimate."""
    said = await all_of(_said(use, each, gate, sort) for each in wanted)
    issues = [{"severity": "information", "code": "informational", "diagnostics": text} for text in said]
    return {"resource": parse(outcome(*issues)), "search": {"mode": "outcome"}}


async def _said(use: Services, wanted: Wanted, gate: RequestGate, sort: Sort) -> str:
    stored = [key for key in sort if key.stored]
    limit = use.settings.page_size + 1
    found = await use.resources.explained(wanted.type, filter_of(use, wanted), gate, sort=order(stored), limit=limit)
    estimate = await examined(use, wanted, gate, limit=use.settings.most_examined + 1)
    stages = list(_stages(found["queryPlanner"]["winningPlan"]))
    indexes = list(dict.fromkeys(stage["indexName"] for stage in stages if "indexName" in stage))
    done = found["executionStats"]
    return (
        f"{wanted.type}: plan {' < '.join(stage['stage'] for stage in stages)}; "
        f"indexes {', '.join(indexes) or 'none'}; examined {done['totalKeysExamined']} keys and "
        f"{done['totalDocsExamined']} documents for {done['nReturned']}; estimate {estimate} documents"
    )


def _stages(plan: Plan) -> Iterator[Plan]:
    """Yield the stages of a plan, the last that is carried out first."""
    plan = plan.get("queryPlan", plan)
    if "stage" in plan:
        yield plan
    for each in (plan["inputStage"],) if "inputStage" in plan else plan.get("inputStages", ()):
        yield from _stages(each)
