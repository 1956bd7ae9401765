"""Negotiation: which form of FHIR is answered to what a client says it takes (RFC 9110, 12.5.1; FHIR R4, Content Types)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.errors import NotAcceptable, UnsupportedMedia
from fhir_server.http.media import Format, Presentation, presentation, sent, wanted

J, X = Format.JSON, Format.XML
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"

# Accept, _format, the form where the client leaves the choice, what is answered (None: 406)
WANTED: list[tuple[str | None, str | None, Format, Format | None]] = [
    (None, None, J, J), (None, None, X, X), ("", "", J, J), ("*/*", None, J, J), ("*/*", None, X, X), ("*", None, J, J),
    ("application/*", None, X, X),
    # every name, and in any case
    *((name, None, X, J) for name in ("application/fhir+json", "application/json", "text/json", "application/json+fhir")),
    *((name, None, J, X) for name in ("application/fhir+xml", "application/xml", "text/xml", "application/xml+fhir")),
    ("Application/FHIR+XML", None, J, X),
    # parameters
    ("application/fhir+json; fhirVersion=4.0", None, X, J), ("application/fhir+xml;fhirVersion=4.0.1", None, J, X),
    ('application/fhir+xml; fhirVersion="4.0"; charset=utf-8', None, J, X),
    ("application/fhir+json; fhirVersion=3.0", None, J, None), ("application/fhir+xml; fhirVersion=5.0", None, J, None),
    ("application/fhir+json; fhirVersion=5.0, application/fhir+xml; fhirVersion=4.0", None, J, X),
    # quality, then how exactly a form is named, then which is named first
    ("application/fhir+json;q=0.5, application/fhir+xml;q=0.9", None, J, X),
    ("application/fhir+xml;q=0.5, application/fhir+json;q=0.9", None, X, J),
    ("application/fhir+xml, application/fhir+json", None, J, X), ("application/json, application/xml", None, X, J),
    ("*/*, application/fhir+xml", None, J, X), ("*/*;q=0.1, application/fhir+xml;q=0.2", None, J, X),
    ("application/fhir+json;q=0.1, */*;q=0.5", None, J, X), ("application/fhir+json;q=0, */*", None, J, X),
    ("application/fhir+xml;q=0, application/*", None, X, J), ("application/fhir+json;q=0", None, J, None),
    ("application/fhir+xml;q=1.5", None, J, X), ("application/fhir+xml;q=x", None, J, X),
    ("text/html, application/fhir+xml;q=0.5", None, J, X), (BROWSER, None, J, X),
    # nothing that is made here
    ("text/html", None, J, None), ("application/fhir+turtle", None, J, None), ("nonsense", None, J, None),
    ("image/*", None, J, None), (";;,", None, J, None), (",", None, J, None),
    # _format beats the header
    ("application/fhir+xml", "json", J, J), ("text/html", "xml", J, X),
    ("application/fhir+json", "application/fhir+xml", J, X),
    (None, "application/fhir xml", J, X), (None, "text/xml", J, X), (None, "application/fhir+json;fhirVersion=4.0", X, J),
    (None, "html", J, None), ("application/fhir+json", "ttl", J, None), (None, "XML", J, X),
]  # fmt: skip


@pytest.mark.parametrize(("accept", "format", "default", "expected"), WANTED)
def test_the_form_is_what_the_client_wants_most(
    accept: str | None, format: str | None, default: Format, expected: Format | None
) -> None:
    if expected is None:
        with pytest.raises(NotAcceptable):
            wanted(accept, format, default)
    else:
        assert wanted(accept, format, default) is expected


SENT: list[tuple[str | None, Format | None]] = [
    ("application/fhir+json", J), ("application/fhir+xml; charset=UTF-8", X), ('text/xml;charset="utf-8"', X),
    ("application/json; fhirVersion=4.0", J), ("application/fhir+json; fhirVersion=3.0", None), ("text/plain", None),
    ("application/json-patch+json", None), ("multipart/form-data; boundary=x", None), ("", None), (None, None),
]  # fmt: skip


@pytest.mark.parametrize(("content_type", "expected"), SENT)
def test_the_form_of_a_body_is_what_its_media_type_says(content_type: str | None, expected: Format | None) -> None:
    assert sent(content_type) is expected


@pytest.mark.parametrize("charset", ["gb18030", "ISO-8859-1", "utf-16"])
def test_a_body_in_another_encoding_is_not_read(charset: str) -> None:
    with pytest.raises(UnsupportedMedia):
        sent(f"application/fhir+json; charset={charset}")


def test_who_does_not_say_gets_the_form_that_was_sent() -> None:
    assert presentation(None, "application/fhir+xml", ()) == Presentation(X)
    assert presentation("application/fhir+json", "application/fhir+xml", ()) == Presentation(J)
    assert presentation(None, "application/x-www-form-urlencoded", ()) == Presentation(J)


@pytest.mark.parametrize(("said", "pretty"), [("true", True), ("", True), ("false", False), ("1", False)])
def test_pretty_is_asked_for_by_parameter(said: str, pretty: bool) -> None:
    pairs = (("_pretty", said), ("name", "x"))
    assert presentation(None, None, pairs) == Presentation(J, pretty, (("_pretty", said),))


PIECES = [
    "application/fhir+xml",
    "*/*",
    ";",
    ",",
    "q=",
    "0",
    "1e9",
    "nan",
    "fhirVersion=",
    '"',
    "=",
    " ",
    "charset=",
    "utf-8",
]
ODD = st.text(max_size=20) | st.lists(st.sampled_from(PIECES)).map("".join)


@settings(deadline=None)
@given(ODD, ODD, ODD)
def test_whatever_the_headers_hold_there_is_an_answer_or_a_refusal(accept: str, content_type: str, format: str) -> None:
    for pairs in ((), (("_format", format),)):
        with suppress(NotAcceptable):
            assert presentation(accept, content_type, pairs).format in Format
    with suppress(UnsupportedMedia):
        assert sent(content_type) in (*Format, None)
