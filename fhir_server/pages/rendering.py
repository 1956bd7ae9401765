"""Making a page: a template, its texts, and the headers that keep it from being framed, scripted, cached or referred.

Source: Content Security Policy Level 3; OWASP ASVS 4.0.3, V14.4; WCAG 2.2 level AA.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from fhir_server.pages.words import LANGUAGES

STYLE = "page.css"
HEADERS = {
    "Cache-Control": "no-store",
    "Pragma": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
NOWHERE = ("frame-ancestors 'none'", "base-uri 'none'")


@lru_cache(1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("fhir_server.pages", "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(
    template: str, lang: str, *, status: int = 200, leads_to: Iterable[str] = (), **values: object
) -> HTMLResponse:
    """Return a page.

    leads_to: URLs that its forms may end at beside this server: browsers hold a redirect after a form to it as well.
    """
    words = LANGUAGES[lang]
    given: dict[str, object] = {"errors": (), "again": None, "signed_in": None, **values}
    body = _templates().get_template(f"{template}.html").render(t=words, words=words, **given)
    return HTMLResponse(body, status, headers={**HEADERS, "Content-Security-Policy": policy(leads_to)})


async def nowhere(request: Request, problem: Exception) -> Response:
    """Answer what no route leads to, or not by this method, in both languages and with the headers of a page."""
    status, said = (problem.status_code, problem.headers) if isinstance(problem, HTTPException) else (500, None)
    text = (
        "没有这个页面。 There is no such page." if status == 404 else "不支持这种请求。 This request is not supported."
    )
    own = {**HEADERS, "Content-Security-Policy": policy(())}
    return PlainTextResponse(text, status, headers={**own, **(said or {})})


def policy(leads_to: Iterable[str]) -> str:
    """Return the Content-Security-Policy of a page.

    >>> policy(["https://app.example.org/back?x=1"]).split("; ")[2]
    "form-action 'self' https://app.example.org"
    """
    targets = " ".join(["'self'", *sorted({_source(each) for each in leads_to})])
    return "; ".join(("default-src 'none'", "style-src 'self'", f"form-action {targets}", *NOWHERE))


def style(name: str = STYLE) -> Response:
    """Return a style sheet."""
    content = files("fhir_server.pages").joinpath("static", name).read_bytes()
    headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(content, media_type="text/css", headers=headers)


def _source(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"
