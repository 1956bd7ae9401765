"""Narratives: readable XHTML passes, anything active does not."""

import pytest

from fhir_server.validation.narrative import xhtml

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'


@pytest.mark.parametrize(
    "inner",
    [
        "张三", '<p class="x" style="color:red">a<br/>b</p>', '<a href="http://x.cn/a:b">x</a>', '<a href="#top">x</a>',
        '<a href="Patient/1">x</a>', '<img src="data:image/png;base64,AA=="/>', "&#160;",
        "<table><tr><td>1 &lt; 2</td></tr></table>", "<!-- remark -->x",
    ],
)  # fmt: skip
def test_plain_narratives_pass(inner: str) -> None:
    assert xhtml(DIV.format(inner)) is None


@pytest.mark.parametrize(
    "value",
    [
        None, 3, "", "text", "<p>x</p>", "<div>", "<div/><div/>", "<script>x</script>",
        *map(DIV.format, [
            "<script>x</script>", "<SCRIPT>x</SCRIPT>", '<p onclick="x">x</p>', '<a href="javascript:x">x</a>',
            '<a href=" jAvascript:x">x</a>', '<a href="java&#10;script:x">x</a>', '<img src="data:text/html,x"/>',
            "<iframe/>", "<form/>", "<object/>", "<svg><g/></svg>", '<p style="background:url(http://x)">x</p>',
            '<base href="x"/>', '<p style="background:\\75rl(http://x)">x</p>', "<link/>", "<style>x</style>", "&nbsp;",
            "<?php x ?>", '<x:script xmlns:x="u">x</x:script>',
        ]),
        '<!DOCTYPE a [<!ENTITY b "c">]><div>&b;</div>',
        # What would not be the div of an XML resource any more.
        '<?xml version="1.0"?><div>x</div>', "<!-- x --><div>x</div>", '<div xmlns="http://hl7.org/fhir">x</div>',
    ],
)  # fmt: skip
def test_active_or_broken_narratives_are_refused(value: object) -> None:
    assert xhtml(value)
