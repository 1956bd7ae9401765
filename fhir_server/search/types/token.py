"""Token parameters (FHIR R4 Search, "token"): how coded values are filed and looked up.

Codes are compared without regard to case: R4 asks servers to do so where the code system does not decide it, and
the check letter of a Chinese resident id number comes in both cases. Systems are compared as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import InvalidSearchValue
from fhir_server.search.ast import Clause, Filed, InValueSet, Subsumed, Text
from fhir_server.search.modifiers import refused
from fhir_server.search.types.span import Here
from fhir_server.search.types.string import wanted
from fhir_server.search.values import field, presence, split, terms, unescaped

# R4, table of token types: the system that a boolean has without saying so.
SPECIAL_VALUES = "http://terminology.hl7.org/CodeSystem/special-values"


class Coded(NamedTuple):
    """One coded value. implied: the system that its definition gives to a value that cannot name one."""

    system: str | None
    code: str | None
    implied: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A token as asked for. system: None = any, "" = must be absent. code: None = any."""

    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class OfType:
    """An identifier as asked for by :of-type: the system and code of one of its types, and its value."""

    system: str
    code: str
    value: str


class Members(Protocol):
    """The members of a value set: codes with their systems, and systems of which every code is a member."""

    @property
    def codes(self) -> Collection[tuple[str, str]]: ...

    @property
    def systems(self) -> Collection[str]: ...


@dataclass(frozen=True, slots=True)
class TokenText:
    """A text that a token's display or text begins with, folded."""

    text: str


# --- filed -----------------------------------------------------------------------------------------------------------


def filed_under(type: str, value: Any, here: Here) -> Iterator[str]:
    """Yield every form under which a value is filed, so that each way of asking is one look-up."""
    for coded in coded_values(type, value):
        yield from forms(coded)
    if type == "Identifier":
        yield from (looked_up(each) for each in typed(value))


def typed(identifier: Any) -> Iterator[OfType]:
    """Yield an identifier under each of its types."""
    value = identifier.get("value")
    for coded in _concept(identifier.get("type", {})) if value else ():
        if coded.system and coded.code:
            yield OfType(coded.system, coded.code, value)


def forms(coded: Coded) -> Iterator[str]:
    """Yield the forms of one coded value."""
    if coded.code:
        code = coded.code.casefold()
        yield f"||{code}"  # any system
        yield f"|{_system(coded.system)}|{code}"  # this system, or "-": none
        if coded.implied:
            yield f"|{field(coded.implied)}|{code}"
    if system := coded.system or coded.implied:
        yield f"|{field(system)}|"  # any code of this system


def _system(system: str | None) -> str:
    if not system:
        return "-"
    return "\\-" if system == "-" else field(system)


def coded_values(type: str, value: Any) -> Iterator[Coded]:
    """Yield the codes of a value; none where its type has none."""
    reader = _READERS.get(type)
    if reader is not None:
        yield from reader(value)
    elif isinstance(value, str):
        yield Coded(None, value, getattr(value, "system", None))


def _coding(value: Any) -> Iterator[Coded]:
    yield Coded(value.get("system"), value.get("code"))


def _concept(value: Any) -> Iterator[Coded]:
    for coding in value.get("coding", ()):
        if coding:
            yield Coded(coding.get("system"), coding.get("code"))


def _with_value(value: Any) -> Iterator[Coded]:
    yield Coded(value.get("system"), value.get("value"))


def _boolean(value: Any) -> Iterator[Coded]:
    yield Coded(None, "true" if value else "false", SPECIAL_VALUES)


_READERS: Mapping[str, Callable[[Any], Iterator[Coded]]] = {
    "Coding": _coding,
    "CodeableConcept": _concept,
    "Identifier": _with_value,
    "ContactPoint": _with_value,
    "boolean": _boolean,
}


def displayed(type: str, value: Any) -> Iterator[str]:
    """Yield the texts of a value that :text looks at: CodeableConcept.text, Coding.display, Identifier.type.text."""
    if type == "CodeableConcept":
        yield from _texts(value)
    elif type == "Coding":
        yield from (value["display"],) if "display" in value else ()
    elif type == "Identifier":
        yield from _texts(value.get("type", {}))


def _texts(concept: Mapping[str, Any]) -> Iterator[str]:
    if text := concept.get("text"):
        yield text
    yield from (coding["display"] for coding in concept.get("coding", ()) if coding and coding.get("display"))


# --- looked up -------------------------------------------------------------------------------------------------------


def asked(code: str, text: str) -> Token:
    """Return the token that a value asks for. Raises InvalidSearchValue if it names neither system nor code."""
    first, *rest = split(text, "|")
    if not rest and first:
        return Token(None, unescaped(first))
    token = Token(unescaped(first), unescaped("|".join(rest)) or None)
    if token.code is None and not token.system:
        raise InvalidSearchValue(f"The value of {code} needs a code, a system, or both.")
    return token


def looked_up(token: Token | OfType) -> str:
    """Return the one form that all matching values are filed under."""
    if isinstance(token, OfType):
        return f":of-type|{field(token.system)}|{field(token.code.casefold())}|{token.value.casefold()}"
    if token.code is None:
        return f"|{field(token.system or '')}|"
    if token.system is None:
        return f"||{token.code.casefold()}"
    return f"|{_system(token.system)}|{token.code.casefold()}"


def terms_of(code: str, members: Members) -> tuple[str, ...]:
    """Return the index terms under one of which every value is filed that is a member of a value set.

    A code without a system is a member only where its definition gives it one.
    """
    tokens = [Token(*each) for each in members.codes] + [Token(system, None) for system in members.systems]
    return tuple(sorted(set(terms(code, map(looked_up, tokens)))))


def clause(parameter: SearchParameter, modifier: str, text: str, here: Here) -> Clause:
    """Return the clause of one value. What :not and :not-in deny is all alternatives together, which plain.py does."""
    code = parameter.code
    match modifier:
        case "":
            return _filed(code, asked(code, text))
        case "text":
            return Text(code, (presence(code),), TokenText(wanted(f"{code}:text", unescaped(text))))
        case "in":
            return _in_value_set(code, text, here)
        case "above" | "below":
            return _subsumed(code, modifier, asked(code, text))
        case "of-type":
            return _filed(code, _of_type(code, text))
    raise refused(parameter)


def _filed(code: str, question: Token | OfType) -> Filed:
    return Filed(code, terms(code, [looked_up(question)]), (question,))


def _in_value_set(code: str, text: str, here: Here) -> InValueSet:
    url = unescaped(text)
    if ":" not in url and not url.startswith("ValueSet/"):
        raise InvalidSearchValue(f"The value of {code}:in and {code}:not-in is the URL of a value set.")
    return InValueSet(code, url.removeprefix(f"{here.base_url}/") if here.base_url else url)


def _subsumed(code: str, modifier: str, token: Token) -> Subsumed:
    if not token.system or not token.code:
        raise InvalidSearchValue(f"The value of {code}:{modifier} is a code with its system: system|code.")
    return Subsumed(code, token.system, token.code, above=modifier == "above")


def _of_type(code: str, text: str) -> OfType:
    parts = [unescaped(part) for part in split(text, "|")]
    if len(parts) != 3 or not all(parts):
        raise InvalidSearchValue(f"The value of {code}:of-type has three parts: system|code|value.")
    return OfType(*parts)
