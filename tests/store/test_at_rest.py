"""At rest nothing of a patient can be read: not in the database's documents, its files, its journal or the logs."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from fhir_server.store.embedded import running
from tests.answers import FORM
from tests.live import live

CHUNK = 1 << 20
NAME, GIVEN, RESIDENT, PHONE = "欧阳", "明月清风", "11010519491231002X", "13812345678"
ADDRESS, CITY, MRN, FINDING, DISPLAY = (
    "长安街甲十七号",
    "北京市东城区",
    "MRN00774411",
    "左侧乳腺恶性肿瘤术后",
    "Carcinoma of breast",
)
# How the name is read and sounds, and words of the narrative: what is filed beside the body (search/types/pinyin, words).
PINYIN, INITIALS, SOUND = "ouyangmingyueqingfeng", "oymyqf", "ouyanminyueqinfen"
WORD, WORDS = "lymphadenopathy", "淋巴结转移"
SECRETS = (
    NAME + GIVEN,
    PINYIN,
    PINYIN[:12],
    SOUND,
    WORD,
    WORDS,
    GIVEN,
    RESIDENT,
    PHONE,
    ADDRESS,
    CITY,
    MRN,
    FINDING,
    DISPLAY,
    "Zhangsanfeng",
    "searched-for-name",
)
CONTROL = "control-id-in-plain"
PATIENT = {
    "resourceType": "Patient", "id": CONTROL,
    "name": [{"text": NAME + GIVEN, "family": NAME, "given": [GIVEN]}, {"family": "Zhangsanfeng"}],
    "identifier": [
        {"system": "urn:oid:2.16.156.10011.1.3", "value": RESIDENT}, {"system": "http://hospital.cn/mrn", "value": MRN},
    ],
    "telecom": [{"system": "phone", "value": PHONE}],
    "address": [{"text": CITY + ADDRESS, "city": CITY, "line": [ADDRESS]}],
}  # fmt: skip
CONDITION = {
    "resourceType": "Condition", "id": "c1", "subject": {"reference": f"Patient/{CONTROL}", "display": NAME + GIVEN},
    "code": {"coding": [{"system": "http://snomed.info/sct", "code": "254837009", "display": DISPLAY}], "text": FINDING},
    "note": [{"text": FINDING}],
    "text": {"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{WORDS} {WORD}</div>'},
}  # fmt: skip


def forms(text: str) -> Iterator[bytes]:
    """Yield the bytes by which a text could stand somewhere: UTF-8, UTF-16, and base64 of UTF-8 at each of three places."""
    plain = text.encode()
    yield plain
    yield text.encode("utf-16-le")
    yield text.encode("utf-16-be")
    for place in range(3):
        encoded = base64.b64encode(b"\0" * place + plain)
        yield encoded[4 if place else 0 : len(encoded) - 4]


def found(haystack: bytes, texts: Iterable[str]) -> set[str]:
    return {text for text in texts for each in forms(text) if len(each) >= 6 and each in haystack}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with its own MongoDB, filled and asked by a server; and the text of the server's logs."""
    folder = tmp_path_factory.mktemp("at-rest")
    with running(folder, cache_gb=0.25) as uri:
        with live(uri, folder, database="fhir") as server:
            server.put(PATIENT, CONDITION, {**PATIENT, "gender": "male"})
            with server.client("practitioner", "Practitioner/dr1") as doctor:
                for query in (
                    {"family": NAME},
                    {"identifier": RESIDENT},
                    {"phone": PHONE},
                    {"address": ADDRESS},
                    {"name": PINYIN},
                    {"name": INITIALS},
                    {"phonetic": SOUND},
                    {"_content": NAME + GIVEN},
                    {"family": "searched-for-name"},
                ):
                    assert doctor.get("Patient", params=query).status_code == 200
                    assert doctor.post("Patient/_search", data=query, headers=FORM).status_code == 200
                assert doctor.get("Patient", params={"birthdate": NAME + GIVEN}).status_code == 400
                assert doctor.get("Patient", params={NAME + GIVEN: "x"}).status_code == 400
                assert doctor.get(f"Patient/{RESIDENT}").status_code == 404
                assert (
                    doctor.post("Patient", json={"resourceType": "Patient", "gender": NAME + GIVEN}).status_code == 422
                )
                assert doctor.get("Condition", params={"code:text": FINDING}).status_code in (200, 400)
                for words in (WORD, WORDS):
                    assert len(doctor.get("Condition", params={"_text": words}).json()["entry"]) == 1
                assert (
                    doctor.get("Condition", params={"subject:Patient.family": NAME, "_count": "1"}).status_code == 200
                )
        yield folder, uri
    # MongoDB has shut down here, so that everything of the journal stands in the files.
    assert not found(_files(folder), SECRETS)


def _files(folder: Path) -> bytes:
    """Return all bytes below a folder but the blank stretches of files that the journal has laid out ahead."""
    read = []
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "keyring.json":
            with open(path, "rb") as file:
                read += [chunk for chunk in iter(lambda: file.read(CHUNK), b"") if chunk.count(0) < len(chunk)]
    return b"".join(read)


def test_no_document_of_any_collection_holds_anything_readable(installation: tuple[Path, str]) -> None:
    _, uri = installation
    with MongoClient[RawBSONDocument](uri, document_class=RawBSONDocument) as client:
        database = client["fhir"]
        names = set(database.list_collection_names())
        raw = b"".join(each.raw for name in names for each in database[name].find())
        oplog = b"".join(each.raw for each in client["local"]["oplog.rs"].find({"ns": {"$regex": "^fhir"}}))
        oplog += b"".join(each.raw for each in client["local"]["oplog.rs"].find({"o.applyOps": {"$exists": True}}))
    assert {"Patient", "Patient_history", "Condition", "AuditEvent", "keys", "persons"} <= names
    for bytes_ in (raw, oplog):
        assert found(bytes_, [CONTROL]) == {CONTROL}  # what is in plain is found, so what is not found is not in plain
        assert found(bytes_, SECRETS) == set()


def test_no_file_holds_anything_readable_neither_data_nor_journal_nor_log(installation: tuple[Path, str]) -> None:
    folder, _ = installation
    data = _files(folder)
    assert CONTROL.encode() in data
    assert found(data, SECRETS) == set()


def test_what_is_searched_for_here_would_be_found_if_it_were_there() -> None:
    for text in SECRETS:
        for place in range(3):
            said = b"\0" * place + text.encode() + b"\1\2\3"
            assert found(b"xy" + said, [text]) == {text}
            assert found(base64.b64encode(said), [text]) == {text}, (text, place)
        assert found(text.encode("utf-16-le"), [text]) == {text}


def test_the_servers_log_names_no_patient(installation: tuple[Path, str], caplog: pytest.LogCaptureFixture) -> None:
    folder, uri = installation
    caplog.set_level("DEBUG", logger="fhir_server")
    with live(uri, folder, database="fhir") as server, server.system() as emr:
        emr.put(f"Patient/{CONTROL}", json={**PATIENT, "gender": "female"})
        emr.get("Patient", params={"family": NAME, "phone": PHONE})
        emr.get("Patient", params={"birthdate": RESIDENT})
        emr.get(f"Patient/{RESIDENT}")
        emr.post(
            "",
            json={
                "resourceType": "Bundle",
                "type": "batch",
                "entry": [{"request": {"method": "GET", "url": f"http://[{RESIDENT}"}}],
            },
        )
    assert caplog.records
    assert found(caplog.text.encode(), SECRETS) == set()
