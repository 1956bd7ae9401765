"""What is expected of an answer, word by word of the rows.

absent: the answer is that of an id that never existed. visible: the record. refused: no record, whatever the status
says. Or a table: status, ids (which records, in any order), order (in this order), total, links, has and lacks (texts in
body or headers), pages (ids page by page), same as (another request that must have the like answer), entries (how many).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.consent.doors.visit import Visit, difference
from tests.consent.wire import Answer

Twin = Callable[[], Answer]
REFUSALS = frozenset([400, 401, 403, 404, 405, 406, 410, 412, 422, 501])


def faults(visit: Visit, expected: Any, answers: list[Answer], twin: Twin | None) -> list[str]:
    """Return what is wrong with the answers to a request: its pages, or one."""
    if isinstance(expected, str):
        return [*_word(visit, expected, answers[0], twin)]
    found: list[str] = []
    for name, value in expected.items():
        if name in ("absent", "visible", "refused"):
            found += _word(visit, name, answers[0], twin)
        else:
            found += EXPECTATIONS[name](visit, value, answers)
    return found


def _word(visit: Visit, word: str, answer: Answer, twin: Twin | None) -> Iterator[str]:
    shown = word == "visible" and answer.status not in (200, 201)
    if shown or (word == "refused" and (answer.status not in REFUSALS or answer.ids)):
        yield f"status {answer.status}"
    elif word == "absent":
        assert twin is not None, "pages are no record"
        world = visit.world
        same = {world.id(name): visit.never(len(name)) for name in world.raw}
        wrong = difference(answer, twin(), same)
        if wrong or answer.status == 403:
            yield wrong or "status 403"


def _status(visit: Visit, value: Any, answers: list[Answer]) -> Iterator[str]:
    allowed = value if isinstance(value, list) else [value]
    yield from (f"status {each.status} {_diagnostics(each)}" for each in answers if each.status not in allowed)


def _diagnostics(answer: Answer) -> str:
    issues = answer.json.get("issue", ()) if isinstance(answer.json, dict) else ()
    return "; ".join(str(each.get("diagnostics", each.get("code"))) for each in issues)


def _named(visit: Visit, ids: list[str]) -> list[str]:
    names = {visit.world.id(name): name for name in visit.world.raw}
    return [names.get(id, id) for id in ids]


def _ids(visit: Visit, value: Any, answers: list[Answer]) -> Iterator[str]:
    got = sorted(_named(visit, [id for each in answers for id in each.ids]))
    if got != sorted(value):
        yield f"found {got} {_diagnostics(answers[0])}"


def _order(visit: Visit, value: Any, answers: list[Answer]) -> Iterator[str]:
    got = _named(visit, [id for each in answers for id in each.ids])
    if got != value:
        yield f"found {got}"


def _pages(visit: Visit, value: Any, answers: list[Answer]) -> Iterator[str]:
    got = [_named(visit, each.ids) for each in answers]
    if got != value:
        yield f"pages {got}"


def _total(visit: Visit, value: Any, answers: list[Answer]) -> Iterator[str]:
    yield from (f"total {each.json.get('total')}" for each in answers if each.json.get("total") != value)


def _entries(visit: Visit, value: Any, answers: list[Answer]) -> Iterator[str]:
    yield from (f"{len(each.entries)} entries" for each in answers if len(each.entries) != value)


def _links(visit: Visit, value: Any, answers: list[Answer]) -> Iterator[str]:
    got = [each["relation"] for each in answers[-1].json.get("link", ())]
    if got != value:
        yield f"links {got}"


def _has(visit: Visit, value: Any, answers: list[Answer]) -> Iterator[str]:
    for text in visit.world.filled(value):
        if not any(text in each.text for each in answers):
            yield f"{text!r} is not in it"


def _lacks(visit: Visit, value: Any, answers: list[Answer]) -> Iterator[str]:
    asked = visit.world.filled(value)
    yield from (f"{text!r} is in it" for each in answers for text in asked if text in each.text)


def _headers(visit: Visit, value: Any, answers: list[Answer]) -> Iterator[str]:
    for name, wanted in visit.world.filled(value).items():
        if answers[0].headers.get(name.lower()) != wanted:
            yield f"{name}: {answers[0].headers.get(name.lower())}"


def _same(visit: Visit, value: Any, answers: list[Answer]) -> Iterator[str]:
    """The like answer: same status, same members, same counts."""
    other = visit.wire.get(visit.world.filled(value.removeprefix("search ")))
    if shape(answers[0]) != shape(other):
        yield f"{shape(answers[0])}, but {shape(other)} for {value}"


def shape(answer: Answer) -> tuple[Any, ...]:
    """Return what an answer shows beside the ids and words of the question."""
    body: Mapping[str, Any] = answer.json if isinstance(answer.json, dict) else {}
    issues = [(each.get("severity"), each.get("code")) for each in body.get("issue", ())]
    links = [each["relation"] for each in body.get("link", ())]
    return answer.status, sorted(body), body.get("total"), len(answer.entries), issues, links, sorted(answer.headers)


EXPECTATIONS: Mapping[str, Callable[[Visit, Any, list[Answer]], Iterator[str]]] = {
    "status": _status,
    "ids": _ids,
    "order": _order,
    "pages": _pages,
    "total": _total,
    "entries": _entries,
    "links": _links,
    "has": _has,
    "lacks": _lacks,
    "headers": _headers,
    "same as": _same,
}
