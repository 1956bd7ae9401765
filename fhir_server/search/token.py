"""Token parameters (FHIR R4 Search, "token"): how coded values are filed and looked up.

Codes are compared without regard to case: R4 asks servers to do so where the code system does not decide it, and
the check letter of a Chinese resident id number comes in both cases. Systems are compared as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.ast import Clause, Filed, Text
from fhir_server.search.span import Here
from fhir_server.search.string import folded
from fhir_server.search.values import field, presence, split, terms, unescaped

MODIFIERS = frozenset({"not", "text"})

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
class TokenText:
    """A text that a token's display or text begins with, folded."""

    text: str


# --- filed -----------------------------------------------------------------------------------------------------------


def filed_under(type: str, value: Any, here: Here) -> Iterator[str]:
    """Yield every form under which a value is filed, so that each way of asking is one look-up."""
    for coded in coded_values(type, value):
        yield from forms(coded)


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


def looked_up(token: Token) -> str:
    """Return the one form that all matching values are filed under."""
    if token.code is None:
        return f"|{field(token.system or '')}|"
    if token.system is None:
        return f"||{token.code.casefold()}"
    return f"|{_system(token.system)}|{token.code.casefold()}"


def clause(parameter: SearchParameter, modifier: str, text: str, here: Here) -> Clause:
    """Return the clause of one value; :not is the negation of all alternatives together, which parse.py adds."""
    code = parameter.code
    if modifier == "text":
        wanted = folded(unescaped(text))
        if not wanted:
            raise InvalidSearchValue(f"The value of {code}:text has no letter or digit.")
        return Text(code, (presence(code),), TokenText(wanted))
    if modifier not in ("", "not"):
        raise UnsupportedParameter(f"The modifier of {code} is not supported: a token takes :missing, :not and :text.")
    token = asked(code, text)
    return Filed(code, terms(code, [looked_up(token)]), (token,))
