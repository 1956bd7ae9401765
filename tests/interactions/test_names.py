"""Chinese names over HTTP: found by characters, by pinyin and by sound, under the gate, in chains and in POST."""

from __future__ import annotations

import httpx
import pytest

from tests.answers import FORM, ids
from tests.live import Live


@pytest.fixture(scope="module", autouse=True)
def _stored(server: Live) -> None:
    names = {"p1": ("张", "三"), "p2": ("單", "田芳"), "p3": ("曾", "乐"), "p4": ("Zhang", "Sandra")}
    for id, (family, given) in names.items():
        name = {"text": family + given if given != "Sandra" else "Sandra Zhang", "family": family, "given": [given]}
        server.put({"resourceType": "Patient", "id": id, "name": [name]})
        observation = {"resourceType": "Observation", "id": f"o-{id}", "status": "final", "code": {"text": "x"}}
        server.put({**observation, "subject": {"reference": f"Patient/{id}"}})
    server.put({"resourceType": "Patient", "id": "other", "name": [{"text": "张四"}]}, organization="org2")
    server.put({"resourceType": "Organization", "id": "h1", "name": "重庆市第一人民医院"})


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"name": "zhang"}, {"p1", "p4"}),
        ({"name": "zhangsan"}, {"p1"}),
        ({"name": "Zhang San"}, {"p1"}),
        ({"name": "zs"}, {"p1"}),
        ({"name": "张"}, {"p1"}),
        ({"name:exact": "张三"}, {"p1"}),
        ({"name:exact": "zhangsan"}, set()),
        ({"given": "san"}, {"p1", "p4"}),
        ({"family": "zhang"}, {"p1", "p4"}),
        ({"family": "shan"}, {"p2"}),
        ({"family": "dan"}, {"p2"}),
        ({"name": "zengyue"}, {"p3"}),
        ({"name": "zeng le"}, {"p3"}),
        ({"name": "zhangsan,shantian"}, {"p1", "p2"}),
        ({"name": "zhang", "given": "san", "gender:missing": "true"}, {"p1", "p4"}),
        ({"phonetic": "zangsan"}, {"p1"}),
        ({"phonetic": "章"}, {"p1"}),
        ({"phonetic": "santianfan"}, {"p2"}),
        ({"phonetic": "xandra"}, {"p4"}),
        ({"name": "lisi"}, set()),
    ],
)
def test_patients_are_found_by_characters_pinyin_and_sound(
    doctor: httpx.Client, query: dict[str, str], found: set[str]
) -> None:
    answer = doctor.get("Patient", params=query)
    posted = doctor.post("Patient/_search", data=query, headers=FORM)
    assert set(ids(answer.json())) == set(ids(posted.json())) == found
    assert answer.json()["total"] == len(found)


def test_a_chain_ends_in_pinyin(doctor: httpx.Client) -> None:
    chained = doctor.get("Observation", params={"subject:Patient.name": "zhangsan"})
    by_sound = doctor.get("Observation", params={"patient.phonetic": "zensansan"})
    assert ids(chained.json()) == ["o-p1"]
    assert ids(by_sound.json()) == []


def test_institutions_are_found_by_pinyin(doctor: httpx.Client) -> None:
    for name in ("chongqing shi", "cqsdyrmyy", "重庆"):
        assert ids(doctor.get("Organization", params={"name": name}).json()) == ["h1"]


def test_an_update_changes_how_a_patient_is_found(server: Live, doctor: httpx.Client) -> None:
    server.put({"resourceType": "Patient", "id": "renamed", "name": [{"text": "仇英"}]})
    server.put({"resourceType": "Patient", "id": "renamed", "name": [{"text": "朴英"}]})
    assert ids(doctor.get("Patient", params={"name": "piaoying"}).json()) == ["renamed"]
    assert ids(doctor.get("Patient", params={"name": "qiuying"}).json()) == []
