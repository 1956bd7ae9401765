"""Names: characters, and pinyin beside them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.search.ast import Filed, Text
from fhir_server.search.types.pinyin import MOST_WHOLES, initials, spelled, syllables, wholes
from tests.search.reading import PROJECT, clause, finds

ZHANG = {"resourceType": "Patient", "name": [{"text": "张三", "family": "张", "given": ["三"]}]}


def named(text: str, type: str = "Patient") -> dict[str, Any]:
    return {"resourceType": type, "name": [{"text": text}] if type == "Patient" else text}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("name=zhang", True),
        ("name=zhangsan", True),
        ("name=zhang san", True),
        ("name=Zhang San", True),
        ("name=ZHANGSAN", True),
        ("name=zhang-san", True),
        ("name=z", True),
        ("name=zhangs", True),
        ("name=zs", True),
        ("name=ZS", True),
        ("name=san", True),
        ("name=zhangsanfeng", False),
        ("name=zsf", False),
        ("name=sz", False),
        ("name=hang", False),
        ("name=zang", False),
        ("given=san", True),
        ("given=zhang", False),
        ("family=zhang", True),
        ("family=san", False),
        ("family=zs", False),
        ("name=张", True),
        ("name=张三", True),
        ("name=三", True),
        ("name=章", False),
        ("name:exact=张三", True),
        ("name:exact=zhangsan", False),
        ("name:contains=三", True),
        ("name:contains=zhang", False),
        ("name=li,zhang", True),
        ("name:missing=false", True),
    ],
)
def test_zhang_san_is_found_by_characters_and_by_pinyin(query: str, found: bool) -> None:
    assert finds(f"Patient?{quote(query, safe='=:,')}", ZHANG) is found


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("单田芳", "shan tianfang"),
        ("曾国藩", "zeng guofan"),
        ("曾经", "ceng jing"),
        ("解晓东", "xie xiaodong"),
        ("仇英", "qiuying"),
        ("区大相", "ou daxiang"),
        ("朴槿惠", "piao jinhui"),
        ("任正非", "renzhengfei"),
        ("查良镛", "zha liangyong"),
        ("翟天临", "zhai tianlin"),
        ("盖叫天", "ge jiaotian"),
        ("乐嘉", "yue jia"),
        ("乐嘉", "le jia"),
        ("尉迟恭", "yuchi gong"),
        ("万俟卨", "moqi xie"),
        ("澹台灭明", "tantai mieming"),
        ("长孙无忌", "zhangsun wuji"),
        ("欧阳锋", "ouyang feng"),
        ("歐陽鋒", "ouyangfeng"),
        ("張三", "zhangsan"),
        ("單田芳", "shan"),
        ("吕布", "lv bu"),
        ("吕布", "lü bu"),
        ("吕布", "lu bu"),
        ("吕布", "LYU BU"),
        ("李〇", "li ling"),
        ("阿卜杜拉·买买提", "abudula maimaiti"),
        ("Li 明", "liming"),
        ("明 Li", "ming li"),
        ("Ａ三", "asan"),
        ("301医院", "301yiyuan"),
        ("西安", "xi'an"),
        ("蔡琴", "cai qin"),
        ("陳加玲", "chenjialing"),
        ("卜算子", "bu suanzi"),
        ("晟", "sheng"),
        ("张三", "Zhāng Sān"),
        ("张三", "ｚｈａｎｇ"),
        ("长城", "chang cheng"),
    ],
)
def test_a_name_is_found_by_how_it_is_read(name: str, spelled: str) -> None:
    assert finds(f"Patient?name={quote(spelled)}", named(name))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("王五", "yu"),
        ("石磊", "dan"),
        ("方方", "pang"),
        ("冰", "ning"),
        ("蔡琴", "sa"),
        ("陳加玲", "zhen"),
        ("馮", "ping"),
    ],
)
def test_readings_that_names_do_not_have_are_no_way_to_find_them(name: str, other: str) -> None:
    assert not finds(f"Patient?name={other}", named(name))


@pytest.mark.parametrize("type", ["Organization", "Location", "HealthcareService", "Account"])
def test_institutions_are_found_as_well(type: str) -> None:
    hospital = named("重庆市第一人民医院", type)
    assert finds(f"{type}?name=chongqing shi", hospital)
    assert finds(f"{type}?name=cqsdy", hospital)
    assert not finds(f"{type}?name=zhongqing", hospital)


def test_a_name_in_parts_is_found_as_a_whole() -> None:
    in_parts = {"resourceType": "Patient", "name": [{"family": "诸葛", "given": ["孔", "明"]}]}
    for query in ("诸葛孔明", "zhugekongming", "zgkm", "孔"):
        assert finds(f"Patient?name={quote(query)}", in_parts)
    assert not finds(f"Patient?name:exact={quote('诸葛孔明')}", in_parts)
    assert not finds(
        "Patient?name=van gogh", {"resourceType": "Patient", "name": [{"family": "Van", "given": ["Gogh"]}]}
    )


def test_latin_names_stay_as_they_are() -> None:
    latin = named("Zhang San")
    assert PROJECT(latin).terms == PROJECT({**latin, "name": [{"family": "Zhang San"}]}).terms - {
        term for term in PROJECT({**latin, "name": [{"family": "Zhang San"}]}).terms if term.startswith("family")
    }
    assert finds("Patient?name=zhang s", latin)
    assert not finds("Patient?name=zs", latin)


def test_addresses_and_other_texts_have_no_pinyin() -> None:
    assert not finds("Patient?address=beijing", {"resourceType": "Patient", "address": [{"city": "北京"}]})


def test_one_word_of_pinyin_is_one_look_up_and_several_are_two() -> None:
    assert clause("Patient?name=zhang") == clause("Patient?name=ZHANG")
    one, two = clause("Patient?name=zhang"), clause("Patient?name=zhang%20san")
    assert isinstance(one, Filed)
    assert one.terms == ("name|zhang",)
    assert isinstance(two, Filed)
    assert two.terms == ("name|zhang san", "name|zhangsan")


def test_long_readings_are_decided_on_the_resource() -> None:
    hospital = named("北京协和医学院附属肿瘤医院", "Organization")
    whole = "beijingxieheyixueyuanfushuzhongliuyiyuan"
    assert isinstance(clause(f"Organization?name={whole}"), Text)
    assert finds(f"Organization?name={whole}", hospital)
    assert not finds(f"Organization?name={whole}x", hospital)


@pytest.mark.parametrize("text", ["张三", "乐乐乐乐", "吕绿绿律", "女" * 200, "重" * 64])
def test_the_number_of_readings_is_bounded(text: str) -> None:
    assert 1 <= len(wholes(syllables(text))) <= MOST_WHOLES


def test_the_terms_of_a_common_name_are_few() -> None:
    texts = [term.partition("|") for term in PROJECT(ZHANG).terms]
    pinyin = [(code, text) for code, _, text in texts if code in ("name", "family", "given") and text.isascii()]
    assert sorted(pinyin) == sorted(
        [("name", "zhangsan"[:end]) for end in range(1, 9)]
        + [("name", text) for text in ("zs", "s", "sa", "san")]
        + [("family", "zhang"[:end]) for end in range(1, 6)]
        + [("given", "san"[:end]) for end in range(1, 4)]
    )


CHARACTERS = st.sampled_from("张三李乐曾单重长吕女行会绿朴A z·〇𠮷の")
LETTERS = st.sampled_from(
    ["zhang", "san", "li", "l", "yue", "le", "zeng", "s", "shan", "chong", "zh", "lv", "a", " ", "ling"]
)


@settings(max_examples=400, deadline=None)
@given(st.text(CHARACTERS, min_size=1, max_size=7), st.data())
def test_what_is_filed_and_what_is_read_agree(text: str, data: st.DataObject) -> None:
    ways = syllables(text)
    own = st.sampled_from([*wholes(ways), *initials(ways)]) if ways else st.nothing()
    cut = own.flatmap(lambda whole: st.integers(1, len(whole)).map(lambda end: whole[:end]))
    asked = data.draw(cut | st.lists(LETTERS, min_size=1, max_size=4).map("".join) | st.just(text))
    if asked.strip():
        found = finds(f"Patient?name={quote(asked)}", named(text))
        assert found or spelled(asked) not in {whole[: len(asked)] for whole in wholes(ways)}
