"""Conditions of writes are no oracle: what is hidden matches as little as what never existed, and is never touched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.consent_engine.build import HIV, coding
from tests.live import JSON, Live, live
from tests.noninterference.agreements import Json
from tests.noninterference.conftest import share
from tests.noninterference.oracle import Oracle
from tests.noninterference.pair import Asked, Pair
from tests.noninterference.test_found import denial, patient, record
from tests.noninterference.test_writes import SERVERS_IDS, observation, prepared, same, stored, transaction

JSON_PATCH = "application/json-patch+json"
AMENDED = [{"op": "replace", "path": "/status", "value": "amended"}]
INSTANT = re.compile(rb'"lastUpdated":"[^"]*"|"lastModified":"[^"]*"')
numbers = count(1)


# Random stores: the gated server answers as one that holds only what may be seen


def conditional(url: str, resource: Json) -> Iterator[Asked]:
    """Yield the writes whose condition is a URL, such as Observation?code=x."""
    body = json.dumps(resource).encode()
    yield Asked("PUT", url, body)
    yield Asked("PUT", url, body, headers=(("If-Match", 'W/"1"'),))
    yield Asked("PATCH", url, json.dumps(AMENDED).encode(), JSON_PATCH)
    yield Asked("DELETE", url)
    yield transaction("PUT", url, resource)
    yield transaction("PATCH", url, {"resourceType": "Parameters"})
    yield transaction("DELETE", url)


def creating(url: str, resource: Json) -> Iterator[Asked]:
    """Yield the conditional creates under a condition."""
    type, _, query = url.partition("?")
    yield Asked("POST", type, json.dumps(resource).encode(), headers=(("If-None-Exist", query),))
    entry = {"request": {"method": "POST", "url": type, "ifNoneExist": query}, "resource": resource}
    yield Asked("POST", "", json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).encode())


@share(3)
@given(st.data())
def test_conditions_find_what_may_be_seen_and_nothing_else(servers: Pair, data: st.DataObject) -> None:
    world, user, oracle = prepared(servers, data)
    if user.context is not None and not seen(oracle, "Patient", user.context.removeprefix("Patient/"), "r"):
        return  # they have been told of that patient already (test_writes.py)
    token = servers.token(user)
    before = stored(servers)
    ids = [id for type, id in world.places if type == "Observation"]
    for _ in range(2):
        chosen = data.draw(st.lists(st.sampled_from([*ids, "never", "never-2"]), min_size=1, max_size=3, unique=True))
        more = data.draw(st.sampled_from([[], [("code", "c1")], [("subject", f"Patient/{world.patients[0]}")]]))
        url = "Observation?" + urlencode([("_id", ",".join(chosen)), *more])
        # What is made is found by none of the conditions: their ids are other ones.
        made = observation(data.draw(st.sampled_from([*world.patients, "never"])))
        for asked in creating(url, made):
            same(servers, token, asked)
        if sum(seen(oracle, "Observation", id, "s") for id in chosen) != 1 and not more:
            for asked in conditional(url, made):
                same(servers, token, asked)
        patients = data.draw(st.lists(st.sampled_from([*world.patients, "never"]), min_size=1, max_size=2, unique=True))
        about = {"reference": "Patient?" + urlencode([("_id", ",".join(patients))])}
        same(servers, token, transaction("POST", "Observation", {**made, "subject": about}))
    after = stored(servers)
    for name, documents in before.items():
        assert [each for each in after[name] if each in documents] == documents if name != "persons" else True


def seen(oracle: Oracle, type: str, id: str, letter: str) -> bool:
    """Return whether the oracle's user sees what is current at a place."""
    versions = oracle.records.versions.get((type, id), ())
    return bool(versions) and versions[-1].resource is not None and oracle.sees(versions[-1], letter)


# Each conditional interaction by itself


def numbered(id: str, number: str, **elements: Any) -> Json:
    """Return an Observation that a condition can find by its number."""
    return record(id, "seen", identifier=[{"system": "urn:n", "value": number}], **elements)


