"""The texts of the pages: the same in both languages, used, and what scopes mean in words."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

import fhir_server.pages
from fhir_server.pages import words_en, words_zh
from fhir_server.pages.words import LANGUAGES

FOLDER = Path(fhir_server.pages.__file__).parent


def parts(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("key", sorted(words_zh.TEXTS.keys() | words_en.TEXTS.keys()))
def test_every_text_stands_in_both_languages_with_the_same_parts(key: str) -> None:
    assert parts(words_zh.TEXTS[key]) == parts(words_en.TEXTS[key])
    assert words_zh.TEXTS[key].strip()
    assert words_en.TEXTS[key].strip()


def test_every_text_is_used() -> None:
    root = FOLDER.parent
    sources = [*root.glob("pages/**/*.html"), *root.glob("pages/words.py"), *root.glob("auth/**/*.py")]
    said = "\n".join(each.read_text(encoding="utf-8") for each in sources)
    made = {f"verb_{each}" for each in "cruds"} | {f"whose_{each}" for each in ("patient", "user", "system")}
    assert {key for key in words_zh.TEXTS if f'"{key}"' not in said} <= made


def test_every_purpose_is_named_in_both_languages() -> None:
    assert words_zh.PURPOSES.keys() == words_en.PURPOSES.keys()


SCOPES = [
    ("user/*.read", "查看、检索您有权访问的全部健康数据"),
    ("patient/Observation.rs?category=laboratory", "查看、检索该患者的检验结果与观察（仅限：category=laboratory）"),
    ("patient/Condition.cud", "新建、修改、删除该患者的诊断与健康问题"),
    ("patient/VisionPrescription.r", "查看该患者的VisionPrescription"),
    ("offline_access", "在您离开后继续访问（长期有效）"),
    ("patient/*.nonsense", "其他权限：patient/*.nonsense"),
]


@pytest.mark.parametrize(("scope", "said"), SCOPES)
def test_a_scope_is_told_in_words(scope: str, said: str) -> None:
    assert LANGUAGES["zh"].scope(scope) == said


def test_templates_hold_no_text_of_their_own() -> None:
    for template in {*FOLDER.glob("templates/*.html")} - {FOLDER / "templates" / "form.html"}:
        plain = re.sub(r"\{%.*?%\}|\{\{.*?\}\}|<[^>]*>", "", template.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert re.sub(r"[\s–（）]", "", plain) == "", template.name
