"""The forms of a page, filled in and sent as a browser without scripts does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx


@dataclass
class Field:
    """One control. kind: its type attribute, or the element's name."""

    name: str
    kind: str
    value: str
    on: bool = True
    autocomplete: str = ""


@dataclass
class Form:
    """A form: where it goes, and its controls in their order."""

    action: str
    method: str
    fields: list[Field] = field(default_factory=list)

    def named(self, name: str) -> list[Field]:
        return [each for each in self.fields if each.name == name]

    def of_kind(self, *kinds: str) -> list[Field]:
        return [each for each in self.fields if each.kind in kinds]

    def pairs(self, filled: dict[str, str], pressed: Field | None) -> list[tuple[str, str]]:
        """Return what is sent: the text fields as filled, what is ticked, and the one button that was pressed."""
        return [*_sent(self.fields, filled), *([(pressed.name, pressed.value)] if pressed and pressed.name else [])]


def _sent(fields: list[Field], filled: dict[str, str]) -> Iterator[tuple[str, str]]:
    for each in fields:
        if each.kind in ("submit", "button") or not each.name:
            continue
        if each.kind in ("checkbox", "radio"):
            chosen = each.value == filled[each.name] if each.name in filled else each.on
            if chosen:
                yield each.name, each.value
        else:
            yield each.name, filled.get(each.name, each.value)


class _Reading(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self.forms: list[Form] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = True
            self.forms.append(Form(urljoin(self._url, said.get("action", "")), said.get("method", "get").lower()))
        elif self._open and tag in ("input", "button", "textarea"):
            kind = said.get("type", "submit" if tag == "button" else "text")
            usual = "on" if kind in ("checkbox", "radio") else ""
            self.forms[-1].fields.append(
                Field(
                    said.get("name", ""),
                    kind,
                    said.get("value", usual),
                    "checked" in said or kind not in ("checkbox", "radio"),
                    said.get("autocomplete", ""),
                )
            )

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False


def forms(page: httpx.Response) -> list[Form]:
    """Return the forms of a page."""
    reading = _Reading(str(page.url))
    reading.feed(page.text)
    return reading.forms


def send(client: httpx.Client, form: Form, filled: dict[str, str], pressed: Field | None = None) -> httpx.Response:
    """Send a form. The answer is not followed where it leads elsewhere."""
    pairs = form.pairs(filled, pressed)
    if form.method == "post":
        content = str(httpx.QueryParams(pairs))
        return client.post(
            form.action,
            content=content,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Origin": _origin(form.action)},
        )
    return client.get(form.action, params=pairs)


def _origin(url: str) -> str:
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"
