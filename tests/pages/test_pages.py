"""What holds of every page: headers, no scripts, nothing from elsewhere, and what WCAG 2.2 AA asks of its markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import pytest

import fhir_server.pages
from fhir_server.auth.accounts.codes import address, new_secret, picture
from fhir_server.auth.accounts.picking import FoundPatient, FoundVisit
from fhir_server.auth.accounts.showing import Form
from fhir_server.pages.rendering import page, policy

CSS = (Path(fhir_server.pages.__file__).parent / "static" / "page.css").read_text(encoding="utf-8")
EVIL = "<script>alert(1)</script>\"'"
FORM = Form("token", "flow")
COMMON: dict[str, Any] = {"app": EVIL, "form": FORM, "signed_in": EVIL, "again": "/auth/authorize?flow=x&"}
PAGES: dict[str, dict[str, Any]] = {
    "sign_in": {"login": EVIL, "providers": (type("P", (), {"id": "a", "name": EVIL}),)},
    "code": {},
    "enrol": {"secret": "ABC", "picture": picture(address(new_secret(), EVIL, EVIL), EVIL)},
    "purpose": {"purposes": ("TREAT", "BTG"), "chosen": "TREAT", "reasoned": True},
    "patient": {
        "searchable": True,
        "q": EVIL,
        "found": [FoundPatient("1", EVIL, EVIL, (EVIL,))],
        "more": True,
        "asked": True,
    },
    "encounter": {"found": [FoundVisit("1", EVIL, EVIL)]},
    "approve": {
        "purpose": EVIL,
        "reason": EVIL,
        "patient": EVIL,
        "encounter": EVIL,
        "lasting": "lasting_offline",
        "returns": EVIL,
        "fixed": ["launch"],
        "optional": ["openid", EVIL],
    },
    "message": {"title": "error_title", "text": EVIL, "back": "/auth/sign-in"},
    "home": {"home": True, "enrolled": True, "kept": (("state", EVIL),)},
}
BOTH = [(name, lang) for name in PAGES for lang in ("zh", "en")]


class Reading(HTMLParser):
    """What a page is made of."""

    VOID: ClassVar[set[str]] = {"meta", "link", "input", "br"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.labelled: set[int] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "input" and "label" in self.open:
            self.labelled.add(len(self.tags) - 1)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def shown(name: str, lang: str, **more: Any) -> str:
    return bytes(page(name, lang, **{**COMMON, **PAGES[name], **more}).body).decode()


@pytest.mark.parametrize(("name", "lang"), BOTH)
def test_what_comes_from_elsewhere_is_text(name: str, lang: str) -> None:
    read = Reading(shown(name, lang, errors=(("x", EVIL),)))
    assert not read.all("script")
    assert not [key for _, attributes in read.tags for key in attributes if key.startswith("on") or key == "style"]
    assert read.open == []


@pytest.mark.parametrize(("name", "lang"), BOTH)
def test_nothing_is_loaded_from_elsewhere(name: str, lang: str) -> None:
    read = Reading(shown(name, lang))
    targets = [attributes[key] for _, attributes in read.tags for key in ("src", "href", "action") if key in attributes]
    assert targets
    assert all(each.startswith(("/auth/", "#")) for each in targets)


@pytest.mark.parametrize(("name", "lang"), BOTH)
def test_a_page_can_be_read_aloud_and_used_without_a_mouse(name: str, lang: str) -> None:
    read = Reading(shown(name, lang, errors=((None, "x"),)))
    assert read.all("html")[0]["lang"] == {"zh": "zh-CN", "en": "en"}[lang]
    assert len(read.all("h1")) == 1
    assert len(read.all("main")) == 1
    assert read.all("title")
    assert "width=device-width" in read.all("meta")[1]["content"]
    assert "alert" in [each.get("role") for each in read.all("div")]
    labels = {each["for"] for each in read.all("label") if "for" in each}
    for place, (tag, attributes) in enumerate(read.tags):
        if tag == "input" and attributes["type"] != "hidden":
            assert attributes.get("id") in labels or place in read.labelled
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", PAGES)
def test_every_form_is_posted_here_with_its_token(name: str) -> None:
    text = shown(name, "zh")
    assert text.count("<form") == text.count('method="post"') == text.count('name="form" value="token"')


def test_the_headers_keep_a_page_to_itself() -> None:
    headers = page("message", "zh", **COMMON, **PAGES["message"]).headers
    assert headers["content-security-policy"] == policy([])
    wanted = {
        "default-src 'none'",
        "style-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    }
    assert wanted == set(headers["content-security-policy"].split("; "))
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")


LEADS = [
    ("https://app.example.org:8443/back?x=1", "form-action 'self' https://app.example.org:8443"),
    ("http://127.0.0.1:9/back", "form-action 'self' http://127.0.0.1:9"),
]


@pytest.mark.parametrize(("url", "directive"), LEADS)
def test_a_form_may_end_at_the_app(url: str, directive: str) -> None:
    assert directive in policy([url]).split("; ")


def luminance(colour: str) -> float:
    """Return the relative luminance of "#rrggbb" (WCAG 2.2)."""
    full = colour if len(colour) == 7 else "#" + "".join(each * 2 for each in colour[1:])
    parts = [int(full[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


COLOURS = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", CSS))


@pytest.mark.parametrize(("name", "least"), [("ink", 4.5), ("quiet", 4.5), ("act", 4.5), ("bad", 4.5), ("line", 3.0)])
@pytest.mark.parametrize("ground", ["#ffffff", "#f4f6f8"])
def test_colours_can_be_told_apart(name: str, least: float, ground: str) -> None:
    assert contrast(COLOURS[name], ground) >= least


def test_the_style_sheet_loads_nothing_and_shows_the_focus() -> None:
    assert "url(" not in CSS
    assert "@import" not in CSS
    assert ":focus-visible" in CSS
    assert "outline: none" not in CSS
