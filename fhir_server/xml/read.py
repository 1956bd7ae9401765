"""XML to FHIR JSON.

A document is read with expat, which can say where in the bytes an element begins: so a narrative is cut out as it was
written. No DOCTYPE is taken, hence no entities of a document's own and nothing from outside. Comments, processing
instructions and white space between elements are no part of a resource (R4, XML).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NoReturn
from xml.parsers import expat

from fhir_server.errors import InvalidRequest, InvalidResource
from fhir_server.xml.table import ANY_RESOURCE, DOCUMENT, FHIR, Content, Field, Kind, content, resources

DEEPEST = 100  # elements within each other, narratives aside; twice as many levels of JSON can be written
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # expat would follow such a mark whatever it is told
_NOT_UTF_8 = "The body is not in UTF-8, which is the encoding of FHIR."
_SPACE = " \t\r\n"
_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance "  # says where a schema lies; nothing of the resource
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)
_TAG = re.compile(rb"""<(?:"[^"]*"|'[^']*'|[^>"'])*>""")


def from_xml(raw: bytes) -> dict[str, Any]:
    """Return the JSON of a resource that is written as XML.

    Values that are not of their element's type stay strings, for validation to find.
    Raises InvalidRequest if the bytes are no XML document in UTF-8, InvalidResource if it holds what R4 does not
    define; both say where, and neither quotes the content.
    """
    return _Reader(raw).resource()


class _Frame:
    """An element that was begun and has not ended yet."""

    __slots__ = ("field", "known", "made", "shadows", "value")

    def __init__(self, field: Field, known: Content) -> None:
        self.field = field
        self.known = known
        self.made: dict[str, Any] = {}  # the members of an object; of a primitive, its id and extensions
        self.value: Any = None  # of a primitive
        self.shadows: list[Field] = []  # repeating primitives among the members of which some have id or extensions


