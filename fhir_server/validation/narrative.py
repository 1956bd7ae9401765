"""The narrative: XHTML that can do nothing but be read (FHIR R4, Narrative, invariants txt-1 and txt-2)."""

from __future__ import annotations

import re
from xml.parsers import expat

# txt-1: chapters 7-11 and 15 of HTML 4.0, links, images, and no behaviour.
_ELEMENTS = (
    "a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i img "
    "li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var"
)
_ATTRIBUTES = (
    "abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff charset "
    "cite class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc name nowrap rel "
    "rev rowspan rules scope shape span src start style summary tabindex title type valign value vspace width xml:lang "
    "xmlns"
)
ELEMENTS, ATTRIBUTES = frozenset(_ELEMENTS.split()), frozenset(_ATTRIBUTES.split())
_XHTML = "http://www.w3.org/1999/xhtml"
_LINKS = frozenset({"href", "src", "cite", "longdesc"})
_HARMLESS = re.compile(r"\s*((https?|mailto|ftp|tel|urn|cid):|data:image/(png|jpeg|gif|bmp);|[^:]*$|[^:]*[/?#])", re.I)
# A backslash or a comment could hide any of the words.
_STYLE = re.compile(
    r"\\|/\*|expression\s*\(|javascript:|@import|behaviou?r\s*:|-moz-binding|url\s*\(\s*['\"]?\s*(?!#)", re.I
)
_NOT_ALLOWED = "must be XHTML of text, tables, lists, links and images only: no script, form, frame or event attribute"
_NOT_XML = "must be one well-formed XHTML <div> and nothing else; write other entities than XML's own as characters"


class _Refused(Exception):
    pass


def xhtml(value: object) -> str | None:
    """Return what is wrong with a Narrative.div, None if nothing is."""
    if type(value) is not str:
        return "must be a string of XHTML"
    if not value.lstrip().startswith("<div"):
        return _NOT_XML
    parser = expat.ParserCreate(namespace_separator=None)
    seen: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if name not in ELEMENTS or (not seen and name != "div") or not all(map(_allowed, attributes.items())):
            raise _Refused
        seen.append(name)

    def refuse(*_: object) -> None:
        raise _Refused

    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = parser.ProcessingInstructionHandler = refuse
    try:
        parser.Parse(value, True)
    except expat.ExpatError:
        return _NOT_XML
    except _Refused:
        return _NOT_ALLOWED
    return None


def _allowed(attribute: tuple[str, str]) -> bool:
    name, value = attribute
    if name in _LINKS:
        return _HARMLESS.match(value) is not None
    if name == "xmlns":
        return value == _XHTML
    if name == "style":
        return _STYLE.search(value) is None
    return name in ATTRIBUTES or name.startswith("xmlns:")
