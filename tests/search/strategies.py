"""Random resources and random searches, made of few different values so that searches hit."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.fhir_json import FhirDecimal
from tests.search.reading import BASE

# --- random resources: few different values, so that searches hit ----------------------------------------------------

codes = st.sampled_from(["a", "A", "b", "a|b", "-", "ß"])
systems = st.sampled_from(["s", "s|a", "-", "s\\"])
words = st.sampled_from(["Li", "李", "李明", "Müller", "a b", "A  B", "x" * 40, "x" * 33 + "y", ".*", "が"])
urls = st.sampled_from(
    ["http://a.org", "http://a.org/", "http://a.org/b", "http://a.org//b/c", "urn:x:1", "a/b", "http://", "a:///b"]
)
ids = st.sampled_from(["1", "2", "a.b"])
local = st.builds("{}/{}".format, st.sampled_from(["Patient", "Group", "Device"]), ids)
references = st.one_of(
    local,
    local.map(lambda text: text + "/_history/2"),
    local.map(lambda text: f"{BASE}/{text}"),
    local.map(lambda text: f"http://other.org/{text}"),
    st.sampled_from(["#1", "urn:uuid:1", "1", "patient/1"]),
)
dates = st.builds(
    lambda text, cut: text[:cut],
    st.sampled_from(["2020-02-29", "2019-12-31", "2020-01-01", "1970-01-01"]),
    st.sampled_from([4, 7, 10]),
)
instants = st.builds(
    "{}T{}{}".format,
    st.sampled_from(["2020-02-29", "2019-12-31"]),
    st.sampled_from(["10:00:00", "23:59:59.5", "00:00:00.123456"]),
    st.sampled_from(["Z", "+08:00", "-05:00"]),
)
times = dates | instants
numbers = st.sampled_from(["1", "1.0", "1.5", "2", "0", "-1", "1.05", "99.5", "100", "105", "1e2", "0.7", "0.77"])
decimals = numbers.map(FhirDecimal)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def many(of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, min_size=1, max_size=2)


codings = some(system=systems, code=codes, display=words)
concepts = some(coding=many(codings), text=words)
identifiers = some(system=systems, value=codes, type=concepts)
periods = some(start=times, end=times)
quantities = some(
    value=decimals,
    comparator=st.sampled_from(["<", "<=", ">", ">="]),
    unit=codes,
    system=systems,
    code=codes,
)
meta = some(tag=many(codings), profile=many(urls | urls.map("{}|1".format)), source=urls)

patients = some(
    active=st.booleans(),
    gender=st.sampled_from(["male", "female"]),
    identifier=many(identifiers),
    name=many(some(text=words, family=words, given=many(words))),
    address=many(some(city=words, line=many(words))),
    birthDate=dates,
    generalPractitioner=many(some(reference=references, identifier=identifiers)),
    deceasedDateTime=times,
    meta=meta,
).map(lambda fields: {"resourceType": "Patient", **fields})

observed = {"valueQuantity": quantities, "valueCodeableConcept": concepts, "valueString": words, "valueDateTime": times}
components = st.one_of(
    [
        some(code=concepts, **{key: of})
        for key, of in observed.items()
        if key in ("valueQuantity", "valueCodeableConcept")
    ]
)
effective = st.one_of(
    times.map(lambda text: {"effectiveDateTime": text}),
    periods.map(lambda period: {"effectivePeriod": period}),
    some(event=many(times), repeat=some(boundsPeriod=periods)).map(lambda timing: {"effectiveTiming": timing}),
    st.just({}),
)
observations = st.builds(
    lambda fields, value, time: {"resourceType": "Observation", **fields, **value, **time},
    some(
        code=concepts, subject=some(reference=references, identifier=identifiers), component=many(components), meta=meta
    ),
    st.one_of([some(**{key: of}) for key, of in observed.items()]),
    effective,
)
risks = many(some(probabilityDecimal=decimals)).map(
    lambda found: {"resourceType": "RiskAssessment", "prediction": found}
)
conditions = some(low=quantities, high=quantities).map(lambda found: {"resourceType": "Condition", "onsetRange": found})
value_sets = some(url=urls, name=words).map(lambda fields: {"resourceType": "ValueSet", **fields})

# --- random searches -------------------------------------------------------------------------------------------------

prefixes = st.sampled_from(["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"])


def escaped(text: str) -> str:
    return "".join("\\" + c if c in "\\,$|" else c for c in text)


code = codes.map(escaped)
system = systems.map(escaped)
tokens = st.one_of(code, code.map("|{}".format), system.map("{}|".format), st.builds("{}|{}".format, system, code))
asked_dates = st.builds("{}{}".format, prefixes, times)
asked_numbers = st.builds("{}{}".format, prefixes, numbers)
units = st.one_of(
    st.just(""), code.map("||{}".format), system.map("|{}|".format), st.builds("|{}|{}".format, system, code)
)
asked_quantities = st.builds("{}{}".format, asked_numbers, units)
asked_references = st.one_of(references, ids).map(escaped)
texts = words.map(lambda text: escaped(text[:35]))


def pair(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.lists(values, min_size=1, max_size=2).map(",".join)
    asked = joined.map(lambda text: f"{name}={quote(text)}")
    return asked | st.sampled_from(["true", "false"]).map(lambda text: f"{name.partition(':')[0]}:missing={text}")


def composites(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("$".join)


def filters(*tests: tuple[str, str, st.SearchStrategy[str]]) -> st.SearchStrategy[str]:
    """Return _filters: one or two tests, joined or denied. tests: parameter, its operators, values."""

    def one(name: str, operators: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        quoted = values.map(json.dumps)
        present = st.sampled_from(["true", "false"]).map(lambda text: f"{name} pr {text}")
        return present | st.builds(f"{name} {{}} {{}}".format, st.sampled_from(operators.split()), quoted)

    test = st.one_of([one(*each) for each in tests])
    joined = st.builds("{} {} ({})".format, test, st.sampled_from(["and", "or"]), test)
    return st.one_of(test, joined, joined.map("not ({})".format)).map(lambda text: f"_filter={quote(text)}")


ORDER = "eq ne gt lt ge le sa eb ap"
TEXTS = "eq ne co sw ew"

metas = [pair("_tag", tokens), pair("_profile", urls.map(escaped)), pair("_source", urls.map(escaped))]
SEARCHES: dict[str, list[st.SearchStrategy[str]]] = {
    "Patient": [
        *metas,
        *(pair(f"identifier{modifier}", tokens) for modifier in ("", ":not")),
        pair("identifier:text", texts),
        *(pair(f"name{modifier}", texts) for modifier in ("", ":exact", ":contains")),
        *(pair(f"address-city{modifier}", texts) for modifier in ("", ":exact", ":contains")),
        pair("family", texts),
        pair("active", st.sampled_from(["true", "false", "|true"])),
        pair("deceased", st.sampled_from(["true", "false"])),
        pair("gender", st.sampled_from(["male", "http://hl7.org/fhir/administrative-gender|", "|female"])),
        pair("birthdate", asked_dates),
        pair("death-date", asked_dates),
        pair("general-practitioner", asked_references),
        pair("general-practitioner:identifier", tokens),
        filters(
            ("name", TEXTS, words.map(str)),
            ("family", TEXTS, words.map(str)),
            ("identifier", "eq ne", tokens),
            ("gender", "eq ne", st.sampled_from(["male", "|female"])),
            ("birthdate", f"{ORDER} po", times),
            ("general-practitioner", "re eq ne", asked_references),
            ("_tag", "eq ne", tokens),
        ),
    ],
    "Observation": [
        *metas,
        *(pair(f"code{modifier}", tokens) for modifier in ("", ":not")),
        pair("code:text", texts),
        pair("combo-value-concept", tokens),
        pair("subject", asked_references),
        pair("patient", asked_references),
        pair("subject:Group", ids),
        pair("date", asked_dates),
        pair("value-date", asked_dates),
        pair("value-quantity", asked_quantities),
        pair("combo-value-quantity", asked_quantities),
        pair("value-string", texts),
        pair("code-value-quantity", composites(tokens, asked_quantities)),
        pair("combo-code-value-quantity", composites(tokens, asked_quantities)),
        pair("component-code-value-concept", composites(tokens, tokens)),
        pair("code-value-string", composites(tokens, words.map(lambda text: escaped(text[:9])))),
        pair("code-value-date", composites(tokens, asked_dates)),
        filters(
            ("code", "eq ne", tokens),
            ("date", f"{ORDER} po", times),
            ("value-quantity", ORDER, numbers),
            ("value-string", TEXTS, words.map(str)),
            ("subject", "re eq ne", asked_references),
        ),
        st.builds(
            "_filter=code-value-quantity[code eq {}].value-quantity {} {}".format,
            tokens.map(json.dumps).map(quote),
            st.sampled_from(ORDER.split()),
            numbers,
        ),
    ],
    "RiskAssessment": [pair("probability", asked_numbers), filters(("probability", ORDER, numbers))],
    "Condition": [pair("onset-age", asked_quantities)],
    "ValueSet": [
        *(pair(f"url{modifier}", urls.map(escaped)) for modifier in ("", ":above", ":below")),
        pair("name:contains", texts),
        filters(("url", "eq ne co sw ew ss sb", urls), ("name", TEXTS, words.map(str))),
    ],
}
RESOURCES = st.one_of(patients, observations, risks, conditions, value_sets)
queries = {
    type: st.lists(st.one_of(each), min_size=1, max_size=3).map(lambda parts, type=type: f"{type}?{'&'.join(parts)}")
    for type, each in SEARCHES.items()
}


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Return values of a strategy; the same ones in every run."""
    found: list[Any] = []

    @settings(max_examples=count, database=None, deadline=None, derandomize=True)
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found