@pytest.fixture(scope="module", autouse=True)
def hidden_label(server: Live) -> None:
    """From dr1 everything about one patient is hidden that carries the label HIV, and another patient as a whole."""
    server.put(patient("seen"), patient("unseen"))
    server.put(denial("denial", "seen", securityLabel=[coding(*HIV)]), denial("denial-2", "unseen"))


def hidden(server: Live, number: str) -> str:
    """Store an Observation that dr1 may not see; return its place."""
    id = f"hidden-{next(numbers)}"
    server.put(numbered(id, number, meta={"security": [coding(*HIV)]}))
    return f"Observation/{id}"


def shown(server: Live, number: str) -> str:
    id = f"shown-{next(numbers)}"
    server.put(numbered(id, number))
    return f"Observation/{id}"


def entry(method: str, url: str, resource: Json | None = None, **request: str) -> Json:
    return {"request": {"method": method, "url": url, **request}, **({"resource": resource} if resource else {})}


def bundled(client: httpx.Client, kind: str, *entries: Json) -> httpx.Response:
    return client.post("", json={"resourceType": "Bundle", "type": kind, "entry": list(entries)})


MADE = observation("seen")
PARAMETERS = {
    "resourceType": "Parameters",
    "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Observation.status"},
        {"name": "value", "valueCode": "amended"},
    ]}],
}  # fmt: skip


def send(client: httpx.Client, how: str, query: str) -> httpx.Response:
    """Send one of the ways to ask for a write under a condition."""
    url = f"Observation?{query}"
    kind, _, what = how.rpartition(" ")
    if kind:
        entries = {
            "create": entry("POST", "Observation", MADE, ifNoneExist=query),
            "update": entry("PUT", url, MADE),
            "patch": entry("PATCH", url, PARAMETERS),
            "delete": entry("DELETE", url),
            "reference": entry("POST", "Observation", {**MADE, "hasMember": [{"reference": url}]}),
        }
        return bundled(client, kind, entries[what])
    if what == "create":
        return client.post("Observation", json=MADE, headers={"If-None-Exist": query})
    if what == "update":
        return client.put(url, json=MADE)
    if what == "patch":
        return client.patch(url, json=AMENDED, headers={"Content-Type": JSON_PATCH})
    return client.delete(url)


