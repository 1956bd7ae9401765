"""Who tried to see my records: searches that named me and showed nothing, and those that asked for a number."""

from __future__ import annotations

import pytest

from tests.pages.test_my_access import PAGE, rows
from tests.pages.ward import Ward, observation


@pytest.mark.parametrize(
    "path", ["Observation?patient=Patient/{}", "Observation?patient={}&_summary=count", "Patient/{}/*"]
)
def test_a_search_that_named_a_patient_and_found_nothing_is_an_attempt(ward: Ward, path: str) -> None:
    id = ward.person()
    ward.server.put(observation(f"o-{id}", id))
    browser = ward.signed_in(ward.account(id), PAGE)
    before = len(rows(browser))
    with ward.doctor("org2") as doctor:
        assert doctor.get(path.format(id)).json()["total"] == 0
    found = rows(browser.open(PAGE))
    assert len(found) == before + 1
    assert "李医生2" in found[0]
    assert "没有看到任何内容" in found[0]
    assert "检验结果与观察" not in found[0]


def test_who_asks_for_a_number_is_listed_as_such(ward: Ward) -> None:
    id = ward.person()
    ward.server.put(observation(f"o-{id}", id))
    with ward.doctor("org1") as doctor:
        assert doctor.get(f"Observation?patient={id}&_summary=count").json()["total"] == 1
    newest = rows(ward.signed_in(ward.account(id), PAGE))[0]
    assert "询问符合条件的记录有多少条" in newest


def test_of_two_patients_who_were_named_each_is_told_what_was_shown_of_them(ward: Ward) -> None:
    id, other = ward.person(), ward.person("刘小红", organization="org2")
    ward.server.put(observation(f"o-{id}", id))
    with ward.doctor("org1") as doctor:
        assert doctor.get(f"Observation?patient={id},{other}").json()["total"] == 1
    mine, theirs = (rows(ward.signed_in(ward.account(each), PAGE))[0] for each in (id, other))
    assert "检验结果与观察" in mine
    assert "检索您的记录：没有看到任何内容" in theirs
    assert "李医生1" in theirs
