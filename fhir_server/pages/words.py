"""The pages' texts in the language of whoever reads them, and what scopes mean in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fhir_server.auth.scopes import Scope
from fhir_server.pages import words_en, words_zh

FIRST = "zh"
# Scopes beside those for data, by the text that explains them (SMART App Launch 2.2, "Scopes and Launch Context").
NAMED = {
    "openid": "scope_openid",
    "fhirUser": "scope_fhirUser",
    "profile": "scope_profile",
    "offline_access": "scope_offline_access",
    "online_access": "scope_online_access",
    "launch": "scope_launch",
    "launch/patient": "scope_launch",
    "launch/encounter": "scope_launch",
}


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of one language, by key. A text names what varies in braces."""

    texts: Mapping[str, str]

    def __call__(self, key: str, **parts: object) -> str:
        """Return a text with its parts in place."""
        return self.texts[key].format(**parts)


@dataclass(frozen=True, slots=True)
class Words(Texts):
    """What all pages say in one language. tag: BCP 47."""

    lang: str
    tag: str
    purposes: Mapping[str, str]
    types: Mapping[str, str]

    def purpose(self, code: str) -> str:
        return self.purposes.get(code, code)

    def scope(self, scope: str) -> str:
        """Return what a scope allows, in words.

        >>> print(LANGUAGES["zh"].scope("patient/Observation.rs?category=laboratory"))
        查看、检索该患者的检验结果与观察（仅限：category=laboratory）
        """
        if scope in NAMED:
            return self(NAMED[scope])
        read = Scope.read(scope)
        if read is None:
            return self("scope_other", scope=scope)
        return self(
            "scope_data",
            verbs=self("and").join(self(f"verb_{letter}") for letter in read.letters),
            whose=self(f"whose_{read.context}"),
            what=self.types.get(read.type, read.type),
            limit=self("limit", query=read.query) if read.query else "",
        )


LANGUAGES = {
    "zh": Words(words_zh.TEXTS, "zh", "zh-CN", words_zh.PURPOSES, words_zh.TYPES),
    "en": Words(words_en.TEXTS, "en", "en", words_en.PURPOSES, words_en.TYPES),
}


def language(asked: str | None, accepted: str | None) -> str:
    """Return the language of a page: the one asked for, else the first accepted one that there is, else Chinese.

    accepted: the Accept-Language header; its order counts, its weights do not.

    >>> language(None, "fr, en-GB;q=0.8, zh;q=0.5"), language("zh", "en"), language("xx", None)
    ('en', 'zh', 'zh')
    """
    if asked in LANGUAGES:
        return asked
    tags = (part.split(";")[0].strip().lower() for part in (accepted or "").split(","))
    return next((tag[:2] for tag in tags if tag[:2] in LANGUAGES), FIRST)
