"""The desk's texts in the language of whoever reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fhir_server.pages.desk import words_en, words_zh
from fhir_server.pages.words import LANGUAGES, Texts, Words


@dataclass(frozen=True, slots=True)
class Speech(Texts):
    """What the desk says in one language. happenings: by code of what happened; codes: by "kind|code"."""

    words: Words
    happenings: Mapping[str, str]
    codes: Mapping[str, str]

    def happened(self, code: str) -> str:
        return self.happenings.get(code, code)

    def outcome(self, code: str) -> str:
        return self.codes.get(f"outcome|{code}", code)

    def role(self, code: str) -> str:
        return self.codes.get(f"role|{code}", code)

    def reason(self, text: str) -> str:
        """Return a stated reason, or the word for one that this institution is not told."""
        return self.codes.get(f"reason|{text}", text)

    def context(self, patient: str) -> str:
        """Return the patient in context, or the word for one that this institution is not told."""
        return self.codes.get(f"context|{patient}", patient)

    def basis(self, name: str) -> str:
        return self.codes.get(f"basis|{name}", name)

    def purpose(self, code: str) -> str:
        return self.words.purpose(code)

    def described(self, text: str) -> str:
        """Return what an event adds to its outcome; of what has a word, the word.

        >>> SPEECH["zh"].described("HTTP 200 break-glass")
        'HTTP 200 紧急突破访问'
        """
        return " ".join(self.codes.get(f"note|{each}", each) for each in text.split())


SPEECH = {
    "zh": Speech(words_zh.TEXTS, LANGUAGES["zh"], words_zh.HAPPENINGS, words_zh.CODES),
    "en": Speech(words_en.TEXTS, LANGUAGES["en"], words_en.HAPPENINGS, words_en.CODES),
}
