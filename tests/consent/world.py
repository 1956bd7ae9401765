"""The world of one row: its patients and records on the server, its clock, its users, and what its words stand for."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from tests.consent.rows import Fixture, Row
from tests.consent.target import Target, Who, real_now
from tests.consent.vocabulary import Json, Short, Unreadable, label
from tests.consent.wire import Answer, Wire

T0 = datetime(2026, 6, 15, 12, tzinfo=UTC)
WORD = re.compile(r"<([^<>\s]+(?: T0[^<>]*)?)>")
TIME = re.compile(r"(?:(date) )?T0(?:([+-]\d+)([smhdy]))?")
LENGTHS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}
HOW = frozenset({"by", "later"})  # how a record is stored: by which system, after the others
TEXTUAL = frozenset({"reference", "url", "value", "div", "uri", "valueString", "system", "id", "contentString"})


class CannotAsk(Exception):
    """The target cannot be asked this; the message says why."""


class World:
    """What a row is about, on a target."""

    def __init__(self, target: Target, fixture: Fixture, row: Row) -> None:
        self.target, self.fixture, self.row = target, fixture, row
        self.key = target.key or secrets.token_hex(4)
        self.t0 = T0 if target.set_clock else real_now()
        self.raw: dict[str, Mapping[str, Any]] = {**fixture.records, **row.records}
        self.remembered: dict[str, Answer] = {}
        self.consents: list[Json] = []
        self._wires: dict[tuple[str, int], Wire] = {}
        self._open = ExitStack()
        self.short = Short(self.reference, fixture.codes)

    def close(self) -> None:
        self._open.close()

    def set_clock(self, at: datetime) -> None:
        """Set the server's clock. Raises CannotAsk where it is the real one."""
        if self.target.set_clock is None:
            raise CannotAsk("the server's clock cannot be set")
        self.target.set_clock(at)

    # What words stand for

    def id(self, name: str) -> str:
        return f"{name}-{self.key}"

    def type(self, name: str) -> str:
        return str(self.raw[name]["resourceType"])

    def place(self, name: str) -> str:
        """Return the relative reference of a record of this row."""
        return f"{self.type(name)}/{self.id(name)}"

    def reference(self, name: str) -> str:
        """Return the reference of a record, a person or an institution by name; Type/id stays as it is."""
        name = name.strip("<>")
        if name in self.raw:
            return self.place(name)
        if name in self.fixture.people:
            return str(self.filled(self.fixture.people[name]["user"]))
        if name in self.fixture.institutions:
            return f"Organization/{name}"
        if "/" not in name:
            raise Unreadable(f"{name} is no name of the fixture and no reference")
        return name

    def filled(self, value: Any) -> Any:
        """Return a value with <…> replaced by what it stands for, in texts at any depth."""
        if isinstance(value, str):
            return WORD.sub(lambda found: self._word(found[1]), value)
        if isinstance(value, Mapping):
            return {name: self.filled(each) for name, each in value.items()}
        return [self.filled(each) for each in value] if isinstance(value, list) else value

    def _word(self, word: str) -> str:
        if word in ("key", "digits"):
            return self.key if word == "key" else f"{int(self.key, 16) % 10**8:08d}" if _hex(self.key) else "00000000"
        if found := TIME.fullmatch(word):
            return self._time(found)
        name, _, part = word.partition(".")
        if name in self.remembered:
            return self._of_answer(self.remembered[name], part)
        if name in self.raw:
            return {"": self.place, "id": self.id}[part](name)
        if word.startswith("consent"):
            return str(self.consents[int(word.removeprefix("consent").partition(".")[0]) - 1]["id"])
        return f"<{word}>"  # what is no word of ours, such as the tags of a narrative, stays

    def _of_answer(self, answer: Answer, part: str) -> str:
        if part == "etag":
            return answer.headers.get("etag", "")
        if part in ("id", "first"):
            return answer.ids[0] if part == "first" else str(answer.json["id"])
        relation, _, type = part.partition(":")  # "next:Condition": the link, put to another type
        link = answer.link(relation) or "no-such-link"
        return re.sub(r"/\w+\?", f"/{type}?", link) if type else link

    def instant(self, word: str) -> datetime:
        """Return the instant of "T0+1s", or of a FHIR dateTime with an offset."""
        found = TIME.fullmatch(word.strip("<>"))
        if not found:
            return datetime.fromisoformat(word)
        return self.t0 + timedelta(seconds=int(found[2] or 0) * LENGTHS[found[3] or "s"])

    def _time(self, found: re.Match[str]) -> str:
        at = self.instant(found[0].removeprefix("date "))
        return at.strftime("%Y-%m-%d" if found[1] else "%Y-%m-%dT%H:%M:%SZ")

    # Records

    def record(self, name: str) -> Json:
        """Return a record as FHIR."""
        made = self.fhir("", dict(self.raw[name]))
        security = {"meta": {"security": made.pop("labels")}} if "labels" in made else {}
        return {"resourceType": made.pop("resourceType"), "id": self.id(name), **security, **made}

    def fhir(self, name: str, value: Any) -> Any:
        if isinstance(value, str):
            whole = WORD.fullmatch(value)
            if whole and whole[1] in self.raw and name not in TEXTUAL:
                return {"reference": self.place(whole[1])}
            if name == "code" and value in self.fixture.codes:
                return self.short.concept(value)
            return self.filled(value)
        if isinstance(value, Mapping):
            return {key: self.fhir(key, each) for key, each in value.items() if key not in HOW}
        if isinstance(value, list):
            return [label(each) for each in value] if name == "labels" else [self.fhir(name, each) for each in value]
        return value

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The records that questions are about: those of the fixture, and those of the row that a step names."""
        told = {
            name for step in self.row.steps for kind in ("sees", "shows", "hides") for name in self.set(step.get(kind))
        }
        return tuple(dict.fromkeys([*(n for n in self.fixture.records if n != "R1"), *sorted(told)]))

    def set(self, said: Any) -> frozenset[str]:
        """Return the records of a list of names, of "nothing", of "all of P1", or of {all of: P1, but: […], and: […]}."""
        if said in (None, "nothing"):
            return frozenset()
        if isinstance(said, str):
            said = {"all of": said.removeprefix("all of ")} if said.startswith("all of ") else [said]
        if isinstance(said, Mapping):
            return (frozenset(self.fixture.sets[said["all of"]]) - {*said.get("but", ())}) | {*said.get("and", ())}
        return frozenset(said)

    def store(self) -> None:
        """Store the records, each as the system of its institution. Raises CannotAsk if that is not possible."""
        if self.target.set_clock:
            self.set_clock(self.t0)
        by: dict[tuple[bool, str], list[Json]] = {}
        for name, raw in self.raw.items():
            by.setdefault((bool(raw.get("later")), str(raw.get("by", "EMR1"))), []).append(self.record(name))
        for (_, system), records in sorted(by.items()):
            self.put(records, by=system)

    def put(self, records: Iterable[Json], *, by: str = "EMR1") -> Answer:
        entries = [
            {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{each['id']}"}}
            for each in records
        ]
        answer = self.wire(by).post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
        if answer.status != 200:
            raise CannotAsk(f"the records cannot be stored: {answer.status} {answer.body[:500]!r}")
        return answer

    # Consents

    def give(self, given: Any) -> Json:
        """Store a Consent by the hand of its patient, or of whom `by` says; return it as stored."""
        said = {given: {}} if isinstance(given, str) else dict(given)
        by, patient = said.pop("by", None), said.pop("patient", "P1")
        made = self.filled(self.short.consent(said))
        made["patient"] = {"reference": self.reference(patient)}
        answer = self.wire(by or patient).post("Consent", made)
        if answer.status != 201:
            raise CannotAsk(f"the Consent cannot be stored: {answer.status} {answer.body[:500]!r}")
        self.consents.append({**answer.json, "_by": by or patient})
        return self.consents[-1]

    def change(self, number: int, elements: Mapping[str, Any]) -> Answer:
        """Store the next version of the row's Consent of this number, by the hand that stored it."""
        given = self.consents[number - 1]
        by, stored = given["_by"], {name: value for name, value in given.items() if name != "_by"}
        rules = {name: value for name, value in elements.items() if name.split()[0] in ("permit", "deny")}
        made = {**stored, **{name: value for name, value in elements.items() if name not in rules}}
        if rules:
            made["provision"] = self.filled(self.short.consent(rules)["provision"])
        answer = self.wire(by).send("PUT", f"Consent/{stored['id']}", made)
        if answer.status != 200:
            raise CannotAsk(f"the Consent cannot be changed: {answer.status} {answer.body[:500]!r}")
        self.consents[number - 1] = {**answer.json, "_by": by}
        return answer

    def end(self) -> None:
        """End what is still in force, as far as who stored it still may: so that the next row finds only its own."""
        if self.target.set_clock:
            self.set_clock(self.t0)
        for number, each in enumerate(self.consents, 1):
            if each.get("status") == "active":
                with suppress(CannotAsk):
                    self.change(number, {"status": "inactive"})

    # Users

    def who(self, said: Any) -> Who:
        """Return a user by "Dr1", "Dr1 for HRESCH", or {user: Dr1, for: BTG, reason: …, patient: P1 …}."""
        told = {"user": said} if isinstance(said, str) else dict(said)
        name, _, purpose = str(told.pop("user")).partition(" for ")
        person = self.fixture.people[name]
        purpose = told.pop("for", purpose or "TREAT")
        scope = self.filled(told.pop("scope", person.get("scope", "user/*.cruds")))
        claims = tuple((each, self.reference(value) if each == "patient" else value) for each, value in told.items())
        user = str(self.filled(person["user"]))
        return Who(name, str(person["role"]), user, str(person["organization"]), purpose, scope, claims)

    def wire(self, said: Any, base: int = 0) -> Wire:
        """Return the connection of a user to a base. Raises CannotAsk if there is no token."""
        who = self.who(said)
        if base >= len(self.target.bases):
            raise CannotAsk("the server has one process only, as far as the suite knows")
        known = self._wires.get((f"{who}", base))
        if known is None:
            token = self.target.tokens(who)
            if token is None:
                raise CannotAsk(f"no token for {who.title}")
            known = self._open.enter_context(Wire(self.target.bases[base], token))
            self._wires[f"{who}", base] = known
        return known


def _hex(text: str) -> bool:
    return re.fullmatch("[0-9a-f]+", text) is not None
