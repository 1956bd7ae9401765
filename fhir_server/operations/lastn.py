"""Observation/$lastn: the most recent observations of each kind — FHIR R4 OperationDefinition "Observation-lastn"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from fhir_server.errors import InvalidRequest, TooCostly, UnsupportedParameter
from fhir_server.fhir_json import parse
from fhir_server.interactions.call import Answer, Call, Services, gate_for
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.searching.costs import affordable
from fhir_server.interactions.searching.naming import named_in
from fhir_server.interactions.searching.opening import Opened, opened_of
from fhir_server.interactions.searching.resolving import resolved
from fhir_server.interactions.searching.wanted import MOST_OPENED, rows_of
from fhir_server.operations.answers import recorded, searchset, self_link
from fhir_server.operations.definition import Invocation
from fhir_server.redaction.showing import due_overall
from fhir_server.search.parse import parse as parse_query
from fhir_server.search.results import about_results
from fhir_server.store.clinical import clinical_time

TYPE = "Observation"
SUBJECTS = ("patient", "subject")


class Timed(NamedTuple):
    """An observation and when it was made, in microseconds since 1970, as far as that is shown."""

    row: Opened
    at: float


async def lastn(use: Services, call: Call, asked: Invocation) -> Answer:
    """Return, of what a search would find, the last `max` of each code, newest first.

    Raises InvalidRequest if no subject is named, TooCostly if there is too much to look through, or to choose from.
    """
    gate = gate_for(use, call, TYPE, "s")
    _check(asked.searched)
    query = parse_query(
        use.registry, TYPE, asked.searched, lenient=False, zone=use.zone, now=gate.now, base_url=call.base
    )
    wanted = await resolved(use, TYPE, query.clause, gate)
    await affordable(use, wanted, gate)
    rows = await rows_of(use, wanted, gate, limit=MOST_OPENED + 1)
    if len(rows) > MOST_OPENED:
        raise TooCostly(f"There are more than {MOST_OPENED} observations to choose from: ask for a category or code.")
    partly = bool(await due_overall(use, gate, TYPE))
    shown = [Timed(each, _time(use, each, partly=partly)) for each in await opened_of(use, gate, TYPE, rows)]
    last = newest(shown, asked.one("max") or 1)
    await recorded(use, call, asked, gate, last, named=named_in(query.clause, TYPE))
    return searchset(call, [self_link(call, asked)], last, (), len(last))


def _check(searched: Pairs) -> None:
    names = {name.partition(":")[0].partition(".")[0] for name, _ in searched}
    if names.isdisjoint(SUBJECTS):
        raise InvalidRequest("$lastn needs the subject: patient or subject.")
    if shaping := next((name for name, _ in searched if about_results(name)), None):
        raise UnsupportedParameter(f"$lastn does not take the parameter {shaping}.")


def newest(shown: Sequence[Timed], most: int) -> list[Opened]:
    """Return the newest of each group of observations of one code, newest first; those that tie with the last as well."""
    found: list[Timed] = []
    groups: dict[str, list[Timed]] = {}
    group_of = grouped([tuple(kinds(parse(each.row.body))) for each in shown])
    for each, group in zip(shown, group_of, strict=True):
        groups.setdefault(group, []).append(each)
    for members in groups.values():
        members.sort(key=lambda each: each.at, reverse=True)
        found += [each for each in members if each.at >= members[:most][-1].at]
    return [each.row for each in sorted(found, key=lambda each: (-each.at, each.row.document["_id"]))]


def _time(use: Services, each: Opened, *, partly: bool) -> float:
    """Return when the observation was made; where it does not say, when it was stored. partly: it may be withheld."""
    stored: float = each.document["w"]["lo"]
    if not partly:
        return stored
    told = clinical_time(use.projector(parse(each.body)))
    return float(told["lo"]) if told else float(each.document["at"])


def kinds(observation: dict[str, Any]) -> Iterator[str]:
    """Yield what the code of an observation says: each coding, or the text of a code that is text alone."""
    code = observation.get("code", {})
    codings = [each for each in code.get("coding", ()) if each.get("code")]
    for each in codings:
        yield f"{each.get('system', '')}|{each['code']}"
    if not codings:
        yield f"text|{code.get('text', '')}"


def grouped(kinds_of: Iterable[Sequence[str]]) -> list[str]:
    """Return the group of each: those that share a kind are in one, and so are all that are so connected.

    >>> a, b, c, d = grouped([["1"], ["2"], ["3"], ["1", "2"]])
    >>> a == b == d, a == c
    (True, False)
    """
    leads: dict[str, str] = {}

    def end(kind: str) -> str:
        while leads.setdefault(kind, kind) != kind:
            kind = leads[kind]
        return kind

    firsts = []
    for each in kinds_of:
        firsts.append(each[0])
        for kind in each:
            leads[end(kind)] = end(each[0])
    return [end(first) for first in firsts]
