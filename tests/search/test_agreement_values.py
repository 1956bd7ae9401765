"""Names, words, positions, types of identifiers, two ranges: MongoDB gives the answer of the resource itself."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import strategies as st
from pymongo import MongoClient

from fhir_server.crypto.tokens import Tokens
from fhir_server.definitions.registry import registry
from fhir_server.fhir_json import FhirDecimal
from fhir_server.search.ast import needs_body
from fhir_server.search.mongo import to_filter
from fhir_server.store.shadow import Shadows
from tests.search.reading import BASE, MATCHES, PROJECT, clause
from tests.search.strategies import many, prefixes, some
from tests.search.test_agreement import drawn

TOKENS = Tokens(bytes(32))
SHADOWS = Shadows(registry(), PROJECT, TOKENS, TOKENS.of("label"), base_url=BASE)

names = st.sampled_from(["张三", "张", "三丰", "單田芳", "曾乐", "Zhang San", "Müller", "欧阳 A", "重庆市第一人民医院"])
patients = st.builds(
    lambda name, identifier: {"resourceType": "Patient", "name": name, "identifier": identifier},
    many(some(text=names, family=names, given=many(names))),
    many(
        some(
            value=st.sampled_from(["1", "2|x"]),
            type=some(coding=many(some(system=st.sampled_from(["s", "t|"]), code=st.sampled_from(["MR", "SS"])))),
        )
    ),
)
asked_names = st.sampled_from(
    "zhang|z|zs|zhang san|zhangsan|san|sanfeng|shan|dan|tf|yue|le|zengyue|ouyang a|cqs|chongqing|张|三|mull|zang|章".split(
        "|"
    )
).map(quote)
patient_queries = st.builds("Patient?{}={}".format, st.sampled_from(["name", "given", "phonetic"]), asked_names) | (
    st.sampled_from(["s|MR|1", "t\\||SS|1", "s|ss|2\\|x", "s|MR|2"]).map(
        lambda text: f"Patient?identifier:of-type={text}"
    )
)

said = st.text(st.sampled_from("左侧乳腺ab x,"), min_size=1, max_size=8)
conditions = st.builds(
    lambda div, note: {"resourceType": "Condition", "text": {"div": f"<div>{div}</div>"}, "note": [{"text": note}]},
    said,
    said,
)
words = st.text(st.sampled_from("左侧乳腺abx"), min_size=1, max_size=3)
condition_queries = st.builds(
    lambda code, found: f"Condition?{code}={quote(found)}",
    st.sampled_from(["_text", "_content"]),
    words
    | st.builds("{} {}".format, words, words)
    | st.builds("{} OR {}".format, words, words)
    | words.map('"{}"'.format),
)

degrees = st.sampled_from(["0", "0.1", "-0.1", "45", "89.9", "-90", "90"])
longitudes = degrees | st.sampled_from(["179.95", "-179.95", "180", "-180"])
locations = st.builds(
    lambda latitude, longitude: {
        "resourceType": "Location",
        "position": {"latitude": latitude, "longitude": longitude},
    },
    degrees.map(FhirDecimal),
    longitudes.map(FhirDecimal),
)
location_queries = st.builds(
    "Location?near={}|{}|{}|km".format, degrees, longitudes, st.sampled_from(["1", "12", "30", "5001", "9000", "19999"])
)

ends = st.integers(1, 4)
sequences = st.builds(
    lambda variants: {
        "resourceType": "MolecularSequence",
        "referenceSeq": {"chromosome": {"coding": [{"code": "1"}]}},
        "variant": variants,
    },
    many(some(start=ends, end=ends)),
)
sequence_queries = st.builds(
    "MolecularSequence?chromosome-variant-coordinate={}${}{}${}{}".format,
    st.sampled_from(["1", "2"]), prefixes, ends, prefixes, ends,
)  # fmt: skip


@pytest.mark.parametrize(
    ("type", "strategy", "queries"),
    [
        ("Patient", patients, patient_queries),
        ("Condition", conditions, condition_queries),
        ("Location", locations, location_queries),
        ("MolecularSequence", sequences, sequence_queries),
    ],
)
def test_mongodb_gives_the_answer_of_the_resource(
    type: str, strategy: st.SearchStrategy[Any], queries: st.SearchStrategy[str], mongo_uri: str, database_name: str
) -> None:
    resources = {str(number): {**each, "id": str(number)} for number, each in enumerate(drawn(strategy, 100))}
    with MongoClient(mongo_uri) as client:
        collection: Any = client[database_name][type]
        collection.insert_many([{"_id": id, **SHADOWS.index(each)} for id, each in resources.items()])
        collection.create_index("ix")
        found_any = 0
        for query in drawn(queries, 120):
            wanted = clause(query)
            by_index = {each["_id"] for each in collection.find(to_filter(wanted, TOKENS), {"_id": 1})}
            by_reading = {id for id, resource in resources.items() if MATCHES(wanted, resource)}
            found_any += bool(by_reading)
            assert by_reading <= by_index if needs_body(wanted) else by_reading == by_index, query
        assert found_any > 15
