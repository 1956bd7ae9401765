"""POST [origin]/desk/export: what a search has found as a file, recorded as an export before its first byte leaves.

The file is read page by page as the auditor would page, so it is as large as it may be and no larger in memory; what is
recorded after it was begun, its own pages among it, is not in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse

from fhir_server.audit.event import Happening
from fhir_server.auth.accounts.browser import form_of as form_sent
from fhir_server.interactions.cursor import Pairs
from fhir_server.interactions.notice import record
from fhir_server.interactions.searching.query import CURSOR
from fhir_server.pages.desk.asking import NEWEST_FIRST, Asked, form_of
from fhir_server.pages.desk.auditor import LOG, Auditor, Damaged, Found, Unanswered
from fhir_server.pages.desk.events import form, plain
from fhir_server.pages.desk.tables import csv_damaged, csv_head, csv_line, ndjson_line
from fhir_server.pages.rendering import HEADERS
from fhir_server.store.instants import instant

MOST_AT_ONCE = 200
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/fhir+ndjson"}


@dataclass(frozen=True, slots=True)
class _File:
    """A file that is being made. asked: the search. first: its first page."""

    auditor: Auditor
    kind: str
    first: Found

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield the file, page by page. Raises Unanswered, so that the answer breaks off, if a page is refused."""
        if self.kind == "csv":
            yield csv_head(self.auditor.speech)
        found = self.first
        while True:
            if lines := [*map(self._line, found.events), *map(self._damaged, found.damaged)]:
                yield b"".join(lines)
            if not found.next:
                return
            found = await self.auditor.search(((CURSOR, found.next),))

    def _line(self, event: Mapping[str, Any]) -> bytes:
        if self.kind == "ndjson":
            return ndjson_line(event)
        return csv_line(event, self.auditor.speech, self.auditor.zone)

    def _damaged(self, event: Damaged) -> bytes:
        """Return the line that stands for an event which cannot be shown."""
        if self.kind == "ndjson":
            return ndjson_line(event.said)
        return csv_damaged(event.id, self.auditor.speech)


async def export(auditor: Auditor, request: HttpRequest) -> Response:
    """Answer with the file, or with the page that says why there is none."""
    sent, _ = await form_sent(request)
    pairs, kind = auditor.opened(sent.values.get("page", "")), sent.values.get("step", "")
    if pairs is None or kind not in MEDIA_TYPES:
        return form(auditor, Asked(), wrong=(None, auditor.speech("page_unclear")))
    if not auditor.fits(sent.values.get("form")):
        return form(auditor, form_of(pairs), wrong=(None, auditor.speech("expired")))
    try:
        file = await _begun(auditor, plain(pairs), kind)
    except Unanswered as problem:
        return form(auditor, form_of(pairs), wrong=(None, auditor.speech("failed", why=problem)))
    if file is None:
        many = auditor.speech("export_many", most=auditor.use.settings.most_exported)
        return form(auditor, form_of(pairs), wrong=(None, many))
    named = {"Content-Disposition": f'attachment; filename="audit-events.{kind}"'}
    return StreamingResponse(file.lines(), media_type=MEDIA_TYPES[kind], headers={**HEADERS, **named})


async def _begun(auditor: Auditor, asked: Pairs, kind: str) -> _File | None:
    """Return the file, recorded; None if it would be longer than is allowed. Raises Unanswered."""
    use = auditor.use
    asked = (*asked, ("date", f"le{instant(use.now())}"))
    counted = await auditor.search((*asked, ("_summary", "count")))
    if counted.total is None or counted.total > use.settings.most_exported:
        return None
    size = min(MOST_AT_ONCE, use.settings.max_page_size)
    first = await auditor.search((*asked, NEWEST_FIRST, ("_count", str(size)), ("_total", "none")))
    told = f"{LOG}?{urlencode(asked)}"
    await record(use, auditor.call, Happening("audit-export", query=told, count=counted.total, note=kind))
    return _File(auditor, kind, first)
