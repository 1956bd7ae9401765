"""The clause of one parameter's values, whatever its type: alternatives, :missing, and the file of the type."""

from __future__ import annotations

from datetime import datetime

from fhir_server.definitions.registry import SearchParameter
from fhir_server.errors import InvalidSearchValue, UnsupportedParameter
from fhir_server.search.ast import Clause, IdIn, Missing, Not, Or, Updated, either
from fhir_server.search.support import ranged
from fhir_server.search.types import (
    composite,
    date,
    names,
    near,
    number,
    phonetic,
    quantity,
    reference,
    string,
    token,
    uri,
)
from fhir_server.search.types.span import Here
from fhir_server.search.values import split, unescaped

# Modifiers of tokens that deny all alternatives together, and what they deny.
NEGATIONS = {"not": "", "not-in": "in"}


def plain(parameter: SearchParameter, modifier: str, text: str, here: Here, now: datetime) -> Clause:
    """Return the clause of a parameter that is not chained. Raises InvalidSearchValue, UnsupportedParameter."""
    code = parameter.code
    if modifier == "missing":
        return missing(parameter, text)
    texts = split(text, ",")
    if not all(texts):
        raise InvalidSearchValue(f"{code} has an empty alternative.")
    negated = parameter.type == "token" and modifier in NEGATIONS
    modifier = NEGATIONS[modifier] if negated else modifier
    if code == "_id":
        if modifier:
            raise UnsupportedParameter("The modifier of _id is not supported: it takes :missing and :not.")
        found: Clause = IdIn(tuple(unescaped(each) for each in texts))
    else:
        found = either(single(parameter, modifier, each, here, now) for each in texts)
    return Not(found) if negated else found


def single(parameter: SearchParameter, modifier: str, text: str, here: Here, now: datetime) -> Clause:
    """Return the clause of one value."""
    if parameter.code == "_lastUpdated":
        return _updated(modifier, text, here, now)
    match parameter.type:
        case "token":
            return token.clause(parameter, modifier, text, here)
        case "string" if parameter.code == phonetic.CODE:
            return phonetic.clause(parameter, modifier, text, here)
        case "string" if names.named(parameter):
            return names.clause(parameter, modifier, text, here)
        case "string":
            return string.clause(parameter, modifier, text, here)
        case "reference":
            return reference.clause(parameter, modifier, text, here)
        case "uri":
            return uri.clause(parameter, modifier, text, here)
        case "special":
            return near.clause(parameter, modifier, text)
        case "date":
            return date.clause(parameter, modifier, text, here, now)
        case "number":
            return number.clause(parameter, modifier, text, here)
        case "quantity":
            return quantity.clause(parameter, modifier, text, here)
    return composite.clause(parameter, modifier, text, here, now)


def missing(parameter: SearchParameter, text: str) -> Clause:
    """Return the clause of :missing."""
    if text not in ("true", "false"):
        raise InvalidSearchValue(f"{parameter.code}:missing is either true or false.")
    if parameter.code in ("_id", "_lastUpdated"):  # every resource has them
        return Or(()) if text == "true" else Not(Or(()))
    found = Missing(parameter.code, ranged(parameter))
    return found if text == "true" else Not(found)


def _updated(modifier: str, text: str, here: Here, now: datetime) -> Clause:
    if modifier:
        raise UnsupportedParameter("The modifier of _lastUpdated is not supported: it takes :missing.")
    asked = date.asked("_lastUpdated", text, here, now)
    return either(Updated(test) for test in date.span_tests(asked))
