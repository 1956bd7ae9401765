"""Every other way by which records leave: compartments, several types, includes, reverse chains, histories, operations.

A door that is open for nobody answers alike on both servers, so what is not offered costs nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from hypothesis import strategies as st

from tests.noninterference.filled import TYPES

Pairs = Sequence[tuple[str, str]]
CODES = ("c1", "c2", "c3")
INCLUDES = (
    "Observation:subject",
    "Observation:*",
    "Observation:encounter",
    "Encounter:subject",
    "Encounter:service-provider",
    "Condition:*",
    "Patient:link",
    "Patient:general-practitioner",
    "List:item",
    "Composition:entry",
    "*",
)
REVERSE = (
    "Observation:subject",
    "Observation:encounter",
    "Observation:patient",
    "Condition:patient",
    "Encounter:patient",
    "Appointment:actor",
    "Patient:link",
    "List:item",
    "Composition:subject",
    "Consent:patient",
    "*",
)
SORTS = (
    "family",
    "-family",
    "birthdate,-_id",
    "-date,code",
    "code,-_lastUpdated",
    "status,_id",
    "value-quantity",
    "name",
)


class Doors:
    """Strategies of relative URLs about one world.

    ids, patients, places: of what was written, and of nothing. wide: also what shows every type: the notices that
    breaking the glass leaves behind are rightly on one of the two servers alone.
    """

    def __init__(
        self,
        ids: st.SearchStrategy[str],
        patients: st.SearchStrategy[str],
        places: st.SearchStrategy[tuple[str, str]],
        families: Sequence[str],
        *,
        wide: bool,
    ) -> None:
        self.ids, self.places, self.families, self.wide = ids, places, families, wide
        self.patients = patients.map(lambda text: text.rpartition("/")[2])

    def paths(self) -> st.SearchStrategy[str]:
        """Return URLs of all kinds."""
        return st.one_of(
            self._reverse_chains(),
            self._reverse_chains(),
            self._included(),
            self._included(),
            self._compartments(),
            self._compartments(),
            self._several_types(),
            self._shaped(),
            self._listed(),
            self._filtered(),
            self._histories(),
            self._histories(),
            self._operations(),
            self._operations(),
        )

    def _reverse_chains(self) -> st.SearchStrategy[str]:
        families = st.sampled_from(self.families)
        code = st.sampled_from(CODES)
        pairs = st.one_of(
            code.map(lambda text: [("_has:Observation:patient:code", text)]),
            code.map(lambda text: [("_has:Observation:subject:code:not", text)]),
            code.map(lambda text: [("_has:Encounter:subject:_has:Observation:encounter:code", text)]),
            families.map(lambda text: [("_has:Patient:link:family", text)]),
            st.just([("_has:Observation:patient:encounter.class", "A")]),
            st.just([("_has:Composition:patient:entry:Observation.code", "c1")]),
            st.just([("_has:List:subject:item.code", "c1")]),
        )
        of_patient = st.builds(lambda found, count: _url("Patient", [*found, *count]), pairs, _counts())
        chained = families.flatmap(
            lambda text: st.sampled_from(
                [
                    f"Observation?{urlencode([('encounter:Encounter.subject:Patient.family', text)])}",
                    f"Observation?{urlencode([('subject:Patient.link.family', text)])}",
                    f"Composition?{urlencode([('entry:Observation.subject:Patient.family', text)])}",
                    f"Observation?{urlencode([('patient._has:Condition:patient:code', 'c1')])}",
                ]
            )
        )
        return st.one_of(of_patient, of_patient, chained)

    def _included(self) -> st.SearchStrategy[str]:
        reverse = [text for text in REVERSE if self.wide or text != "*"]
        one = st.one_of(
            st.sampled_from(INCLUDES).map(lambda text: ("_include", text)),
            st.sampled_from(INCLUDES).map(lambda text: ("_include:iterate", text)),
            st.sampled_from(reverse).map(lambda text: ("_revinclude", text)),
            st.sampled_from(reverse).map(lambda text: ("_revinclude:iterate", text)),
        )
        return st.builds(
            lambda type, found, count: _url(type, [*found, *count]),
            st.sampled_from(["Patient", "Observation", "Encounter", "Condition", "List", "Composition", "Appointment"]),
            st.lists(one, min_size=1, max_size=3),
            _counts(),
        )

    def _compartments(self) -> st.SearchStrategy[str]:
        types = st.sampled_from([*TYPES, *(["*"] if self.wide else [])])
        return st.one_of(
            st.builds(
                lambda id, type, pairs: f"Patient/{id}/{_url(type, pairs)}",
                self.patients,
                types,
                st.one_of(_counts(), st.just([("_sort", "-_lastUpdated")])),
            ),
            st.builds("Encounter/{}/{}".format, self.ids, types),
            st.builds("Practitioner/dr1/{}".format, types),
        )

    def _several_types(self) -> st.SearchStrategy[str]:
        types = st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True).map(",".join)
        about = st.one_of(
            st.just([]),
            self.ids.map(lambda id: [("_id", id)]),
            st.sampled_from(["a", "urn:tag|b"]).map(lambda tag: [("_tag", tag)]),
            st.just([("_sort", "-_lastUpdated")]),
        )
        return st.builds(
            lambda found, pairs, count: _url("", [("_type", found), *pairs, *count]), types, about, _counts()
        )

    def _shaped(self) -> st.SearchStrategy[str]:
        pair = st.one_of(
            st.sampled_from(["true", "text", "data", "false", "count"]).map(lambda text: [("_summary", text)]),
            st.sampled_from(["subject", "code,status", "name", "identifier"]).map(lambda text: [("_elements", text)]),
            st.sampled_from(SORTS).map(lambda text: [("_sort", text)]),
            st.sampled_from(["none", "estimate", "accurate"]).map(lambda text: [("_total", text)]),
            st.sampled_from(["张", "三", "summary", "hospital", "smith"]).map(lambda text: [("_content", text)]),
            st.just([("name", "zhang")]),
            st.just([("_contained", "both")]),
        )
        return st.builds(
            lambda type, found, count: _url(type, [*found, *count]),
            st.sampled_from(["Patient", "Observation", "Encounter", "Composition"]),
            pair,
            _counts(),
        )

    def _listed(self) -> st.SearchStrategy[str]:
        return st.builds(
            lambda type, id: _url(type, [("_list", id)]),
            st.sampled_from(["Observation", "Condition", "Patient", "Encounter"]),
            self.ids,
        )

    def _filtered(self) -> st.SearchStrategy[str]:
        found = st.sampled_from(
            [
                ("Patient", "family eq Smith or gender eq male"),
                ("Patient", "not (gender eq male) and birthdate ge 1985"),
                ("Observation", "code eq c1 and subject.family co 张"),
                ("Observation", "date gt 2026-02-01 or code ne c1"),
            ]
        )
        return found.map(lambda each: _url(each[0], [("_filter", each[1])]))

    def _histories(self) -> st.SearchStrategy[str]:
        when = st.one_of(
            st.just([]),
            st.sampled_from(["2026-06-10T08:00:30Z", "2026-06-10", "2027"]).map(lambda at: [("_since", at)]),
            st.sampled_from(["2026-06-10T08:00:30Z", "2026-06-10"]).map(lambda at: [("_at", at)]),
        )
        pairs = st.builds(lambda found, count: [*found, *count], when, _counts())
        return st.one_of(
            st.builds(lambda type, found: _url(f"{type}/_history", found), st.sampled_from(TYPES), pairs),
            *([pairs.map(lambda found: _url("_history", found))] if self.wide else []),
            st.builds(lambda place, found: _url(f"{place[0]}/{place[1]}/_history", found), self.places, pairs),
        )

    def _operations(self) -> st.SearchStrategy[str]:
        limits = st.sampled_from(["", "?_count=2", "?_type=Observation,Condition", "?start=2026-01-01&end=2026-03-01"])
        place = self.places.map("/".join)
        everything = [
            st.builds("Patient/{}/$everything{}".format, self.patients, limits),
            st.just("Patient/$everything"),
            st.just("$meta"),
        ]
        return st.one_of(
            *(everything if self.wide else []),
            st.builds("Encounter/{}/$everything".format, self.ids),
            self.patients.map(lambda id: f"Observation/$lastn?patient={id}&max=2"),
            place.map(lambda found: f"{found}/$meta"),
            st.sampled_from([*TYPES]).map(lambda type: f"{type}/$meta"),
            self.ids.map(lambda id: f"Composition/{id}/$document"),
        )


def _counts() -> st.SearchStrategy[Pairs]:
    return st.sampled_from([[], [], [("_count", "1")], [("_count", "2")], [("_count", "100")]])


def _url(path: str, pairs: Pairs) -> str:
    return f"{path}?{urlencode(pairs)}" if pairs else path
