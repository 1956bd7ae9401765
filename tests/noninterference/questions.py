"""Random users, and random requests about the resources of a world: seen, hidden, deleted and never written ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache, cached_property
from urllib.parse import urlencode

from hypothesis import strategies as st

from tests.consent_engine.build import ACT_CODE, CONFIDENTIALITY, LOINC
from tests.live import JSON
from tests.noninterference.agreements import CODES
from tests.noninterference.doors import Doors
from tests.noninterference.filled import TYPES
from tests.noninterference.oracle import User
from tests.noninterference.pair import Asked
from tests.noninterference.world import FAMILIES, NUMBERS, RESIDENT_ID, World

SEARCHING = [
    "user/Observation.rs?code=c1 user/Patient.rs",
    f"user/*.rs?code={LOINC}|c1,{LOINC}|c2 user/Observation.rs?category=c3&code=c1 user/Patient.rs",
    "user/Observation.rs?code:not=c1 user/Encounter.rs?class=urn:class|A user/Composition.rs?type=|c1",
    f"patient/*.rs user/Observation.rs?category={LOINC}| user/Patient.rs?status=final",
]
SCOPES = {
    "user": ["user/*.cruds"] * 6
    + SEARCHING * 2
    + ["user/*.rs", "user/Observation.rs user/Patient.r", "patient/*.cruds", "user/*.s"],
    "patient": ["patient/*.cruds"] * 3
    + ["patient/*.rs?code=c1 patient/Patient.rs", "user/Encounter.rs?class=A patient/Composition.rs?type=c1,c2"]
    + ["patient/Observation.rs patient/Patient.rs", "user/*.rs"],
    "system": ["system/*.cruds"] * 3 + ["user/*.rs", "patient/*.rs system/Observation.rs"],
}
PURPOSES = ["TREAT"] * 5 + ["HRESCH", "ETREAT", "BTG", "PUBHLTH", "COC"]
PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]


@st.composite
def users(draw: st.DrawFn, world: World) -> User:
    """Draw who asks: staff or a system of an institution, a patient, a related person."""
    role = draw(st.sampled_from(["practitioner"] * 4 + ["patient", "patient", "related-person", "system", "system"]))
    number = draw(st.integers(1, 3))
    patient = f"Patient/{draw(st.sampled_from(world.patients))}"
    context = draw(st.sampled_from([None, patient]))
    purpose = draw(st.sampled_from(PURPOSES))
    if role == "patient":
        scope = draw(st.sampled_from(SCOPES["patient"]))
        return User(role, patient, f"h{number}", draw(st.sampled_from(["PATRQT", "TREAT"])), scope)
    if role == "related-person":
        user = f"RelatedPerson/{world.patients[0].partition('-')[0]}-rp1"
        return User(role, user, f"h{number}", purpose, draw(st.sampled_from(SCOPES["patient"])), context)
    if role == "system":
        return User(role, f"Device/emr-h{number}", f"h{number}", purpose, draw(st.sampled_from(SCOPES["system"])))
    reason = draw(st.sampled_from([None, "unconscious"]))
    scope = draw(st.sampled_from(SCOPES["user"]))
    if scope.startswith("patient/"):
        context = patient
    prefix = world.patients[0].partition("-")[0]
    department = draw(st.sampled_from([None, None, f"{prefix}-dep1"]))
    position = draw(st.sampled_from([None, None, None, f"PractitionerRole/{prefix}-pr1"]))
    own = f"Practitioner/dr{number}", f"h{number}", purpose, scope, context, reason
    return User(role, *own, practitioner_role=position, department=department)


class Questions:
    """Strategies of requests about one world. wide: see doors.py."""

    def __init__(self, world: World, *, wide: bool = True) -> None:
        self.world, self.wide = world, wide
        prefix = world.patients[0].partition("-")[0]
        self.unknown = f"{prefix}-none"
        self.ids = st.sampled_from([*{id for _, id in world.places}, *world.patients, self.unknown])
        self.places = st.sampled_from([*world.places, ("Patient", self.unknown), ("Observation", self.unknown)])
        self.patients = st.sampled_from([*world.patients, *(f"Patient/{id}" for id in world.patients), self.unknown])
        tokens = [*CODES, f"{LOINC}|c1", f"{LOINC}|", "|c1", "c1,c2"]
        self.tokens = st.sampled_from(tokens)
        dates = ["2025", "2026-02", "2026-02-03", "2026-06-15T12:00:00Z", "2026-06-10"]
        self.dates = st.builds("{}{}".format, st.sampled_from(PREFIXES), st.sampled_from(dates))
        self.parameters = self._parameters()

    def _parameters(self) -> dict[str, list[st.SearchStrategy[tuple[str, str]]]]:
        people = [
            _pair("{}.family", st.sampled_from(FAMILIES)),
            _pair("{}.family:exact", st.sampled_from(FAMILIES)),
            _pair("{}.identifier", st.sampled_from([f"{RESIDENT_ID}|{number}" for number in NUMBERS])),
            _pair("{}.birthdate", st.sampled_from(["1980", "lt1985", "ne1990"])),
            _pair("{}.gender:not", st.just("male")),
            _pair("{}.gender:missing", st.sampled_from(["true", "false"])),
            _pair("{}._id", self.ids),
            _pair("{}._lastUpdated", self.dates),
            _pair("{}.general-practitioner", st.just("Practitioner/dr1")),
            _pair("{}.name:contains", st.just("三")),
        ]
        of_subject = [_pair("patient", self.patients), _pair("subject", self.patients)] + [
            st.builds(_on, st.just(name), pair) for name in ("patient", "subject:Patient") for pair in people
        ]
        encounter = [
            _pair("encounter", self.ids),
            _pair("encounter.date", self.dates),
            _pair("encounter:missing", BOOLEANS),
        ]
        return {
            "Patient": [
                *(
                    _pair(name, st.sampled_from(FAMILIES))
                    for name in ("family", "family:exact", "name", "name:contains")
                ),
                _pair("identifier", st.sampled_from([*NUMBERS, "urn:mrn|1", f"{RESIDENT_ID}|"])),
                *(_pair(name, st.sampled_from(["male", "female"])) for name in ("gender", "gender:not")),
                _pair("birthdate", st.sampled_from(["1980", "gt1985", "1980-01-01"])),
                _pair("birthdate:missing", BOOLEANS),
                _pair("link", self.patients),
                _pair("link:Patient.family", st.sampled_from(FAMILIES)),
                _pair("general-practitioner.family", st.sampled_from(FAMILIES)),
                _pair("organization.name", st.just("Hospital")),
            ],
            "Observation": [
                *of_subject,
                *encounter,
                *(_pair(name, self.tokens) for name in ("code", "code:not", "combo-code", "category")),
                _pair("date", self.dates),
                _pair("date:missing", BOOLEANS),
                _pair("performer", st.sampled_from(["Practitioner/dr1", "Organization/h1"])),
                _pair("performer:Patient.family", st.sampled_from(FAMILIES)),
                _pair("focus", self.ids),
                _pair("value-quantity", st.sampled_from(["1", "gt1", "2|urn:u|c1"])),
                _pair("code-value-quantity", st.sampled_from(["c1$1", "c2$gt1"])),
                _pair("encounter.class", st.just("A")),
                _pair("encounter:Encounter.patient", self.patients),
            ],
            "Condition": [*of_subject, *encounter, _pair("code", self.tokens), _pair("onset-date", self.dates)],
            "Encounter": [*of_subject, _pair("date", self.dates), _pair("class", st.sampled_from("AB"))],
            "MedicationRequest": [*of_subject, _pair("code", self.tokens), _pair("authoredon", self.dates)],
            "Appointment": [
                _pair("patient", self.patients),
                _pair("actor", self.ids),
                _pair("patient.family", st.sampled_from(FAMILIES)),
                _pair("actor:Patient.gender:not", st.just("male")),
                _pair("date", self.dates),
            ],
            "Consent": [
                _pair("patient", self.patients),
                _pair("patient.family", st.sampled_from(FAMILIES)),
                _pair("status", st.sampled_from(["active", "inactive"])),
                _pair("date", self.dates),
                _pair("actor", st.sampled_from(["Organization/h1", "Practitioner/dr1"])),
            ],
            "RelatedPerson": [_pair("patient", self.patients), _pair("patient.family", st.sampled_from(FAMILIES))],
            "Device": [_pair("patient", self.patients), _pair("patient.family", st.sampled_from(FAMILIES))],
            "List": [
                _pair("patient", self.patients),
                _pair("item", self.ids),
                _pair("item:Observation.code", self.tokens),
            ],
            "Composition": [
                *of_subject,
                _pair("author:Practitioner.family", st.sampled_from(FAMILIES)),
                _pair("entry", self.ids),
                _pair("date", self.dates),
            ],
            "Organization": [_pair("name", st.just("Hospital")), _pair("partof", st.just("Organization/h1"))],
            "Group": [_pair("member", st.one_of(self.patients, st.just("Practitioner/dr1")))],
            "CareTeam": [_pair("patient", self.patients), _pair("participant", st.just("Practitioner/dr1"))],
            "PractitionerRole": [_pair("practitioner.family", st.sampled_from(FAMILIES))],
            "Practitioner": [_pair("family", st.sampled_from(FAMILIES))],
        }

    @cached_property
    def searches(self) -> st.SearchStrategy[tuple[str, tuple[tuple[str, str], ...]]]:
        """Searches as their type and parameters."""
        everywhere = [
            _pair("_id", self.ids),
            _pair("_lastUpdated", self.dates),
            _pair("_tag", st.sampled_from(["a", "urn:tag|b"])),
            _pair("_tag:missing", BOOLEANS),
            _pair("_security", st.sampled_from([f"{ACT_CODE}|HIV", "R", f"{CONFIDENTIALITY}|"])),
            _pair("_security:not", st.sampled_from(["R", f"{ACT_CODE}|HIV"])),
        ]
        includes = {
            "Observation": ["subject", "encounter", "performer", "focus", "subject:Patient"],
            "Condition": ["subject", "asserter", "encounter"],
            "Encounter": ["subject", "service-provider"],
            "Appointment": ["actor", "patient"],
            "Patient": ["general-practitioner", "organization", "link"],
        }

        @cache
        def pairs_of(type: str) -> st.SearchStrategy[list[tuple[str, str]]]:
            own = st.one_of(self.parameters[type])
            return st.lists(st.one_of(own, own, own, st.one_of(everywhere)), max_size=2)

        @st.composite
        def made(draw: st.DrawFn) -> tuple[str, tuple[tuple[str, str], ...]]:
            type = draw(st.sampled_from([*TYPES[:7], *TYPES]))
            pairs = draw(pairs_of(type))
            for name, values in SHAPING.items():
                if draw(st.integers(0, 3)) == 3:
                    pairs.append((name, draw(values)))
            if type in includes and draw(st.integers(0, 2)) == 2:
                pairs.append(("_include", f"{type}:{draw(st.sampled_from(includes[type]))}"))
            if "date" in {found for found in ("date",) if type in ("Observation", "Encounter", "Appointment")}:
                pairs += draw(st.sampled_from([[], [], [("_sort", "date")], [("_sort", "-date")]])) * (
                    "_sort" not in dict(pairs)
                )
            return type, tuple(pairs)

        return made()

    def gets(self) -> st.SearchStrategy[str]:
        """Return relative URLs of everything that can be asked for by GET."""
        place = self.places.map("/".join)
        doors = Doors(self.ids, self.patients, self.places, FAMILIES, wide=self.wide).paths()
        return st.one_of(
            self.searches.map(url),
            self.searches.map(url),
            doors,
            doors,
            doors,
            place,
            place.map(lambda found: f"{found}/_history"),
            st.builds("{}/_history/{}".format, place, st.integers(1, 4)),
            st.sampled_from(TYPES).map(lambda type: f"{type}?_cursor=AAAA"),
        )

    def asked(self) -> st.SearchStrategy[Asked]:
        """Return requests of every kind that only reads."""
        get = self.gets()
        known = st.sampled_from([(), (), (("If-None-Match", 'W/"1"'),), (("Prefer", "handling=lenient"),)])
        return st.one_of(
            st.builds(lambda path, headers: Asked("GET", path, headers=headers), get, known),
            st.builds(lambda path, headers: Asked("GET", path, headers=headers), get, known),
            self.searches.map(posted),
            st.lists(get, min_size=1, max_size=4).map(batch),
            get.map(lambda path: Asked("HEAD", path)),
        )

    def everything(self) -> Asked:
        """Return one batch that reads every resource, every history, and searches every type."""
        places = [f"{type}/{id}" for type, id in self.world.places]
        return batch([*places, *(f"{place}/_history" for place in places), *(f"{type}?_count=500" for type in TYPES)])


BOOLEANS = st.sampled_from(["true", "false"])
SHAPING = {
    "_count": st.sampled_from(["0", "1", "2", "100"]),
    "_total": st.sampled_from(["none", "accurate", "estimate"]),
    "_summary": st.just("count"),
    "_sort": st.sampled_from(["_lastUpdated", "-_lastUpdated", "_id", "-_id"]),
}


def _pair(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, str]]:
    return values.map(lambda value: (name, value))


def _on(name: str, pair: tuple[str, str]) -> tuple[str, str]:
    return pair[0].format(name), pair[1]


def url(search: tuple[str, Sequence[tuple[str, str]]]) -> str:
    type, pairs = search
    return f"{type}?{urlencode(pairs)}"


def posted(search: tuple[str, Sequence[tuple[str, str]]]) -> Asked:
    """Return a search by POST."""
    type, pairs = search
    return Asked("POST", f"{type}/_search", urlencode(pairs).encode(), "application/x-www-form-urlencoded")


def batch(urls: Sequence[str]) -> Asked:
    """Return a batch of GETs."""
    entries = [{"request": {"method": "GET", "url": each}} for each in urls]
    return Asked("POST", "", json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries}).encode(), JSON)
