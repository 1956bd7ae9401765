"""Reference parameters (FHIR R4 Search, "reference"): how references are filed and looked up.

A reference to a resource of this server is filed by type and id, and by id alone; any other by its whole URL. A
version is cut off; references to contained resources and mere displays are not filed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import InvalidSearchValue
from fhir_server.search.ast import Clause, Filed, PersonReference
from fhir_server.search.modifiers import refused
from fhir_server.search.types import token
from fhir_server.search.types.span import Here
from fhir_server.search.values import terms, unescaped

# Parameters in which a Patient stands for the person.
PERSON = frozenset({"patient", "subject"})
# Of a parameter that finds nothing else, an id alone means a Patient.
PATIENTS = ("Patient",)

_LOCAL = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[^/]+)?")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Local:
    """A resource of this server. type: None = any type."""

    type: str | None
    id: str


@dataclass(frozen=True, slots=True)
class Url:
    """A resource elsewhere, or a canonical URL."""

    text: str


@dataclass(frozen=True, slots=True)
class Identified:
    """A reference whose logical identifier is this token."""

    token: token.Token


def read(text: str, here: Here) -> Local | Url | None:
    """Return what a reference in a resource refers to; None for what is no reference to another resource."""
    if here.base_url:
        text = text.removeprefix(here.base_url.rstrip("/") + "/")
    if local := _LOCAL.fullmatch(text):
        return Local(local[1], local[2])
    if text.startswith("#") or ":" not in text:
        return None
    return Url(text.partition("/_history/")[0])


def target(type: str, value: Any, here: Here) -> Local | Url | None:
    """Return what a value of a reference parameter refers to: a Reference, a canonical or uri, or a resource itself."""
    if isinstance(value, str):
        return read(value, here)
    if isinstance(found := value.get("reference"), str):
        return read(found, here)
    if "resourceType" in value and value.get("id"):  # Bundle-composition gives the resource itself
        return Local(value["resourceType"], value["id"])
    return None


def led_to(type: str, value: Any, here: Here) -> Iterator[str]:
    """Yield the relative reference ("Patient/1"), without version, of a resource of this server that is referred to."""
    if isinstance(found := target(type, value, here), Local):
        yield f"{found.type}/{found.id}"


def filed_under(type: str, value: Any, here: Here) -> Iterator[str]:
    """Yield every form under which a reference is filed."""
    match target(type, value, here):
        case Local(of, id):
            yield f"|{of}/{id}"
            yield f"|/{id}"
        case Url(text):
            yield f"|{text}"
            if type != "Reference" and "|" in text:  # a canonical, found with and without its version
                yield f"|{text.partition('|')[0]}"
    if isinstance(value, dict) and isinstance(identifier := value.get("identifier"), dict):
        for coded in token.coded_values("Identifier", identifier):
            yield from (f":identifier{form}" for form in token.forms(coded))


def looked_up(asked: Local | Url | Identified) -> str:
    """Return the form that all matching references are filed under."""
    match asked:
        case Local(type, id):
            return f"|{type or ''}/{id}"
        case Url(text):
            return f"|{text}"
        case Identified(identifier):
            return f":identifier{token.looked_up(identifier)}"


def term(param: str, reference: str) -> str:
    """Return the index term of a relative reference.

    >>> term("subject", "Patient/1")
    'subject|Patient/1'
    """
    return f"{param}|{reference}"


def widened(clause: PersonReference, references: Iterable[str]) -> Filed:
    """Return the look-up of a person: what was asked for literally, and further references of theirs ("Patient/2")."""
    return Filed(
        clause.param, tuple(dict.fromkeys((*clause.terms, *(term(clause.param, each) for each in references))))
    )


def meant(text: str, here: Here) -> Local | Url:
    """Return what the text of a value means; a text that is no reference finds nothing, since it is filed nowhere."""
    return Local(None, text) if _ID.fullmatch(text) else read(text, here) or Url(text)


def asked(parameter: SearchParameter, modifier: str, text: str, here: Here) -> Local | Url | Identified:
    """Return what a value asks for. modifier: "", "identifier" or the type that is meant."""
    code = parameter.code
    if modifier == "identifier":
        return Identified(token.asked(code, text))
    if modifier and modifier not in parameter.targets:
        raise refused(parameter)
    found = meant(unescaped(text), here)
    if isinstance(found, Local) and found.type is None and (modifier or parameter.targets == PATIENTS):
        return Local(modifier or "Patient", found.id)
    if modifier and isinstance(found, Local) and found.type != modifier:
        raise InvalidSearchValue(f"The value of {code} names another type than its modifier.")
    return found


def clause(parameter: SearchParameter, modifier: str, text: str, here: Here) -> Clause:
    """Return the clause of one value."""
    code, question = parameter.code, asked(parameter, modifier, text, here)
    found = terms(code, [looked_up(question)])
    may_be_person = code in PERSON and "Patient" in parameter.targets
    if may_be_person and isinstance(question, Local) and question.type in (None, "Patient"):
        return PersonReference(code, (f"Patient/{question.id}",), found, (question,))
    return Filed(code, found, (question,))
