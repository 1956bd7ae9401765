"""Whose bookings may open the page, and where it may lead back to, as the settings say."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def _secure(url: str) -> str:
    parts = urlsplit(url)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not safe or not parts.hostname or "#" in url or "@" in parts.netloc or "*" in url:
        raise ValueError("is not an https URL without fragment, user and wildcard")
    return url


def _origin(url: str) -> str:
    parts = urlsplit(_secure(url))
    if url != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("is not an origin, such as https://booking.hospital.example")
    return url


class PromptCaller(BaseModel):
    """A registered backend client that may ask patients by the page.

    return_urls: where a patient is led back to; what a request names is compared with them exactly. frame_origins: whose
    pages may show this one in a frame; none: nobody's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: str = Field(pattern=r"^[A-Za-z0-9._~-]{1,64}$")
    return_urls: tuple[Annotated[str, AfterValidator(_secure)], ...] = Field(min_length=1)
    frame_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
