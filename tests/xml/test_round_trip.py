"""JSON and XML say the same: row by row of the standard's two pages, and for any text.

The published examples are converted in tests/conformance/test_examples.py.

Source: FHIR R4, "XML Representation of Resources" and "JSON Representation of Resources".
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.errors import NotAcceptable
from fhir_server.fhir_json import canonical, dump, parse
from fhir_server.xml.read import from_xml
from fhir_server.xml.write import to_xml

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'
DIV = f"<div {XHTML}>{{}}</div>"

# rule, the members of a Patient as JSON, what the XML document has in it
ROWS: list[tuple[str, str, str]] = [
    ("a primitive is an attribute value", '{"birthDate":"1970-03-30"}', '<birthDate value="1970-03-30"/>'),
    ("true and false", '{"active":false}', '<active value="false"/>'),
    ("a whole number", '{"multipleBirthInteger":-2}', '<multipleBirthInteger value="-2"/>'),
    (
        "id and extensions of a primitive",
        '{"birthDate":"1970-03-30","_birthDate":{"id":"314159","extension":[{"url":"u:t","valueString":"Easter"}]}}',
        '<birthDate value="1970-03-30" id="314159"><extension url="u:t"><valueString value="Easter"/></extension>'
        "</birthDate>",
    ),
    (
        "a primitive that has an extension and no value",
        '{"_gender":{"extension":[{"url":"u:t","valueCode":"x"}]}}',
        '<gender><extension url="u:t"><valueCode value="x"/></extension></gender>',
    ),
    ("a primitive that has nothing but an id with its value", '{"gender":"male","_gender":{"id":"a"}}',
     '<gender value="male" id="a"/>'),
    ("an element repeats", '{"name":[{"given":["三","丰"]}]}', '<name><given value="三"/><given value="丰"/></name>'),
    (
        "null stands where only the other array has something",
        '{"name":[{"given":["a",null,"c"],"_given":[null,{"id":"x"},{"id":"y"}]}]}',
        '<name><given value="a"/><given id="x"/><given value="c" id="y"/></name>',
    ),
    (
        "no values at all: only the array of extensions",
        '{"name":[{"_given":[{"id":"x"},{"id":"y"}]}]}',
        '<name><given id="x"/><given id="y"/></name>',
    ),
    (
        "the array of extensions is filled up",
        '{"name":[{"given":["a","b"],"_given":[{"id":"x"},null]}]}',
        '<name><given value="a" id="x"/><given value="b"/></name>',
    ),
    ("the id of an element is an attribute", '{"name":[{"id":"n1","text":"x"}]}', '<name id="n1"><text value="x"/></name>'),
    ("the id of a resource is an element", '{"id":"p1"}', '<id value="p1"/>'),
    (
        "the url of an extension is an attribute, that of others is not",
        '{"extension":[{"url":"u:a","valueAttachment":{"url":"http://x"}}]}',
        '<extension url="u:a"><valueAttachment><url value="http://x"/></valueAttachment></extension>',
    ),
    (
        "extensions within extensions",
        '{"extension":[{"url":"u:a","extension":[{"url":"b","valueDecimal":1.50}]}]}',
        '<extension url="u:a"><extension url="b"><valueDecimal value="1.50"/></extension></extension>',
    ),
    ("a choice names its type", '{"deceasedDateTime":"2020"}', '<deceasedDateTime value="2020"/>'),
    (
        "a contained resource stands in an element of its own",
        '{"contained":[{"resourceType":"Organization","id":"o","name":"甲"},{"resourceType":"Basic","id":"b"}]}',
        '<contained><Organization><id value="o"/><name value="甲"/></Organization></contained>'
        '<contained><Basic><id value="b"/></Basic></contained>',
    ),
    (
        "the order is that of the standard",
        '{"gender":"male","id":"p1","contact":[{"gender":"other","name":{"text":"x"},"id":"c"}],"meta":{"source":"u:s"}}',
        '<id value="p1"/><meta><source value="u:s"/></meta><gender value="male"/>'
        '<contact id="c"><name><text value="x"/></name><gender value="other"/></contact>',
    ),
    ("characters of XML's own", r'{"name":[{"text":"<a> & \"b\""}]}',
     '<text value="&lt;a&gt; &amp; &quot;b&quot;"/>'),
    ("white space in a value is kept", r'{"name":[{"text":" a\n\tb\r\n c  d"}]}',
     '<text value=" a&#10;&#9;b&#13;&#10; c  d"/>'),
    ("characters beyond 16 bits", '{"name":[{"text":"𠮷🏥"}]}', '<text value="𠮷🏥"/>'),
    ("base64 stays as it is", '{"photo":[{"data":"AAECAw=="}]}', '<photo><data value="AAECAw=="/></photo>'),
]  # fmt: skip


@pytest.mark.parametrize(("members", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_json_and_xml_say_the_same(members: str, expected: str) -> None:
    patient = {"resourceType": "Patient", **parse(members.encode())}
    document = to_xml(patient)
    assert expected in document.decode()
    for each in (document, to_xml(patient, pretty=True)):
        assert canonical(from_xml(each)) == canonical(patient)


DECIMALS = ["0", "1", "-1.50", "1.00", "0.000001", "1e2", "1.5E-10", "100000000000000000000", "3.14159265358979323846"]


@pytest.mark.parametrize("digits", DECIMALS)
def test_a_decimal_keeps_its_digits(digits: str) -> None:
    raw = f'{{"resourceType":"Observation","valueQuantity":{{"value":{digits}}}}}'.encode()
    document = to_xml(parse(raw))
    assert f'<value value="{digits}"/>'.encode() in document
    assert dump(from_xml(document)) == raw


NARRATIVES = [
    "张三", "a<br/>b<br></br>c", "&lt;1 &amp; &quot;2&quot; &#160;&#xA0;\u00a0",
    "<p title='a>b'>x</p>", "  two\n\tlines\r\n ",
    "<!-- remark --><![CDATA[<a>]]>", '<a href="#x" >y</a >', "𠮷",
]  # fmt: skip


@pytest.mark.parametrize("inner", NARRATIVES)
def test_a_narrative_is_kept_to_the_letter(inner: str) -> None:
    patient = {"resourceType": "Patient", "text": {"status": "generated", "div": DIV.format(inner)}, "active": True}
    for document in (to_xml(patient), to_xml(patient, pretty=True)):
        assert from_xml(document) == patient


@pytest.mark.parametrize("div", [f"<div {XHTML}/>", f"<div {XHTML} title='a>b' />", f"<div {XHTML}></div >"])
def test_an_empty_narrative_ends_where_it_ends(div: str) -> None:
    document = f'<Patient xmlns="http://hl7.org/fhir"><text>{div}</text><active value="true"/></Patient>'
    assert from_xml(document.encode()) == {"resourceType": "Patient", "text": {"div": div}, "active": True}


@pytest.mark.parametrize("attributes", ["", " class='x'", ' title=" xmlns=" id="a>b"'])
def test_a_narrative_without_its_namespace_gets_it(attributes: str) -> None:
    patient = {"resourceType": "Patient", "text": {"status": "generated", "div": f"<div{attributes}>y</div>"}}
    expected = f"<div {XHTML}{attributes}>y</div>"
    assert expected.encode() in to_xml(patient)
    assert from_xml(to_xml(patient))["text"]["div"] == expected


@pytest.mark.parametrize("before", ["class='x>y' ", 'title="a\'b"\n'])
def test_a_narrative_that_names_its_namespace_later_keeps_it_there(before: str) -> None:
    patient = {"resourceType": "Patient", "text": {"div": f"<div {before}{XHTML}>y</div>"}}
    assert from_xml(to_xml(patient)) == patient


def test_bundles_and_parameters_hold_resources_of_any_type() -> None:
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid"}]}
    bundle = {
        "resourceType": "Bundle",
        "type": "batch-response",
        "link": [{"relation": "self", "url": "http://x/y?a=1&b=2"}],
        "entry": [
            {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "PlanDefinition", "status": "draft"}},
            {"response": {"status": "404", "outcome": outcome}},
        ],
    }
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "resource", "resource": bundle},
            {"name": "part", "part": [{"name": "value", "valueDecimal": 1}, {"name": "other", "valueBoolean": True}]},
        ],
    }
    document = to_xml(parameters)
    assert b'url value="http://x/y?a=1&amp;b=2"' in document
    assert from_xml(document) == parameters


def test_indented_xml_has_an_element_to_a_line() -> None:
    written = to_xml({"resourceType": "Patient", "name": [{"given": ["a"]}]}, pretty=True).decode()
    assert written.splitlines() == [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<Patient xmlns="http://hl7.org/fhir">',
        "  <name>",
        '    <given value="a"/>',
        "  </name>",
        "</Patient>",
    ]


def test_what_r4_does_not_define_cannot_be_written() -> None:
    for resource in ({"resourceType": "Patient", "secret": "x"}, {"resourceType": "Nonsense", "id": "x"}):
        with pytest.raises(NotAcceptable) as refused:
            to_xml(resource)
        assert "secret" not in refused.value.diagnostics


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), min_size=1
)
NAMES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"text": TEXTS | st.text(" \t\n\rx", min_size=1)}, optional={"id": st.text("abc", min_size=1), "family": TEXTS}
)


@settings(max_examples=200, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=3))
def test_any_text_comes_back_as_it_was(names: list[dict[str, Any]]) -> None:
    patient = {"resourceType": "Patient", "name": names}
    assert from_xml(to_xml(patient)) == patient
    assert from_xml(to_xml(patient, pretty=True)) == patient


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
def test_whatever_a_text_holds_the_document_is_well_formed(text: str) -> None:
    from_xml(to_xml({"resourceType": "Patient", "name": [{"text": text}]}))
