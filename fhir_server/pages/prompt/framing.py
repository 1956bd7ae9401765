"""Who may show a page in a frame: nobody, unless the settings name origins. Source: Content Security Policy Level 3."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

NOBODY = "frame-ancestors 'none'"


def framed(response: Response, origins: Sequence[str]) -> Response:
    """Return a page that these origins may show in a frame. X-Frame-Options cannot name them, so it goes."""
    if origins:
        policy = response.headers["Content-Security-Policy"]
        response.headers["Content-Security-Policy"] = policy.replace(NOBODY, f"frame-ancestors {' '.join(origins)}")
        del response.headers["X-Frame-Options"]
    return response
