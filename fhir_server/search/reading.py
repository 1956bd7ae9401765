"""Whether one value in a resource answers a question: the plain reading of R4, without index terms or spans of doubles.

It is written apart from the filed_under and looked_up of the parameter types on purpose, so that each can be
held against the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from fhir_server.fhir_json import decimal_text
from fhir_server.search.filter.questions import Ends, Same, Unlike
from fhir_server.search.types import quantity, reference, ucum
from fhir_server.search.types.date import Date, spans
from fhir_server.search.types.names import Called, texts
from fhir_server.search.types.number import Number, finite
from fhir_server.search.types.phonetic import Sounds
from fhir_server.search.types.phonetic import codes as sounds_of
from fhir_server.search.types.pinyin import Syllables, spelled, syllables
from fhir_server.search.types.quantity import CURRENCY, Quantity
from fhir_server.search.types.reference import Identified, Local, Url
from fhir_server.search.types.span import Here
from fhir_server.search.types.string import Contains, Exact, Starts, folded, strings_of
from fhir_server.search.types.token import Coded, OfType, Token, TokenText, coded_values, displayed
from fhir_server.search.types.uri import Uri

Interval = tuple[Decimal, Decimal]
EVERYTHING = (Decimal("-Infinity"), Decimal("Infinity"))


def answers(question: Any, type: str, value: Any, here: Here) -> bool:
    """Return whether a value answers a question. type: the value's FHIR type."""
    match question:
        case Token():
            return any(_is_token(coded, question) for coded in coded_values(type, value))
        case OfType():
            return type == "Identifier" and _is_of_type(value, question)
        case TokenText(text):
            return any(folded(each).startswith(text) for each in displayed(type, value))
        case Starts(text):
            return any(folded(each).startswith(text) for each in strings_of(type, value))
        case Called(text):
            return any(_is_called(each, text) for each in texts(type, value))
        case Sounds(codes):
            return any(not set(codes).isdisjoint(sounds_of(each)) for each in texts(type, value))
        case Contains(text):
            return any(text in folded(each) for each in strings_of(type, value))
        case Exact(text):
            return text in strings_of(type, value)
        case Same(text):
            return any(folded(each) == text for each in strings_of(type, value))
        case Ends(text):
            return any(folded(each).endswith(text) for each in strings_of(type, value))
        case Unlike(other):
            return not answers(other, type, value, here)
        case Local() | Url() | Identified():
            return _refers(question, type, value, here)
        case Uri():
            return isinstance(value, str) and _is_uri(question, type, value)
        case Date():
            return any(_in_time(question, span.lo, span.hi) for span in spans(type, value, here))
        case Number():
            return finite(value) is not None and _ordered(question, (_decimal(value), _decimal(value)))
        case Quantity():
            return isinstance(value, dict) and _is_quantity(question, type, value)
    raise TypeError(f"no reading of {question!r}")


# --- names -----------------------------------------------------------------------------------------------------------


def _is_called(name: str, asked: str) -> bool:
    """Return whether a name begins with a text, as it is written, as it is read, or by its initials."""
    if folded(name).startswith(asked):
        return True
    letters = spelled(asked)
    if letters is None:
        return False
    ways = syllables(name)
    return (
        folded(name).startswith(letters)
        or _is_read(ways, letters)
        or (len(letters) > 1 and _is_abbreviated(ways, letters))
    )


def _is_read(ways: Syllables, letters: str) -> bool:
    """Return whether the syllables, each in one of its readings, begin with these letters."""
    if not letters or not ways:
        return not letters
    return any(
        way.startswith(letters) or (letters.startswith(way) and _is_read(ways[1:], letters[len(way) :]))
        for way in ways[0]
    )


def _is_abbreviated(ways: Syllables, letters: str) -> bool:
    return len(letters) <= len(ways) and all(
        any(way[0] == letter for way in each) for letter, each in zip(letters, ways, strict=False)
    )


# --- tokens, references, uris ----------------------------------------------------------------------------------------


def _is_token(coded: Coded, asked: Token) -> bool:
    systems = {coded.system or "", coded.implied or coded.system or ""}
    if asked.system is not None and asked.system not in systems:
        return False
    return asked.code is None or (coded.code or "").casefold() == asked.code.casefold()


def _is_of_type(identifier: Any, asked: OfType) -> bool:
    types = Token(asked.system, asked.code)
    return (identifier.get("value") or "").casefold() == asked.value.casefold() and any(
        _is_token(coded, types) for coded in coded_values("CodeableConcept", identifier.get("type", {}))
    )


def _refers(question: Local | Url | Identified, type: str, value: Any, here: Here) -> bool:
    if isinstance(question, Identified):
        identifier = value.get("identifier") if isinstance(value, dict) else None
        return isinstance(identifier, dict) and answers(question.token, "Identifier", identifier, here)
    found = reference.target(type, value, here)
    match question, found:
        case Local(None, id), Local():
            return found.id == id
        case Url(text), Url():
            return found.text == text or (type != "Reference" and found.text.startswith(f"{text}|") and "|" not in text)
    return question == found


