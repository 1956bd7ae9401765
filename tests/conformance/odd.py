"""What a careless or hostile client puts into a request: values, names and headers, right and odd ones.

Each value that a client could hold of a patient carries MARK, which no error may repeat.
"""

from __future__ import annotations

from typing import Any

# Asked for most: their collections hold something, and more of the server's paths lead through them.
COMMON = "Patient Observation Encounter Condition Consent List Group Binary AuditEvent Location ValueSet".split()
MARK = "Zqxw"
# How often each of them asks.
USERS = {"system": 9, "doctor": 6, "patient": 2, "auditor": 1, "nobody": 0.5, "forged": 0.5}

ODD_TEXTS = (
    "", " ", MARK, f"{MARK}'\"<>&", "\x00", "\u202e\ufeff", "张三", "😀", "%", "%00", "a" * 3000, "../../etc/passwd",
    "$where", ".*", "{{7*7}}", "null", "true", "-0", "1e999", "-1", "99999999999999999999999999", "0x10", "NaN", "1,2",
    "a|b|c|d", "|", "||", "$", "\\", "\\,", ",", ",,", ":", "Patient/1", "#x", "urn:uuid:x", "http://", "http://x?y#z",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1e-400, 1.5e308, 10**400, "", MARK, "\x00", "\ud7ff", [], {}, [[]], [None], {"": ""},
    {"resourceType": "Patient"}, {"extension": [{"url": ""}]}, "2020-13-45", "9999-12-31T23:59:60Z", "0000-00-00",
    {"reference": f"Patient/{MARK}"}, {"reference": "?"}, {"reference": "Patient?identifier=|"}, {"value": 1e300},
)  # fmt: skip
DATES = (
    "2020", "2020-02", "2020-02-30", "2020-02-29T24:00:00Z", "0001-01-01", "9999-12-31", "10000", "2020-01-01T00:00",
    "2020-01-01T00:00:00+14:00", "2020-01-01T00:00:00.123456789Z", "-2020", "2020-W01",
)  # fmt: skip
GOOD_DATES = ("2020", "2020-02", "2020-02-29", "1974-12-25", "2020-02-29T10:00:00Z", "2015-02-07T13:28:17+08:00")
PREFIXES = ("", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap", "xx", "eqeq")
NUMBERS = (
    "0",
    "1",
    "-1",
    "1.50",
    "1e3",
    "1e-3",
    "1e400",
    "1e-400",
    "-0.0",
    "100000000000000000000",
    "1_0",
    "١",
    ".5",
    "5.",
)
ODD_MODIFIERS = ("missing", "exact", "of-type", "Patient", "nosuch", "", "iterate", "exact:not", "identifier")
FILTERS = (
    "name co a", "birthdate ge 2020", "not (name eq a)", "(", "name", "a eq b or", f"name eq \"{MARK}\"",
    "subject.name co a", "code in http://x", "not " * 50 + "(a eq b)", "(" * 200, "a[b eq c].d eq e",
)  # fmt: skip
RESULTS = (
    ("_count", ("0", "1", "-1", "3", "99999999999", "x", "1.5")), ("_total", ("none", "accurate", "estimate", "x")),
    ("_summary", ("true", "text", "data", "count", "false", "x")), ("_contained", ("true", "both", "false", "x")),
    ("_containedType", ("container", "contained")), ("_elements", ("id", "name,x", "", "name.given", MARK)),
    ("_sort", ("_id", "-_lastUpdated", "name,-birthdate", "nosuch", "-", ",", "_lastUpdated,_lastUpdated")),
    ("_include", ("*", "Patient:*", "Observation:subject", "Observation:subject:Patient", "x", ":", "a:b:c:d")),
    ("_revinclude", ("*", "Observation:subject", "Provenance:target", "x")), ("_type", ("Patient", "Patient,x", "")),
    ("_include:iterate", ("*", "Patient:organization", "Patient:link")), ("_page", (MARK, "AAAA")), ("_after", (MARK,)),
    ("_list", ("1", "$current", MARK)), ("_filter", FILTERS), ("_text", ("a", MARK, "(a or b)", '"')),
    ("_content", ("a", "张", '"')), ("_query", ("x",)), ("_format", ("json", "xml", "html", "ttl", "x", "")),
    ("_since", DATES), ("_at", DATES), ("_pretty", ("true", "x")), ("_has", ("a",)), ("_explain", ("true",)),
    ("_has:Observation:subject:code", ("a", "http://loinc.org|1")), ("_has:Patient", ("a",)), ("_has:X:y:z", ("1",)),
    ("_has:Observation:patient:_has:Provenance:target:agent", ("Practitioner/1",)), ("subject.name", ("a",)),
    ("subject:Patient.organization.name", ("a", MARK)), ("patient.patient.patient.patient.patient.patient", ("a",)),
    ("near", ("1|1", "91|1|1|km", "1|1|1e9|km", "a|b|c", "1|1|-1")),
)  # fmt: skip
OPERATIONS = (
    "everything", "meta", "meta-add", "meta-delete", "lastn", "document", "validate", "export", "expand", "match", "x",
)  # fmt: skip
FORM = "application/x-www-form-urlencoded"
JSON, XML, JSON_PATCH = "application/fhir+json", "application/fhir+xml", "application/json-patch+json"
HEADERS = (
    ("Accept", ("*/*", XML, JSON, "text/html", "application/fhir+json;fhirVersion=5.0", ",;q", "application/octet-stream")),
    ("Prefer", ("return=minimal", "return=OperationOutcome", "handling=strict", "handling=lenient", "x;=", "respond-async")),
    ("If-Match", ('W/"1"', '"1"', "*", "x", 'W/"99999999999999999999"', "")),
    ("If-None-Match", ("*", 'W/"1"', "x")), ("If-None-Exist", ("", "identifier=a", "?x=y", "_count=1", f"name={MARK}")),
    ("If-Modified-Since", ("Wed, 21 Oct 2015 07:28:00 GMT", "x", "0")), ("Content-Encoding", ("gzip", "identity")),
    ("X-Security-Context", ("Patient/1", "x")), ("Accept-Charset", ("x",)), ("Range", ("bytes=0-1",)),
)  # fmt: skip
