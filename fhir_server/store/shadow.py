"""The stored document of a resource: its searchable shadow and its sealed body.

Everything that a query or the access predicate looks at is here in keyed form; everything else is sealed.

    _id, v, at   logical id, version number, last updated (microseconds since 1970 UTC)
    org          custodian: id of the Organization that the record belongs to; of an AuditEvent, whose auditors see it
    pat, pats    person key of the compartment; all of them only where there are several
    me           a Patient's own person key
    pr           ids of the Patients that the compartment's references name
    lab          keyed security labels, of this and every earlier version (consent.md, D21)
    ix, has      keyed index terms: those by which documents are found, and which parameters there are values for
    r, s         ranges, sort values (search/project.py)
    e            by date parameter by which people search alone, the extent {lo, hi} of what has not one short time
                 (search/ranges.py)
    to           by reference parameter, the keyed terms of the resources of this server that it leads to
    c            keyed terms by which a Consent's provision can mean the record: codes, profiles, authors, what it refers
                 to; and those by which a scope can (store/terms.py)
    g            by parameter, positions as [longitude, latitude]
    d            number of the definitions that it is filed under (store/numbers.py)
    w            clinical time {lo, hi}; where a record says nothing of it, when it was last updated
    k, h         data key id, keyed digest of the content
    chain        of an AuditEvent, what binds it to the one before it (audit/links.py)
    dl           id of the delivery that it came with, if it was received from elsewhere (store/received.py)
    m            mark: keyed code over type, id, version and all of these that decide who sees the record (store/marks.py)
    body         SM4-GCM sealed JSON
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from fhir_server.crypto.tokens import Tokens
from fhir_server.definitions.registry import Registry
from fhir_server.labelling.labeller import Labeller
from fhir_server.search.project import Projection, Projector, Span
from fhir_server.search.ranges import bounded, extent
from fhir_server.store.clinical import clinical_time
from fhir_server.store.instants import instant
from fhir_server.store.mentioned import Mentioned, held, mentioned
from fhir_server.store.terms import consent_terms, own_terms, scope_terms, self_term

Document = dict[str, Any]


def personal_types(registry: Registry) -> frozenset[str]:
    """Return the types whose resources can be a person's records.

    Those of the Patient compartment; Binary, which belongs to whom the resource in its securityContext belongs (FHIR R4
    Binary, "Security Context for Binary"); and Bundle, which belongs to all whose records it holds.
    """
    return frozenset({*registry.compartment("Patient"), "Patient", "Binary", "Bundle"})


@dataclass(frozen=True, slots=True)
class Membership:
    """Whose record it is: the Patients that its compartment references name, and the person key of each as it was read.

    What is filed and what guards it (store/persons.py) both go by these keys: read twice, they could differ.
    """

    patients: tuple[str, ...] = ()
    keys: tuple[int, ...] = ()

    @property
    def persons(self) -> tuple[int, ...]:
        """The person keys, each once, sorted."""
        return tuple(sorted(set(self.keys)))


class Shadows:
    """Builds shadows of resources."""

    def __init__(
        self,
        registry: Registry,
        projector: Projector,
        index: Tokens,
        labels: Tokens,
        *,
        base_url: str,
        labeller: Labeller | None = None,
    ) -> None:
        self._base = f"{base_url}/"
        self._compartment = registry.compartment("Patient")
        self.personal = personal_types(registry)
        self._projector = projector
        self._index = index
        self._labels = labels
        self.labeller = labeller or Labeller()

    def patients(self, resource: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the ids of the Patients in whose compartment a resource is: itself, or by the compartment's parameters.

        Source: FHIR R4 CompartmentDefinition "patient". A reference that merely mentions a patient does not count.
        """
        type = resource["resourceType"]
        found = {resource["id"]} if type == "Patient" and "id" in resource else set()
        found.update(id for each in held(resource) for id in self.patients(each))
        if type == "Binary":
            context = str(resource.get("securityContext", {}).get("reference", "")).split("/")
            found.update(context[1:2] if context[0] == "Patient" else ())
        for parameter in self._compartment.get(type, ()):
            for reference in self._projector.references(type, parameter, dict(resource)):
                of, _, id = reference.partition("/")
                if of == "Patient":
                    found.add(id)
        return tuple(sorted(found))

    def labels(self, resource: Mapping[str, Any], said: Mentioned) -> set[int]:
        """Return the keyed form of all security labels of a resource: stated, or following from what it holds."""
        return {self._labels(each) for each in self.labeller.canonical(resource, said.codings)}

    def term(self, text: str) -> int:
        """Return the keyed form of an index term."""
        return self._index(text)

    def of(
        self,
        resource: dict[str, Any],
        *,
        at: int,
        custodian: str,
        members: Membership,
        labels: Iterable[int],
        extra: Iterable[str],
        said: Mentioned | None = None,
    ) -> Document:
        """Return the shadow of a resource that already carries its id and meta; without body, key and digest.

        labels: keyed labels of earlier versions, which stay. extra: further index terms in plain form. said: what the
        resource mentions, where that is known.
        """
        found, said = self._projector(resource), said or mentioned(resource)
        shadow: Document = {
            "_id": resource["id"],
            "v": int(resource["meta"]["versionId"]),
            "at": at,
            "org": custodian,
            **self._indexed(resource, found, extra),
            "c": sorted(self._index.every(chain(consent_terms(resource, said, self._base), scope_terms(found)))),
            "w": clinical_time(found) or {"lo": at, "hi": at},
        }
        if members.persons:
            shadow["pat"] = members.persons[0]
            shadow["pr"] = list(members.patients)
        if len(members.persons) > 1:
            shadow["pats"] = list(members.persons)
        if lab := sorted({*labels, *self.labels(resource, said)}):
            shadow["lab"] = lab
        return shadow

    def index(self, resource: dict[str, Any]) -> Document:
        """Return the index fields (ix, has, r, s, e, to, g) of a resource."""
        return self._indexed(resource, self._projector(resource))

    def _indexed(self, resource: Mapping[str, Any], found: Projection, extra: Iterable[str] = ()) -> Document:
        fields: Document = {
            "ix": sorted(self._index.every(chain(found.filed, own_terms(resource), extra))),
            "has": sorted(self._index.every(found.present)),
        }
        if found.ranges:
            fields["r"] = {code: [self._span(span) for span in spans] for code, spans in found.ranges.items()}
            alone = bounded(resource["resourceType"]) & found.ranges.keys()
            if long := {code: ends for code in alone if (ends := extent(found.ranges[code]))}:
                fields["e"] = {code: {"lo": lo, "hi": hi} for code, (lo, hi) in long.items()}
        if found.sort:
            fields["s"] = dict(found.sort)
        if found.links:
            fields["to"] = {code: sorted(self._index.every(map(self_term, led))) for code, led in found.links.items()}
        if points := {code: each for code, each in found.points.items() if each}:
            fields["g"] = {code: [list(point) for point in each] for code, each in points.items()}
        return fields

    def _span(self, span: Span) -> Document:
        stored: Document = {
            "lo": -math.inf if span.lo is None else span.lo,
            "hi": math.inf if span.hi is None else span.hi,
        }
        if span.second:
            lo, hi = span.second
            stored |= {"lo2": -math.inf if lo is None else lo, "hi2": math.inf if hi is None else hi}
        if span.terms:
            stored["t"] = [self._index(term) for term in span.terms]
        return stored


def stamped(resource: Mapping[str, Any], *, id: str, version: int, at: int) -> dict[str, Any]:
    """Return the resource as it is stored: with its id, versionId and lastUpdated."""
    meta = {**resource.get("meta", {}), "versionId": str(version), "lastUpdated": instant(at)}
    rest = {key: value for key, value in resource.items() if key not in ("resourceType", "id", "meta")}
    return {"resourceType": resource["resourceType"], "id": id, "meta": meta, **rest}