def told(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """Return all that an answer says but random ids and instants."""
    body = INSTANT.sub(b"at", SERVERS_IDS.sub(b"id", answer.content))
    headers = {
        name: SERVERS_IDS.sub(b"id", value.encode()).decode()
        for name, value in answer.headers.items()
        if name not in ("date", "last-modified")
    }
    return answer.status_code, body, headers


PLAIN = ["create", "update", "patch", "delete"]
WAYS = [*PLAIN, *(f"{kind} {what}" for kind in ("batch", "transaction") for what in PLAIN), "transaction reference"]


@pytest.mark.parametrize("how", WAYS)
def test_a_hidden_match_is_answered_as_no_match(server: Live, doctor: httpx.Client, how: str) -> None:
    places = [hidden(server, f"one-{how}"), *(hidden(server, f"two-{how}") for _ in range(2))]
    answers = [send(doctor, how, urlencode({"identifier": f"{n}-{how}"})) for n in ("one", "two", "non")]
    assert told(answers[0]) == told(answers[1]) == told(answers[2])
    with server.system("org1") as system:
        # Whoever may see it finds it as it was.
        for place in places:
            found = system.get(place)
            assert (found.status_code, found.headers["ETag"]) == (200, 'W/"1"')


@pytest.mark.parametrize("how", WAYS)
def test_a_hidden_match_beside_one_that_is_seen_does_not_count(server: Live, doctor: httpx.Client, how: str) -> None:
    number, other = f"both-{how}", f"only-{how}"
    place, beside = shown(server, number), hidden(server, number)
    alone = shown(server, other)
    answers = [send(doctor, how, urlencode({"identifier": each})) for each in (number, other)]
    one, two = map(told, answers)
    same_name = [text.replace(each.encode(), b"place") for text, each in ((one[1], place), (two[1], alone))]
    same_name = [
        text.replace(f'"id":"{each.partition("/")[2]}"'.encode(), b"id").replace(each_number.encode(), b"number")
        for text, each, each_number in zip(same_name, (place, alone), (number, other), strict=True)
    ]
    assert (one[0], same_name[0]) == (two[0], same_name[1])
    assert answers[0].status_code < 300
    with server.system("org1") as system:
        assert system.get(beside).headers["ETag"] == 'W/"1"'


def test_a_conditional_delete_of_several_leaves_what_is_hidden(mongo_uri: str, server: Live) -> None:
    number = "several"
    places = [shown(server, number), hidden(server, number), shown(server, number), hidden(server, number)]
    with (
        live(mongo_uri, server.settings.data, database=server.settings.database, most_conditional_deletes=2) as more,
        more.client("practitioner", "Practitioner/dr1", "org1") as doctor,
        more.system("org1") as system,
    ):
        assert doctor.delete(f"Observation?identifier={number}").status_code == 204
        assert [system.get(each).status_code for each in places] == [410, 200, 410, 200]


@pytest.mark.parametrize("query", ["_id=unseen", "_id=never", "_id=unseen&_id=unseen", "_id=unseen,never"])
def test_a_reference_by_condition_to_a_hidden_patient_is_one_to_nobody(doctor: httpx.Client, query: str) -> None:
    made = {**MADE, "subject": {"reference": f"Patient?{query}"}}
    answer = bundled(doctor, "transaction", entry("POST", "Observation", made))
    assert answer.status_code == 412
    assert answer.content == bundled(doctor, "transaction", entry("POST", "Observation", {
        **MADE, "subject": {"reference": "Patient?_id=nobody"},
    })).content  # fmt: skip


def test_a_condition_stops_at_a_hidden_patient(doctor: httpx.Client) -> None:
    for query in ("subject:Patient._id=unseen", "subject:Patient._id=never"):
        answer = doctor.patch(f"Observation?{query}", json=AMENDED, headers={"Content-Type": JSON_PATCH})
        assert answer.status_code == 404


def test_an_update_that_changes_nothing_tells_nothing_of_what_is_hidden(server: Live, doctor: httpx.Client) -> None:
    place = hidden(server, "same")
    with server.system("org1") as system:
        content = system.get(place).json()
    never = {**content, "id": "never-written"}
    answers = [doctor.put(place, json=content), doctor.put("Observation/never-written", json=never)]
    assert told(answers[0]) == told(answers[1])
    assert answers[0].status_code == 404


def test_a_patch_of_what_is_hidden_is_one_of_nothing(server: Live, doctor: httpx.Client) -> None:
    place = hidden(server, "patched")
    guess = [{"op": "test", "path": "/status", "value": "final"}]
    answers = [
        doctor.patch(each, json=patch, headers={"Content-Type": JSON_PATCH, **headers})
        for each in (place, "Observation/never")
        for patch in (guess, AMENDED, [{"op": "none"}])
        for headers in ({}, {"If-Match": 'W/"1"'})
    ]
    assert {told(each)[:2] for each in answers} == {told(answers[0])[:2]}
    assert answers[0].status_code == 404
    assert answers[0].headers["Content-Type"].startswith(JSON)


@pytest.mark.parametrize("more", [[], [entry("DELETE", "{}")], [entry("POST", "Observation", MADE)]])
def test_a_transaction_that_reads_what_is_hidden_reads_nothing(
    server: Live, doctor: httpx.Client, more: list[Json]
) -> None:
    answers = []
    for place in (hidden(server, "read"), "Observation/never-read"):
        entries = [entry("GET", place), *more]
        filled = json.loads(json.dumps(entries).replace("{}", place))
        answers.append(bundled(doctor, "transaction", *filled))
    assert told(answers[0]) == told(answers[1])
    assert answers[0].status_code in (404, 410)
