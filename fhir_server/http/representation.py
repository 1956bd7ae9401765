"""From the JSON of an answer to the bytes that leave: compact or indented, as JSON or as XML."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool

from fhir_server.fhir_json import dump, parse
from fhir_server.http.media import Format, Presentation
from fhir_server.xml.write import to_xml

LONG = 100_000  # bytes; what takes longer to convert than other requests should wait


async def represented(body: bytes, how: Presentation) -> bytes:
    """Return a body as it is asked for. Raises NotAcceptable if XML cannot hold it."""
    if how == Presentation() or not body:
        return body
    return await run_in_threadpool(written, body, how) if len(body) > LONG else written(body, how)


def written(body: bytes, how: Presentation) -> bytes:
    """Return the JSON of a resource in another form."""
    resource = parse(body)
    if how.said and resource["resourceType"] == "Bundle":
        resource = _keeping_form(resource, how)
    if how.format is Format.XML:
        return to_xml(resource, pretty=how.pretty)
    return dump(resource, pretty=how.pretty)


def _keeping_form(bundle: dict[str, Any], how: Presentation) -> dict[str, Any]:
    """Return a Bundle whose links ask for the same form: whoever follows them says nothing else."""

    def with_form(link: dict[str, Any]) -> dict[str, Any]:
        url = link["url"]
        return {**link, "url": f"{url}{'&' if '?' in url else '?'}{urlencode(how.said)}"}

    return {**bundle, "link": [with_form(each) for each in bundle["link"]]} if "link" in bundle else bundle
