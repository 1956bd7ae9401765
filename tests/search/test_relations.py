"""Random searches from resource to resource: the server's answer has to be that of reading the resources themselves."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest
from hypothesis import strategies as st

from fhir_server.definitions.registry import registry
from fhir_server.search.matches import Matches
from fhir_server.search.parse import parse
from tests.answers import ids
from tests.live import Live
from tests.search.reading import NOW
from tests.search.strategies import drawn

Json = dict[str, Any]
IDS = ("1", "2", "3", "4")
WORDS = ("Li", "Wu", "li wei", "xu")
CODES = ("a", "b", "c")


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.fixed_dictionaries({}, optional=fields)


def to(*types: str) -> st.SearchStrategy[Json]:
    ids = st.sampled_from([*IDS, "never"])
    return st.builds(lambda type, id: {"reference": f"{type}/{id}"}, st.sampled_from(types), ids)


def up_to(most: int, of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, min_size=1, max_size=most)


coded = st.builds(
    lambda codes: {"coding": [{"system": "s", "code": each} for each in codes]}, up_to(2, st.sampled_from(CODES))
)
dates = st.sampled_from(["2020", "2020-05", "2021-01-01"])
positions = st.builds(
    lambda latitude, longitude: {"latitude": latitude, "longitude": longitude},
    st.sampled_from([0, 39.9, 40, -89.9, 90]),
    st.sampled_from([0, 116.4, 179.9, -179.9]),
)
RESOURCES: dict[str, st.SearchStrategy[Json]] = {
    "Organization": some(name=st.sampled_from(WORDS), partOf=to("Organization")),
    "Patient": some(
        name=up_to(2, st.builds(lambda family: {"family": family}, st.sampled_from(WORDS))),
        birthDate=dates,
        gender=st.sampled_from(["male", "female"]),
        managingOrganization=to("Organization"),
        link=up_to(1, to("Patient").map(lambda other: {"other": other, "type": "seealso"})),
    ),
    "Observation": st.builds(
        lambda code, more: {"status": "final", "code": code, **more},
        coded,
        some(
            subject=to("Patient", "Group", "Location"),
            effectiveDateTime=dates,
            performer=up_to(2, to("Organization", "Patient")),
            focus=up_to(2, to("Observation", "Patient")),
            hasMember=up_to(2, to("Observation")),
        ),
    ),
    "Group": st.builds(
        lambda more: {"type": "person", "actual": True, **more},
        some(member=up_to(3, to("Patient").map(lambda who: {"entity": who}))),
    ),
    "Location": some(name=st.sampled_from(WORDS), managingOrganization=to("Organization"), position=positions),
    "List": st.builds(
        lambda more: {"status": "current", "mode": "working", **more},
        some(
            entry=up_to(
                4,
                st.builds(
                    lambda item, deleted: {"item": item, "deleted": deleted},
                    to("Patient", "Observation"),
                    st.booleans(),
                ),
            )
        ),
    ),
}

name, identity = st.sampled_from(["li", "wu", "x", "Li"]), st.sampled_from([*IDS, "never", "1,2"])
code, date = st.sampled_from(["a", "s|b", "c,a", "t|"]), st.sampled_from(["2020", "ge2020-06", "ne2020", "lt2021"])
SIMPLE: dict[str, list[tuple[str, st.SearchStrategy[str]]]] = {
    "Organization": [("name", name), ("name:contains", name), ("_id", identity)],
    "Patient": [
        *(("name", name), ("family:exact", name), ("birthdate", date), ("gender:not", st.just("male"))),
        *(("_id", identity), ("_id:not", identity), ("birthdate:missing", st.sampled_from(["true", "false"]))),
    ],
    "Observation": [
        *(("code", code), ("code:not", code), ("date", date), ("_id", identity), ("subject", identity)),
        ("subject:missing", st.sampled_from(["true", "false"])),
    ],
    "Group": [("_id", identity), ("member", identity)],
    "Location": [
        ("name", name),
        (
            "near",
            st.sampled_from(
                ["39.9|116.4|20|km", "0|180|30", "89|0|500|km", "-90|0", "0|0|30000|km", "40|116.4|7|[mi_i]"]
            ),
        ),
    ],
}
STEPS = {
    "Organization": [("partof", "Organization")],
    "Patient": [("organization", "Organization"), ("link", "Patient")],
    "Observation": [
        *(("patient", "Patient"), ("subject", "Patient"), ("subject", "Location"), ("performer", "Organization")),
        *(("performer", "Patient"), ("focus", "Observation"), ("has-member", "Observation")),
    ],
    "Group": [("member", "Patient")],
    "Location": [("organization", "Organization")],
}
BACK = {
    "Organization": [("Patient", "organization"), ("Observation", "performer"), ("Organization", "partof")],
    "Patient": [("Observation", "patient"), ("Observation", "focus"), ("Group", "member"), ("Patient", "link")],
    "Observation": [("Observation", "has-member"), ("Observation", "focus")],
    "Group": [("Observation", "subject")],
    "Location": [("Observation", "subject")],
}


@st.composite
def pairs(draw: st.DrawFn, type: str, depth: int = 0) -> tuple[str, str]:
    """Draw a parameter of a type, with its value: plain, or over up to three steps to and fro."""
    kind = draw(st.sampled_from(["plain", "list"] if depth == 3 else ["plain", "chain", "chain", "has", "has", "list"]))
    if kind == "list":
        return "_list", draw(identity)
    if kind == "plain":
        name, values = draw(st.sampled_from(SIMPLE[type]))
        return name, draw(values)
    if kind == "chain":
        param, target = draw(st.sampled_from(STEPS[type]))
        name, value = draw(pairs(target, depth + 1))
        # Without its type a chain leads to whatever target has the parameter.
        return f"{param}{draw(st.sampled_from([f':{target}', '']))}.{name}", value
    of, param = draw(st.sampled_from(BACK[type]))
    name, value = draw(pairs(of, depth + 1))
    return f"_has:{of}:{param}:{name}", value


@st.composite
def filters(draw: st.DrawFn, type: str, depth: int = 0) -> str:
    """Draw a _filter of a type."""
    kind = draw(st.sampled_from(["test", "test", "not", "and", "or", "path", "path"] if depth < 3 else ["test"]))
    if kind == "test":
        return draw(st.sampled_from(TESTS[type]))
    if kind == "not":
        return f"not ({draw(filters(type, depth + 1))})"
    if kind in ("and", "or"):
        return f"({draw(filters(type, depth + 1))} {kind} {draw(filters(type, depth + 1))})"
    param, target = draw(st.sampled_from(STEPS[type]))
    inner = draw(st.sampled_from(["", f"[{draw(filters(target, depth + 1))}]"]))
    return f"{param}:{target}{inner}.{draw(st.sampled_from(TESTS[target]))}"


TESTS = {
    "Organization": ['name eq "li"', "name ew i", "name ne wu", "partof pr false", "partof re Organization/1"],
    "Patient": ["family eq li", "family co w", "family ne li", "gender ne male", "birthdate po 2020", "organization pr true"],
    "Observation": ["code eq s|a", "code ne a", "date gt 2020-06", "date pr false", "subject re Patient/1", "focus ne 1"],
    "Group": ["member re Patient/1", "member ne 1", "_id eq 1"],
    "Location": ["name sw l", 'near eq "40|116.4|100|km"'],
}  # fmt: skip


def searches() -> st.SearchStrategy[tuple[str, list[tuple[str, str]]]]:
    def of(type: str) -> st.SearchStrategy[tuple[str, list[tuple[str, str]]]]:
        asked = st.lists(pairs(type), min_size=1, max_size=2)
        filtered = filters(type).map(lambda text: [("_filter", text)])
        return st.tuples(st.just(type), asked | filtered)

    return st.sampled_from(list(SIMPLE)).flatmap(of)


@pytest.mark.parametrize("narrowing", [False, True], ids=["", "narrowing"])
@pytest.mark.parametrize("world", range(2))
def test_what_is_found_over_others_is_what_reading_them_finds(
    server: Live, monkeypatch: pytest.MonkeyPatch, world: int, narrowing: bool
) -> None:
    """narrowing: what a search leads to is asked for the few only that the rest of it can find, whatever that is."""
    if narrowing:
        monkeypatch.setattr("fhir_server.interactions.searching.resolving.by_id", lambda clause: True)
    resources = {
        f"{type}/{id}": {"resourceType": type, "id": id, **fields}
        for type, strategy in RESOURCES.items()
        for id, fields in zip(IDS, drawn(st.lists(strategy, min_size=4, max_size=4), 10 + world)[-1], strict=True)
    }
    server.put(*resources.values())
    reads = Matches(
        registry(),
        zone=UTC,
        base_url=server.base,
        follow=lambda reference: [resources[reference]] if reference in resources else [],
        every=lambda type: [each for each in resources.values() if each["resourceType"] == type],
    )
    hits = 0
    with server.client("practitioner", "Practitioner/dr1") as doctor:
        for type, asked in drawn(searches(), 150):
            query = "&".join(f"{name}={quote(text)}" for name, text in asked)
            answer = doctor.get(f"{type}?{query}")
            assert answer.status_code == 200, (type, asked, answer.text)
            clause = parse(
                registry(), type, parse_qsl(query), lenient=False, zone=UTC, now=NOW, base_url=server.base
            ).clause
            expected = [id for id in IDS if reads(clause, resources[f"{type}/{id}"])]
            assert sorted(ids(answer.json())) == expected, (type, asked, json.dumps(resources))
            hits += bool(expected)
    assert hits > 25