def _is_uri(asked: Uri, type: str, value: str) -> bool:
    if asked.modifier == "below":
        return _under(value, asked.text)
    if asked.modifier == "above":
        return _under(asked.text, value)
    return value == asked.text or (type == "canonical" and "|" not in asked.text and value.startswith(f"{asked.text}|"))


def _under(lower: str, upper: str) -> bool:
    """Return whether a URL is another or stands under it; URLs are compared step by step, URNs as a whole."""
    lower, upper = lower.rstrip("/"), upper.rstrip("/")
    return lower == upper or ("://" in upper and lower.startswith(f"{upper}/"))


# --- dates, numbers, quantities --------------------------------------------------------------------------------------


def _in_time(asked: Date, lo: float | None, hi: float | None) -> bool:
    """Compare the time a value covers (None: open) with the time asked for."""
    within = lo is not None and hi is not None and asked.lo <= lo and hi <= asked.hi
    reaches_below = lo is None or lo < asked.lo
    reaches_above = hi is None or hi > asked.hi
    match asked.prefix:
        case "eq":
            return within
        case "ne":
            return not within
        case "lt":
            return reaches_below
        case "gt":
            return reaches_above
        case "le":
            return reaches_below or within
        case "ge":
            return reaches_above or within
        case "sa":
            return lo is not None and lo > asked.hi
        case "eb":
            return hi is not None and hi < asked.lo
    return (lo is None or lo <= asked.hi + asked.margin) and (hi is None or hi >= asked.lo - asked.margin)


def _decimal(number: float) -> Decimal:
    return Decimal(decimal_text(number))


def _ordered(asked: Number, found: Interval, open_below: bool = False, open_above: bool = False) -> bool:
    """Compare an interval of numbers with the number asked for; an open end is not itself in the interval."""
    lo, hi = found
    least, limit = asked.rounding()
    near_low, near_high = asked.vicinity()
    value = asked.value
    tests: Mapping[str, Callable[[], bool]] = {
        "eq": lambda: least <= lo and (hi < limit or (open_above and hi <= limit)),
        "ne": lambda: not (least <= lo and (hi < limit or (open_above and hi <= limit))),
        "gt": lambda: hi > value,
        "lt": lambda: lo < value,
        "ge": lambda: hi > value or (hi == value and not open_above),
        "le": lambda: lo < value or (lo == value and not open_below),
        "sa": lambda: lo > value or (lo == value and open_below),
        "eb": lambda: hi < value or (hi == value and open_above),
        "ap": lambda: (
            (lo < near_high or (lo == near_high and not open_below))
            and (hi > near_low or (hi == near_low and not open_above))
        ),
    }
    return tests[asked.prefix]()


def _is_quantity(asked: Quantity, type: str, value: Any) -> bool:
    for unit, (lo, hi), opens in _quantities(type, value):
        ratio = _ratio(asked, unit)
        if ratio is not None:
            found = tuple(end * ratio.numerator / ratio.denominator for end in (lo, hi))
            if _ordered(asked.number, (found[0], found[1]), *opens):
                return True
    return False


def _quantities(type: str, value: Any) -> Iterator[tuple[Any, Interval, tuple[bool, bool]]]:
    """Yield the unit of a value with the interval of its numbers, if it has any, and whether each end is outside it."""
    if type == "Range":
        low, high = value.get("low", {}), value.get("high", {})
        ends = [finite(end.get("value")) for end in (low, high)]
        if ends != [None, None]:
            found = (_end(ends[0], low, EVERYTHING[0]), _end(ends[1], high, EVERYTHING[1]))
            yield low or high, found, (False, False)
    elif type == "SampledData":
        first, last = quantity.sampled(value)
        if first is not None and last is not None:
            yield value["origin"], (_decimal(first), _decimal(last)), (False, False)
    elif finite(value.get("value")) is not None:
        number = _decimal(value["value"])
        comparator = value.get("comparator", "")
        lo = EVERYTHING[0] if comparator.startswith("<") else number
        hi = EVERYTHING[1] if comparator.startswith(">") else number
        yield value, (lo, hi), (comparator == ">", comparator == "<")


def _end(number: float | None, of: Any, otherwise: Decimal) -> Decimal:
    return otherwise if number is None else _decimal(of["value"])


def _ratio(asked: Quantity, value: Any) -> Fraction | None:
    """Return how many of the unit asked for one of a quantity's unit is; None if they cannot be compared."""
    system, code = value.get("system"), value.get("code")
    if "currency" in value:
        system, code = CURRENCY, value["currency"]
    wanted = ucum.read(asked.code or "") if asked.system == ucum.SYSTEM else None
    if wanted is not None:
        found = ucum.read(code or "") if system == ucum.SYSTEM else None
        return found.factor / wanted.factor if found and found.kind == wanted.kind else None
    if asked.system is None:
        same = asked.code is None or asked.code in (code, value.get("unit"))
    else:
        same = asked.system == system and (asked.code is None or asked.code == code)
    return Fraction(1) if same else None
