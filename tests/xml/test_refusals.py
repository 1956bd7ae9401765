"""XML that is no FHIR resource is refused with its place; XML that means harm does none."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.errors import InvalidRequest, InvalidResource
from fhir_server.fhir_json import dump
from fhir_server.xml.read import DEEPEST, from_xml

PATIENT = '<Patient xmlns="http://hl7.org/fhir">{}</Patient>'
DIV = '<text><div xmlns="http://www.w3.org/1999/xhtml">{}</div></text>'
PIECES = [
    b"<",
    b"</",
    b"/>",
    b"]]>",
    b"<div xmlns='http://www.w3.org/1999/xhtml'>",
    b"</div>",
    b"&#0;",
    b"\xef\xbb\xbf",
]
SECRET = "张秘密"
BILLION_LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY lol "lol">'
    + "".join(f'<!ENTITY lol{n} "{f"&lol{n - 1 or str()};" * 10}">' for n in range(1, 10))
    + "]>"
)

NO_XML: list[tuple[str, str | bytes]] = [
    ("nothing", ""),
    ("JSON", '{"resourceType":"Patient"}'),
    ("cut off", '<Patient xmlns="http://hl7.org/fhir"><active'),
    ("not closed", '<Patient xmlns="http://hl7.org/fhir"><name></Patient>'),
    ("two roots", PATIENT.format("") * 2),
    ("a billion laughs", BILLION_LAUGHS + PATIENT.format('<id value="&lol9;"/>')),
    ("an entity of a file", '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + PATIENT.format(DIV.format("&f;"))),
    ("a DTD of elsewhere", '<!DOCTYPE Patient SYSTEM "http://127.0.0.1:1/x.dtd">' + PATIENT.format("")),
    ("a parameter entity", '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x"> %p;]>' + PATIENT.format("")),
    ("an entity that nobody declared", PATIENT.format(DIV.format("&nbsp;"))),
    ("a prefix that nobody declared", PATIENT.format("<x:active/>")),
    ("an attribute twice", PATIENT.format('<active value="true" value="false"/>')),
    ("a control character", PATIENT.format('<name><text value="\x01"/></name>')),
    ("a control character by its number", PATIENT.format('<name><text value="&#1;"/></name>')),
    ("no characters of Unicode", PATIENT.format('<name><text value="&#xFFFE;&#xD800;"/></name>')),
    ("characters that are none", PATIENT.format("<name><text value='\ufffe'/></name>")),
    ("bytes that are not UTF-8", b'<Patient xmlns="http://hl7.org/fhir"><id value="\xff"/></Patient>'),
    ("UTF-16", PATIENT.format("").encode("utf-16")),
    ("UTF-16 without a mark", PATIENT.format("").encode("utf-16-be")),
    ("another encoding declared", '<?xml version="1.0" encoding="GB18030"?>' + PATIENT.format("")),
    ("too deep", PATIENT.format('<extension url="x">' * DEEPEST + "</extension>" * DEEPEST)),
    ("a narrative that is not closed", PATIENT.format("<text><div xmlns='http://www.w3.org/1999/xhtml'></text>")),
]  # fmt: skip


@pytest.mark.parametrize("document", [row[1] for row in NO_XML], ids=[row[0] for row in NO_XML])
def test_what_is_no_xml_document_of_ours_is_a_bad_request(document: str | bytes) -> None:
    begun = time.process_time()
    with pytest.raises(InvalidRequest) as refused:
        from_xml(document if isinstance(document, bytes) else document.encode())
    assert time.process_time() - begun < 5
    assert refused.value.diagnostics.startswith("The body ")


@pytest.mark.parametrize(
    ("document", "line"), [("\n\n<Patient", "line 3 column 1"), (PATIENT.format("\n<a b=c/>"), "line 2 column 6")]
)
def test_what_is_not_well_formed_is_told_with_its_place(document: str, line: str) -> None:
    with pytest.raises(InvalidRequest, match=line):
        from_xml(document.encode())


NO_RESOURCE: list[tuple[str, str, str | None]] = [
    ("<Nonsense xmlns='http://hl7.org/fhir'/>", "not-supported", None),
    ("<HumanName xmlns='http://hl7.org/fhir'/>", "not-supported", None),
    ("<DomainResource xmlns='http://hl7.org/fhir'/>", "not-supported", None),
    ("<Patient/>", "structure", None),
    ("<Patient xmlns='urn:hl7-org:v3'/>", "structure", None),
    (f"<张三 xmlns='{SECRET}'/>", "structure", None),
    (PATIENT.format("<foo/>"), "structure", "Patient.foo"),
    (PATIENT.format("<Active value='true'/>"), "structure", "Patient.Active"),
    (PATIENT.format("<name><Family value='x'/></name>"), "structure", "Patient.name[0].Family"),
    (PATIENT.format("<name/><name><given value='a'><value/></given></name>"), "structure", "Patient.name[1].given[0].value"),
    (PATIENT.format("<active xmlns='urn:x' value='true'/>"), "structure", "Patient.active"),
    (PATIENT.format(f"<_{SECRET}/>"), "structure", "Patient"),
    (PATIENT.format(f"<active value='true' {SECRET}='x'/>"), "structure", "Patient.active"),
    (PATIENT.format("<active value='true' xml:lang='zh'/>"), "structure", "Patient.active"),
    (PATIENT.format("<name value='x'/>"), "structure", "Patient.name[0]"),
    ("<Patient xmlns='http://hl7.org/fhir' id='x'/>", "structure", "Patient"),
    (PATIENT.format(f"<active>{SECRET}</active>"), "structure", "Patient.active"),
    (PATIENT.format(f"<![CDATA[{SECRET}]]>"), "structure", "Patient"),
    (PATIENT.format("<id value='a'/><id value='b'/>"), "structure", "Patient.id"),
    (PATIENT.format("<gender id='a'/><gender id='b'/>"), "structure", "Patient.gender"),
    (PATIENT.format("<maritalStatus/><maritalStatus/>"), "structure", "Patient.maritalStatus"),
    (PATIENT.format(DIV.format("a") * 2), "structure", "Patient.text"),
    (PATIENT.format("<text><div>x</div></text>"), "structure", "Patient.text.div"),
    (PATIENT.format("<text><p xmlns='http://www.w3.org/1999/xhtml'>x</p></text>"), "structure", "Patient.text.p"),
    (PATIENT.format("<contained><name/></contained>"), "structure", "Patient.contained[0].name"),
    (PATIENT.format("<contained><Basic/><Basic/></contained>"), "structure", "Patient.contained[0]"),
    (PATIENT.format("<contained><Basic><foo/></Basic></contained>"), "structure", "Patient.contained[0].foo"),
    (PATIENT.format("<extension url='u'><valueQuantity><foo/></valueQuantity></extension>"), "structure",
     "Patient.extension[0].value.ofType(Quantity).foo"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "code", "where"), NO_RESOURCE, ids=[row[0][:60] for row in NO_RESOURCE])
def test_what_r4_does_not_define_is_named_and_never_quoted(document: str, code: str, where: str | None) -> None:
    with pytest.raises(InvalidResource) as refused:
        from_xml(document.encode())
    ((found, place, text),) = refused.value.found
    assert (found, place) == (code, where)
    assert SECRET not in text


READ: list[tuple[str, dict[str, object]]] = [
    ("<active value='true'/>", {"active": True}),
    ("<active value='TRUE'/>", {"active": "TRUE"}),
    ("<active value='1'/>", {"active": "1"}),
    ("<multipleBirthInteger value='05'/>", {"multipleBirthInteger": "05"}),
    ("<multipleBirthInteger value='5.0'/>", {"multipleBirthInteger": 5.0}),
    ("<multipleBirthInteger value=' 5'/>", {"multipleBirthInteger": " 5"}),
    ("<gender/>", {"gender": None}),
    ("<gender value=''/>", {"gender": ""}),
    ("<name/>", {"name": [{}]}),
    ("<contained/>", {"contained": [None]}),
]


@pytest.mark.parametrize(("inner", "members"), READ)
def test_a_wrong_value_is_left_to_validation(inner: str, members: dict[str, object]) -> None:
    assert from_xml(PATIENT.format(inner).encode()) == {"resourceType": "Patient", **members}


TAKEN = [
    '<?xml version="1.0"?>\n<?xml-stylesheet href="http://127.0.0.1:1/x"?><!-- a --><Patient xmlns="http://hl7.org/fhir">'
    '<!-- b --><active value="true"/>\n<?pi x?></Patient><!-- c -->',
    '<?xml version="1.0" encoding="utf-8"?><f:Patient xmlns:f="http://hl7.org/fhir"><f:active value="true"/></f:Patient>',
    '<Patient xmlns="http://hl7.org/fhir" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    ' xsi:schemaLocation="http://hl7.org/fhir ../patient.xsd"><active value="true"></active></Patient>',
    '\ufeff<Patient xmlns="http://hl7.org/fhir"><active value="&#116;rue"/></Patient>',
]


@pytest.mark.parametrize("document", TAKEN)
def test_what_is_no_part_of_a_resource_is_passed_over(document: str) -> None:
    assert from_xml(document.encode()) == {"resourceType": "Patient", "active": True}


def test_a_narrative_behind_a_byte_order_mark_is_cut_out_whole() -> None:
    document = "\ufeff" + PATIENT.format("<!-- 张 -->" + DIV.format("李<br/>"))
    assert from_xml(document.encode())["text"]["div"] == '<div xmlns="http://www.w3.org/1999/xhtml">李<br/></div>'


def test_a_narrative_may_be_deep() -> None:
    deep = "<p>" * 10_000 + "</p>" * 10_000
    assert deep in from_xml(PATIENT.format(DIV.format(deep)).encode())["text"]["div"]


WHOLE = PATIENT.format(
    "<!-- x --><id value='p'/>"
    + DIV.format("a<br/>")
    + "<contained><Basic><id value='b'/></Basic></contained><name id='n'><given value='a'/><given id='x'/></name>"
).encode()
CUTS = st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 40), st.binary(max_size=4) | st.sampled_from(PIECES))


@settings(max_examples=500, deadline=None)
@given(st.lists(CUTS, min_size=1, max_size=3))
def test_nothing_but_a_resource_or_a_problem_comes_of_any_bytes(cuts: list[tuple[int, int, bytes]]) -> None:
    document = WHOLE
    for start, length, instead in cuts:
        document = document[:start] + instead + document[start + length :]
    try:
        resource = from_xml(document)
    except (InvalidRequest, InvalidResource):
        return
    assert resource["resourceType"]
    dump(resource)
