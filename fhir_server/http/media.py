"""Which form of FHIR a client sends and which it takes.

Source: FHIR R4 RESTful API, "Content Types and encodings" and "General parameters"; RFC 9110, 12.5.1 (Accept).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from fhir_server.errors import NotAcceptable, UnsupportedMedia
from fhir_server.interactions.cursor import Pairs

FORM = "application/x-www-form-urlencoded"
JSON_PATCH = "application/json-patch+json"
ABOUT_FORM = frozenset({"_format", "_pretty"})  # the parameters that are about nothing but the form of the answer
FHIR_VERSION = "4.0"
MOST_RANGES = 50  # of an Accept header that are looked at
_UTF_8 = frozenset({"", "utf-8", "utf8", "us-ascii"})


class Format(Enum):
    """A form in which FHIR is written; the value is the media type under which it is sent."""

    JSON = "application/fhir+json"
    XML = "application/fhir+xml"


# Their names, those of earlier versions of FHIR and the general ones included. The short ones are for _format.
NAMES: Mapping[str, Format] = {
    **dict.fromkeys((Format.JSON.value, "application/json+fhir", "application/json", "text/json", "json"), Format.JSON),
    **dict.fromkeys((Format.XML.value, "application/xml+fhir", "application/xml", "text/xml", "xml"), Format.XML),
}

# As the CapabilityStatement lists them: what a resource, and what a patch, is read and written in.
FORMATS = (*(each.value for each in Format), *(each.name.lower() for each in Format))
PATCHES = (JSON_PATCH, *(each.value for each in Format))


class Media(NamedTuple):
    """A media type or range of them, with its parameters, in small letters."""

    name: str
    parameters: Mapping[str, str]

    @property
    def quality(self) -> float:
        """How much it is wanted, from 0 to 1."""
        try:
            return min(max(float(self.parameters.get("q", 1)), 0.0), 1.0)
        except ValueError:
            return 1.0

    @property
    def of_r4(self) -> bool:
        """Whether it names no version of FHIR, or R4."""
        return self.parameters.get("fhirversion", FHIR_VERSION) in (FHIR_VERSION, "4.0.1")


def media(text: str) -> Media:
    """Return a media type as it is read.

    >>> media("Application/FHIR+JSON; fhirVersion=4.0")
    Media(name='application/fhir+json', parameters={'fhirversion': '4.0'})
    """
    name, *parameters = text.lower().split(";")
    pairs = (each.partition("=") for each in parameters)
    return Media(name.strip(), {key.strip(): value.strip().strip('"') for key, _, value in pairs})


def accepted(accept: str) -> list[Media]:
    """Return the media ranges of an Accept header, as they are listed."""
    return [media(each) for each in accept.split(",", MOST_RANGES)[:MOST_RANGES] if each.strip()]


@lru_cache(maxsize=64)
def wanted(accept: str | None, format: str | None, default: Format) -> Format:
    """Return the form in which to answer. Raises NotAcceptable if there is none that the client takes.

    format: the parameter _format, which beats the header. default: where the client leaves the choice.
    """
    if not (listed := format or accept):
        return default
    # In a URL an unescaped "+" reads as a space.
    ranges = accepted(listed.replace("fhir ", "fhir+") if format else listed)
    rated = [rating for each in Format if (rating := _rating(each, ranges, default)) is not None]
    if not rated:
        raise NotAcceptable(
            f"This server answers in {' or '.join(each.value for each in Format)}, FHIR {FHIR_VERSION}."
        )
    return max(rated, key=lambda rating: rating[:-1])[-1]


def _rating(format: Format, ranges: list[Media], default: Format) -> tuple[float, int, int, bool, Format] | None:
    """Return how well a form fits: quality, how exactly it is named, how early; None if it is not taken."""
    fitting = [
        (exactness, -place, each.quality)
        for place, each in enumerate(ranges)
        if each.of_r4 and (exactness := _exactness(format, each.name)) is not None
    ]
    if not fitting:
        return None
    # RFC 9110: what names it most exactly says how much it is wanted; of names that are equally exact, the best.
    exactness = max(fit[0] for fit in fitting)
    quality, place = max((quality, place) for found, place, quality in fitting if found == exactness)
    return (quality, exactness, place, format is default, format) if quality else None


def _exactness(format: Format, name: str) -> int | None:
    if NAMES.get(name) is format:
        return 2
    return {"application/*": 1, "*/*": 0, "*": 0}.get(name)


def sent(content_type: str | None) -> Format | None:
    """Return the form of FHIR that a body has, None if it is something else. Raises UnsupportedMedia: another charset."""
    said = media(content_type or "")
    if said.parameters.get("charset", "") not in _UTF_8:
        raise UnsupportedMedia("Send the body in UTF-8.")
    return NAMES.get(said.name) if said.of_r4 else None


def is_form(content_type: str | None) -> bool:
    """Return whether a body is an HTML form."""
    return media(content_type or "").name == FORM


class Presentation(NamedTuple):
    """How an answer is to be written. said: the parameters that say so, for the links of a page."""

    format: Format = Format.JSON
    pretty: bool = False
    said: Pairs = ()


def presentation(accept: str | None, content_type: str | None, pairs: Pairs) -> Presentation:
    """Return how to answer. Raises NotAcceptable if there is no way that the client takes.

    A client that does not say gets the form that it sent, else JSON.
    """
    return _presentation(accept, content_type, tuple(pair for pair in pairs if pair[0] in ABOUT_FORM))


@lru_cache(maxsize=256)  # of the parameters of a search, which may tell of a person, nothing is kept
def _presentation(accept: str | None, content_type: str | None, said: Pairs) -> Presentation:
    asked = dict(said)
    default = NAMES.get(media(content_type).name, Format.JSON) if content_type else Format.JSON
    return Presentation(wanted(accept, asked.get("_format"), default), asked.get("_pretty") in ("true", ""), said)


def without_form(pairs: Pairs) -> Pairs:
    """Return the parameters that are about more than the form of the answer."""
    return tuple(pair for pair in pairs if pair[0] not in ABOUT_FORM)


def native_ranges(accept: str | None) -> Iterator[Media]:
    """Yield what a client takes for a Binary's content; nothing if it asks for FHIR's own media types."""
    ranges = accepted(accept or "*/*")
    if not any(each.quality and "fhir" in each.name for each in ranges):
        yield from (each for each in ranges if each.quality)