class _Reader:
    __slots__ = ("frames", "inside", "parser", "raw", "root", "start")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.inside = 0  # elements of a narrative that are open
        self.start = 0  # where the narrative begins
        self.root = _Frame(DOCUMENT, resources())
        self.frames = [self.root]
        self.parser = expat.ParserCreate("UTF-8", " ")
        self.parser.buffer_text = True
        self.parser.ordered_attributes = True
        self._read_elements()
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.XmlDeclHandler = self._declared

    def resource(self) -> dict[str, Any]:
        """Return the resource that the document is. Raises InvalidRequest, InvalidResource."""
        if self.raw.startswith(_UTF_16) or b"\x00" in self.raw[:4]:
            raise InvalidRequest(_NOT_UTF_8)
        try:
            self.parser.Parse(self.raw, True)
        except expat.ExpatError as error:
            where = f"line {error.lineno} column {error.offset + 1}"
            raise InvalidRequest(f"The body is not XML: stopped at {where}.") from None
        made: dict[str, Any] = self.root.value
        return made

    def _read_elements(self) -> None:
        self.parser.StartElementHandler = self._begun
        self.parser.EndElementHandler = self._ended
        self.parser.CharacterDataHandler = self._text

    def _pass_over_narrative(self) -> None:
        self.inside, self.start = 1, self.parser.CurrentByteIndex
        self.parser.StartElementHandler = self._deeper
        self.parser.EndElementHandler = self._less_deep
        self.parser.CharacterDataHandler = None

    def _begun(self, tag: str, attributes: list[str]) -> None:
        above = self.frames[-1]
        field = above.known.tags.get(tag)
        if field is None:
            self._unknown_element(tag)
        if field.kind is Kind.XHTML:
            self._pass_over_narrative()
            return
        if len(self.frames) > DEEPEST:
            raise InvalidRequest(f"The body is nested more than {DEEPEST} levels deep (line {self._line}).")
        frame = _Frame(field, _known(field))
        if above.known.path == ANY_RESOURCE:
            frame.made["resourceType"] = field.name
        self.frames.append(frame)
        for at in range(0, len(attributes), 2):
            self._attribute(frame, attributes[at], attributes[at + 1])

    def _attribute(self, frame: _Frame, name: str, text: str) -> None:
        if name == "value" and frame.field.kind is Kind.PRIMITIVE:
            frame.value = frame.field.read(text)
        elif (field := frame.known.fields.get(name)) is not None and field.kind is Kind.ATTRIBUTE:
            frame.made[name] = text
        elif not name.startswith(_SCHEMA):
            self._refuse("has an attribute that R4 does not define")

    def _ended(self, tag: str) -> None:
        frame = self.frames.pop()
        for field in frame.shadows:
            _even_out(frame.made, field)
        above, field = self.frames[-1], frame.field
        if above.known.path == ANY_RESOURCE:
            if above.value is not None:
                self._refuse("holds more than one resource")
            above.value = frame.made
        elif field.kind is Kind.PRIMITIVE:
            self._put(field, frame.value, frame.made)
        else:
            self._put(field, frame.value if field.kind is Kind.RESOURCE else frame.made, {})

    def _put(self, field: Field, value: Any, shadow: dict[str, Any]) -> None:
        """Add what an element holds to what it stands in."""
        frame = self.frames[-1]
        made = frame.made
        if field.many:
            values = made.setdefault(field.name, [])
            values.append(value)
            if shadow:
                shadows = made.setdefault(field.shadow, [])
                shadows += [None] * (len(values) - 1 - len(shadows))
                shadows.append(shadow)
                if field not in frame.shadows:
                    frame.shadows.append(field)
            return
        if field.name in made or field.shadow in made:
            self._refuse("is given more than once", field.said)
        if value is not None or not shadow:
            made[field.name] = value
        if shadow:
            made[field.shadow] = shadow

    def _deeper(self, tag: str, attributes: list[str]) -> None:
        self.inside += 1

    def _less_deep(self, tag: str) -> None:
        self.inside -= 1
        if not self.inside:
            self._put(self.frames[-1].known.fields["div"], self._narrative(), {})
            self._read_elements()

    def _narrative(self) -> str:
        """Return the narrative that ends here, cut out of the bytes."""
        opening = _TAG.match(self.raw, self.start)
        if opening is not None and opening[0].endswith(b"/>"):
            return opening[0].decode()
        return self.raw[self.start : self.raw.index(b">", self.parser.CurrentByteIndex) + 1].decode()

    def _text(self, text: str) -> None:
        if text.strip(_SPACE):
            self._refuse("holds text: the value of an element is its attribute value")

    def _doctype(self, *_: object) -> NoReturn:
        raise InvalidRequest(f"The body has a DOCTYPE, which is not taken (line {self._line}).")

    def _declared(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.upper() != "UTF-8":
            raise InvalidRequest(_NOT_UTF_8)

    @property
    def _line(self) -> int:
        return self.parser.CurrentLineNumber

    def _unknown_element(self, tag: str) -> NoReturn:
        namespace, _, name = tag.rpartition(" ")
        if not _NAME.fullmatch(name):
            self._refuse("holds an element that R4 does not define")
        if len(self.frames) == 1 and namespace == FHIR:
            raise InvalidResource([("not-supported", None, "The root element names no resource type of R4.")])
        if namespace == FHIR:
            self._refuse(f"is not an element of {self.frames[-1].known.path} in R4: remove or correct it", name)
        self._refuse(f"is not in the namespace {FHIR}", name)

    def _refuse(self, text: str, name: str | None = None) -> NoReturn:
        """Raise InvalidResource about the element that was begun last, or about one of its children."""
        path = _path(self.frames)
        where = ".".join(part for part in (path, name) if part) or None
        said = f"{where or 'The root element'} {text} (line {self._line})."
        raise InvalidResource([("structure", where if path else None, said)])


def _known(field: Field) -> Content:
    """Return what may stand within an element."""
    match field.kind:
        case Kind.PRIMITIVE:
            return content("Element")
        case Kind.RESOURCE:
            return resources()
    return content(field.path)


def _even_out(made: dict[str, Any], field: Field) -> None:
    """Make the two arrays of a repeating primitive equally long, and leave out the one that is all null."""
    values, shadows = made[field.name], made[field.shadow]
    shadows += [None] * (len(values) - len(shadows))
    if all(value is None for value in values):
        del made[field.name]


def _path(frames: Sequence[_Frame]) -> str:
    """Return the FHIRPath of the element that was begun last; a resource within a resource is no step of it."""
    parts = [frame.field.name for frame in frames[1:2]]
    for above, frame in pairwise(frames[1:]):
        if above.known.path == ANY_RESOURCE:
            continue
        at = f"[{len(above.made.get(frame.field.name, ()))}]" if frame.field.many else ""
        parts.append(frame.field.said + at)
    return ".".join(parts)
