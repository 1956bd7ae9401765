"""How writes are stored: drafts and deletions together with their AuditEvent, and what the client is told of it.

Source: FHIR R4 RESTful API, "create", "update", "Managing Return Content".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from fhir_server.audit.event import Happening
from fhir_server.consenting.following import follow_writes
from fhir_server.errors import Conflict
from fhir_server.interactions.call import Answer, Call, Return, Services, outcome, touched, version_headers
from fhir_server.interactions.keepers import tell_of_written
from fhir_server.redaction.showing import shown
from fhir_server.reindexing.following import follow
from fhir_server.store.commit import Unit
from fhir_server.store.drafts import Draft, Removal, Written
from fhir_server.store.numbers import Outdated
from fhir_server.store.resources import Document

TRIES = 5
T = TypeVar("T")


class Guard(Protocol):
    """What a write depends on, or brings along: it is added to the write's unit, which may fail by it."""

    def hold(self, unit: Unit) -> None: ...


async def again(work: Callable[[], Awaitable[T]], *, tries: int = TRIES) -> T:
    """Return what work returns, begun again from its start if another write came first. Raises Conflict in the end."""
    for left in range(tries - 1, -1, -1):
        try:
            return await work()
        except Conflict as conflict:
            if not left or isinstance(conflict, Outdated):
                raise
    raise AssertionError("unreachable")


async def store(
    use: Services,
    call: Call,
    interaction: str,
    drafts: Sequence[Draft],
    removals: Sequence[Removal] = (),
    guards: Iterable[Guard] = (),
    query: str | None = None,
    tries: int = TRIES,
) -> list[Written]:
    """Store drafts and deletions together with their AuditEvent; return the versions when they are durable.

    An update that changes nothing stores no version: what is returned is the one that there is. guards: the conditions
    that must still find nothing. query: the condition of a conditional interaction, for the record. tries: 1 where the
    caller begins again from its own start.
    Raises Conflict if another write came first; then nothing is stored.
    """
    held = tuple(guards)
    drafts = [use.writer.labelled(each) for each in drafts]
    # A Patient may have become known as another person meanwhile: made anew, the unit says so.
    return await again(lambda: _stored(use, call, interaction, drafts, removals, held, query), tries=tries)


async def _stored(
    use: Services,
    call: Call,
    interaction: str,
    drafts: Sequence[Draft],
    removals: Sequence[Removal],
    guards: Sequence[Guard],
    query: str | None,
) -> list[Written]:
    at = use.now()
    kept = {place: draft.old for place, draft in enumerate(drafts) if draft.old and _says_the_same(use, draft)}
    changed = [draft for place, draft in enumerate(drafts) if place not in kept] if kept else drafts
    unit, written, tombstones = await use.writer.store(changed, removals, at=at)
    follow(use, call, drafts, removals, unit)
    await tell_of_written(use, written, unit, at=at)
    await follow_writes(use, changed, written, removals, unit, at=at)
    for guard in guards:
        guard.hold(unit)
    if kept:
        written = await _with_kept(use, call, drafts, kept, written)
    gone = zip((each.type for each in removals if each.old is not None), tombstones, strict=True)
    happening = Happening(
        interaction,
        status=201 if interaction == "create" else 200,
        touched=tuple(touched(type, each) for type, each in [*((each.type, each.document) for each in written), *gone]),
        query=query,
    )
    await use.audit.add(call.remarked(happening), call.requester, unit, at=at)
    await use.committer.commit(unit)
    return written


def _says_the_same(use: Services, draft: Draft) -> bool:
    """Return whether a draft of a next version says what the current one says, in the same standing.

    Whose record a Binary is lies in what it belongs to, not in what it says: it is always filed anew.
    """
    old = draft.old or {}
    return draft.type != "Binary" and draft.by == old.get("by") and use.writer.digest(draft.resource) == old["h"]


async def _with_kept(
    use: Services, call: Call, drafts: Sequence[Draft], kept: dict[int, Document], written: Sequence[Written]
) -> list[Written]:
    """Return the versions in the drafts' order: those that were made, and those that stay as they are."""
    made = iter(written)
    return [
        await existing(use, call, draft.type, kept[place]) if place in kept else next(made)
        for place, draft in enumerate(drafts)
    ]


async def existing(use: Services, call: Call, type: str, document: Document) -> Written:
    """Return a version that is stored already, as if it had just been written, as the requester is shown it."""
    (body,) = await shown(use, use.gatekeeper.gate(call.requester, "r"), type, [document])
    return Written(type, document["_id"], document["v"], document["at"], body, document)


def written_answer(call: Call, version: Written, status: int, said: str = "Stored.") -> Answer:
    """Return the answer to a create, update or patch."""
    headers = {
        **version_headers({"v": version.version, "at": version.at}),
        "Location": f"{call.base}/{version.type}/{version.id}/_history/{version.version}",
    }
    match call.returns:
        case Return.MINIMAL:
            return Answer(status, headers=headers)
        case Return.OUTCOME:
            return Answer(status, informed(said), headers)
        case _:
            return Answer(status, version.body, headers)


def informed(said: str) -> bytes:
    """Return the JSON of an OperationOutcome that only informs."""
    return outcome({"severity": "information", "code": "informational", "diagnostics": said})
