"""The patient's own page, and a signed form."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx

from fhir_server.consenting.ways import app, paper
from fhir_server.consenting.ways.paper import sm3
from tests.consenting.ways.reading import messages
from tests.consenting.world import ASKS, KEEPS, asked, both, doctor, done, person, status, step
from tests.consenting.world import ask as asking
from tests.live import Live

Json = dict[str, Any]
SCAN = "signed form, scanned"


def test_a_message_leads_to_the_patients_page_and_proves_nothing_by_itself(server: Live, mongo_uri: str) -> None:
    person(server, "linked", 340)
    with both(server, "linked") as (client, own):
        id = asked(client, "linked-1", way="app")
        (sent,) = messages(server, mongo_uri, "linked-1")
        assert (sent.channel, sent.to) == ("app", "Patient/linked-1")
        assert f"{server.settings.origin}/my/authorizations" in sent.text
        for given in ({"code": "000000"}, {"document": "Binary/1"}):
            answer = step(client, id, "verify", **given)
            assert (answer.status_code, app.NOT_HERE in answer.text) == (422, True)
        assert done(own, id, "confirm")["status"] == "active"


def binary(id: str, of: str, content: str = SCAN) -> Json:
    data = base64.b64encode(content.encode()).decode()
    return {
        "resourceType": "Binary", "id": id, "contentType": "image/png", "data": data,
        "securityContext": {"reference": f"Patient/{of}"},
    }  # fmt: skip


def document(id: str, of: str, *attachments: Json) -> Json:
    return {
        "resourceType": "DocumentReference", "id": id, "status": "current", "subject": {"reference": f"Patient/{of}"},
        "content": [{"attachment": each} for each in attachments],
    }  # fmt: skip


def witness(server: Live) -> str:
    server.put({"resourceType": "Practitioner", "id": "checker"}, organization=ASKS)
    server.put({"resourceType": "Practitioner", "id": "stranger"}, organization=KEEPS)
    return "Practitioner/checker"


def refused(client: httpx.Client, consent: str, **given: str) -> str:
    answer = step(client, consent, "verify", **given)
    assert answer.status_code == 422, answer.text
    return answer.text


def test_a_signed_form_is_kept_by_its_digest_with_who_has_checked_it(server: Live) -> None:
    person(server, "signed", 341)
    by = witness(server)
    server.put(binary("scan1", "signed-1"), document("form1", "signed-1", {"url": "Binary/scan1"}), organization=ASKS)
    with doctor(server) as client:
        answer = asking(client, "signed-1", way="paper")
        assert paper.TOLD in json.dumps(answer.json(), ensure_ascii=False)
        assert "第一人民医院" in answer.text
        active = done(client, answer.json()["id"], "verify", document="DocumentReference/form1", witness=by)
        standing = status(client, "signed-1")
        assert (standing["status"], standing["opens"]) == ("active", "own")
        assert standing["custodian"] == {"reference": f"Organization/{ASKS}"}
        assert KEEPS not in str(standing)
        told = {each["url"].rpartition("/")[2]: each for each in active["verification"][0]["extension"]}
        kept = {each["url"]: each for each in told["verification-evidence"]["extension"]}
        assert told["verification-way"]["valueCode"] == "paper"
        assert kept["document"]["valueReference"] == {"reference": "DocumentReference/form1/_history/1"}
        assert kept["sm3"]["valueString"] == sm3(SCAN.encode())
        assert kept["witness"]["valueReference"] == {"reference": by}


def test_a_form_serves_one_request(server: Live) -> None:
    person(server, "twice", 342)
    by = witness(server)
    server.put(binary("scan2", "twice-1", "one form"), binary("scan3", "twice-1", "one form"), organization=ASKS)
    with doctor(server) as client:
        first, second = (asked(client, "twice-1", way="paper", type=[each]) for each in ("Observation", "Condition"))
        assert done(client, first, "verify", document="Binary/scan2", witness=by)["status"] == "active"
        for again in ("Binary/scan2", "Binary/scan3"):
            assert paper.USED in refused(client, second, document=again, witness=by)


NO_FORMS: list[tuple[Json, str]] = [
    ({"document": "Binary/theirs"}, paper.NO_DOCUMENT),
    ({"document": "Binary/of-another"}, paper.NO_DOCUMENT),
    ({"document": "Binary/empty"}, paper.NO_DOCUMENT),
    ({"document": "Binary/absent"}, paper.NO_DOCUMENT),
    ({"document": "Patient/checked-1"}, paper.NO_DOCUMENT),
    ({"document": "DocumentReference/leads-away"}, paper.NO_DOCUMENT),
    ({}, paper.NO_DOCUMENT),
    ({"document": "Binary/good", "witness": "Practitioner/stranger"}, paper.NO_WITNESS),
    ({"document": "Binary/good", "witness": "Practitioner/absent"}, paper.NO_WITNESS),
    ({"document": "Binary/good", "witness": "Patient/checked-1"}, paper.NO_WITNESS),
    ({"document": "Binary/good", "witness": "x"}, paper.NO_WITNESS),
]


def test_what_is_no_form_of_this_patient_kept_here_proves_nothing(server: Live) -> None:
    person(server, "checked", 343)
    by = witness(server)
    empty = {name: value for name, value in binary("empty", "checked-1").items() if name != "data"}
    away = document("leads-away", "checked-1", {"url": "Binary/theirs"}, {"url": "http://elsewhere.example.org/x"})
    server.put(binary("theirs", "checked-2"), organization=KEEPS)
    server.put(
        binary("of-another", "other-1"), empty, binary("good", "checked-1", "good"), away, organization=ASKS
    )  # fmt: skip
    with doctor(server) as client:
        id = asked(client, "checked-1", way="paper")
        for given, said in NO_FORMS:
            assert said in refused(client, id, **{"witness": by, **given}), given
