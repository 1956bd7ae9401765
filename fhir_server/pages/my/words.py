"""The texts of the patients' pages, in the languages of all pages, and how they write days and instants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from fhir_server.consenting.asked import Request
from fhir_server.pages.my import words_en, words_zh
from fhir_server.pages.my.consents import Shown
from fhir_server.pages.words import LANGUAGES, Texts, Words
from fhir_server.store.instants import moment


@dataclass(frozen=True, slots=True)
class Said(Texts):
    """What patients' pages say in one language. words: of all pages; purposes, types: that are called otherwise here."""

    words: Words
    purposes: Mapping[str, str]
    types: Mapping[str, str]

    def of_purposes(self, codes: Iterable[str]) -> str:
        """Return purposes (v3 PurposeOfUse) in words; none means any."""
        return self._all((self.purpose(each) for each in codes), "all_purposes")

    def purpose(self, code: str) -> str:
        return self.purposes.get(code) or self.words.purpose(code)

    def of_types(self, types: Iterable[str]) -> str:
        """Return resource types in words; none means all."""
        return self._all((self.type(each) for each in types), "all_records")

    def type(self, type: str) -> str:
        return self.types.get(type) or self.words.types.get(type, type)

    def of_actors(self, references: Iterable[str], names: Mapping[str, str]) -> str:
        """Return who is meant; none means everybody. names: by reference, as far as they are known."""
        return self._all((self.someone(each, names) for each in references), "everybody")

    def someone(self, reference: str, names: Mapping[str, str]) -> str:
        """Return the name of somebody, or of what kind they are."""
        type = reference.partition("/")[0]
        return names.get(reference) or self.texts.get(f"someone_{type}", reference)

    def headline(self, shown: Shown, names: Mapping[str, str]) -> str:
        """Return what an authorization comes to, in a few words."""
        first = shown.first
        kind = "permits" if first.permits else "denies"
        if shown.waits:
            kind = "prepared" if shown.prepared else "asks"
        return self(f"headline_{kind}", who=self.of_actors(first.actors, names))

    def asker(self, asked: Request, names: Mapping[str, str]) -> str:
        """Return who has asked for an authorization, and for which institution."""
        where = self.someone(f"Organization/{asked.organization}", names)
        return self("asker", who=self.someone(asked.user, names), where=where)

    def looker(self, look: Mapping[str, str], names: Mapping[str, str]) -> str:
        """Return who has looked: by name, else by role."""
        return names.get(look["user"]) or self.texts.get(f"role_{look['role']}", self.texts["role_"])

    def span(self, since: str | None, until: str | None) -> str | None:
        """Return the dates of records in words, None where they are not limited."""
        if not since and not until:
            return None
        return self("from_to", since=since or self("open_start"), until=until or self("open_end"))

    def _all(self, found: Iterable[str], otherwise: str) -> str:
        return self("comma").join(dict.fromkeys(found)) or self(otherwise)


WORDS = {
    "zh": Said(words_zh.TEXTS, LANGUAGES["zh"], words_zh.PURPOSES, words_zh.TYPES),
    "en": Said(words_en.TEXTS, LANGUAGES["en"], words_en.PURPOSES, words_en.TYPES),
}


def day(text: str | None, zone: tzinfo) -> str | None:
    """Return the day of a FHIR date or instant in a zone.

    >>> from datetime import timezone, timedelta
    >>> day("2026-01-31T20:00:00Z", timezone(timedelta(hours=8))), day("2026-01", timezone.utc)
    ('2026-02-01', '2026-01')
    """
    if not text or "T" not in text:
        return text
    try:
        return datetime.fromisoformat(text).astimezone(zone).strftime("%Y-%m-%d")
    except ValueError:
        return text[:10]


def minute(at: int, zone: tzinfo) -> str:
    """Return an instant (microseconds since 1970 UTC) in a zone, to the minute."""
    return moment(at).astimezone(zone).strftime("%Y-%m-%d %H:%M")
