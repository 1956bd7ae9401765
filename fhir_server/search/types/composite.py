"""Composite parameters (FHIR R4 Search, "composite"): parts that hold of one and the same element.

An element is filed as one span for each value of its ranged part (date, number or quantity), or as one open span if
no part is ranged. Its terms are those of the equality parts, each under `code$position`. Where two parts are ranged,
there is a span for each pair of their values, with the other part as its second stretch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any

from fhir_server.definitions.registry import Component, Registry, SearchParameter
from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.ast import Clause, InSpan, SpanTest
from fhir_server.search.expressions.compiled import Extraction, Typed, compile_expression, compile_together
from fhir_server.search.expressions.routes import UnknownElement
from fhir_server.search.modifiers import refused
from fhir_server.search.once import Forms, Once, Spans
from fhir_server.search.types import date, number, quantity, reference, string, token, uri
from fhir_server.search.types.span import Here, Span, on_second
from fhir_server.search.types.string import LONGEST
from fhir_server.search.values import split, unescaped

EQUALITY: Mapping[str, Forms] = {
    "token": token.filed_under,
    "string": string.filed_under,
    "reference": reference.filed_under,
    "uri": uri.filed_flat,
}
RANGED: Mapping[str, Spans] = {
    "date": date.spans,
    "number": number.spans,
    "quantity": quantity.spans,
}

MOST_RANGES = 2  # a span has a second stretch, and no third

# R4 gives these two expressions in the wrong order: the part that is a reference has that of the code.
CORRECTED = {"http://hl7.org/fhir/SearchParameter/DocumentReference-relationship": ("target", "code")}


@dataclass(frozen=True, slots=True)
class Composite:
    """What a composite asks for: one question for each part, in order."""

    parts: tuple[Any, ...]


def ranged_parts(parameter: SearchParameter) -> int:
    """Return how many parts of a composite are ranges; no more than MOST_RANGES are supported."""
    return sum(part.type in RANGED for part in parameter.components)


def head(code: str, position: int) -> str:
    """Return what the terms of a part begin with."""
    return f"{code}${position}"


# --- filed -----------------------------------------------------------------------------------------------------------


class Elements:
    """Finds the elements of composite parameters in a resource, and the values of each part in each element.

    An element is walked once, however many of the parameters it is one of.
    """

    def __init__(self, registry: Registry, type: str, parameters: Iterable[SearchParameter]) -> None:
        self._registry = registry
        self._type = type
        self._of = {each.code: each for each in parameters}
        self._parts = {code: _parts(each) for code, each in self._of.items()}
        self._elements = compile_together(registry, type, {code: each.expression for code, each in self._of.items()})
        self._walks: dict[tuple[str, ...], Extraction] = {}

    def __call__(self, resource: dict[str, Any]) -> Iterator[tuple[SearchParameter, tuple[list[Typed], ...]]]:
        """Yield, for each parameter and each of its elements that has a value for every part, these values."""
        found: dict[int, tuple[str, Any, list[str]]] = {}
        for code, elements in self._elements(resource).items():
            for path, element in elements:
                found.setdefault(id(element), (path, element, []))[2].append(code)
        for path, element, codes in found.values():
            values = self._walk(path, codes)(element, resource)
            for code in codes:
                parts = self._parts[code]
                if all(part in values for part in parts):
                    yield self._of[code], tuple(values[part] for part in parts)

    def _walk(self, path: str, codes: list[str]) -> Extraction:
        """Return what finds the parts, by their expressions, of these parameters in an element."""
        key = (path, *codes)
        if key not in self._walks:
            every = dict.fromkeys(part for code in codes for part in self._parts[code])
            known = {part: part for part in every if self._stands_in(path, part)}
            self._walks[key] = compile_together(self._registry, path, known, resource=self._type)
        return self._walks[key]

    def _stands_in(self, path: str, part: str) -> bool:
        try:
            compile_expression(self._registry, path, part, resource=self._type)
        except UnknownElement:
            return False
        return True


def _parts(parameter: SearchParameter) -> tuple[str, ...]:
    """Return the expressions of the parts of a parameter."""
    return CORRECTED.get(parameter.url) or tuple([part.expression for part in parameter.components])


def spans(parameter: SearchParameter, values: tuple[list[Typed], ...], once: Once) -> Iterator[Span]:
    """Yield the spans under which an element of a composite is filed. values: of each part."""
    terms: list[str] = []
    ranges: list[list[Span]] = []
    for position, (part, found) in enumerate(zip(parameter.components, values, strict=True)):
        start = head(parameter.code, position)
        if make := RANGED.get(part.type):
            ranges.append([span.under(start) for type, value in found for span in once(make, type, value)])
        else:
            forms = EQUALITY[part.type]
            terms += [start + form for type, value in found for form in once(forms, type, value)]
    yield from (_joined(terms, chosen) for chosen in product(*ranges))


def _joined(terms: list[str], chosen: tuple[Span, ...]) -> Span:
    """Return one span for the ranged parts of an element, in order, with the terms of all parts."""
    first, second = [*chosen, None, None][:2]
    every = tuple(dict.fromkeys([*terms, *(term for span in chosen for term in span.terms)]))
    if first is None:
        return Span(None, None, every)
    return Span(first.lo, first.hi, every, (second.lo, second.hi) if second else first.second)


# --- looked up -------------------------------------------------------------------------------------------------------


def asked(parameter: SearchParameter, text: str, here: Here, now: datetime) -> Composite:
    """Return the questions of all parts. Raises InvalidSearchValue if their number is not that of the parameter."""
    parts, code = split(text, "$"), parameter.code
    if len(parts) != len(parameter.components) or not all(parts):
        raise InvalidSearchValue(f"The value of {code} needs {len(parameter.components)} parts, with $ between them.")
    return Composite(
        tuple(_question(code, of, part, here, now) for of, part in zip(parameter.components, parts, strict=True))
    )


def _question(code: str, part: Component, text: str, here: Here, now: datetime) -> Any:
    match part.type:
        case "date":
            return date.asked(code, text, here, now)
        case "number":
            return number.asked(code, unescaped(text))
        case "quantity":
            return quantity.asked(code, text)
        case "token":
            return token.asked(code, text)
        case "reference":
            return reference.meant(unescaped(text), here)
        case "uri":
            return uri.Uri(unescaped(text))
    wanted = string.folded(unescaped(text))
    if not wanted:
        raise InvalidSearchValue(f"A part of the value of {code} has no letter or digit.")
    if len(wanted) > LONGEST:
        raise UnsupportedParameter(f"A text in {code} may have at most {LONGEST} characters.")
    return string.Starts(wanted)


def span_tests(parameter: SearchParameter, asked: Composite) -> tuple[SpanTest, ...]:
    """Return the tests of which a matching span passes one."""
    parts = list(enumerate(asked.parts))
    equal = [_term(head(parameter.code, at), question) for at, question in parts if not _is_range(question)]
    alone = ranged_parts(parameter) == 1
    ranged = [_range_tests(head(parameter.code, at), question, alone) for at, question in parts if _is_range(question)]
    first, *second = ranged or [(SpanTest(()),)]
    every = [first, *(map(on_second, tests) for tests in second)]
    return tuple(
        SpanTest(
            tuple(comparison for test in chosen for comparison in test.comparisons),
            (*equal, *(term for test in chosen for term in test.terms)),
        )
        for chosen in product(*every)
    )


def _is_range(question: Any) -> bool:
    return isinstance(question, date.Date | number.Number | quantity.Quantity)


def _range_tests(start: str, question: Any, alone: bool) -> tuple[SpanTest, ...]:
    """Return the tests of a ranged part. alone: a span's second stretch is not that of another part."""
    match question:
        case date.Date():
            return date.span_tests(question)
        case number.Number():
            return number.span_tests(question)
    return quantity.span_tests(start, question, converted=alone)


def _term(start: str, question: Any) -> str:
    match question:
        case token.Token():
            return start + token.looked_up(question)
        case string.Starts():
            return start + string.looked_up(question)
        case uri.Uri():
            return start + uri.looked_up(question)[0]
    return start + reference.looked_up(question)


def clause(parameter: SearchParameter, modifier: str, text: str, here: Here, now: datetime) -> Clause:
    """Return the clause of one value."""
    if modifier:
        raise refused(parameter)
    question = asked(parameter, text, here, now)
    return InSpan(parameter.code, span_tests(parameter, question), (question,))
