"""The lexical layer of search values: alternatives, parts, escapes, prefixes (FHIR R4 Search, "Escaping")."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fhir_server.errors import InvalidSearchValue

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")

_NAME = re.compile(r"[A-Za-z_][A-Za-z_:.-]{0,99}", re.ASCII)
_ESCAPED = re.compile(r"\\([\\,$|])")


def split(text: str, separator: str) -> list[str]:
    r"""Return the parts of a text between separators that are not escaped; escapes stay as they are.

    >>> split(r"a\,b,c", ",")
    ['a\\,b', 'c']
    """
    if "\\" not in text:
        return text.split(separator)
    parts, escaped = [""], False
    for character in text:
        if character == separator and not escaped:
            parts.append("")
        else:
            parts[-1] += character
        escaped = character == "\\" and not escaped
    return parts


def unescaped(text: str) -> str:
    r"""Return the text that was meant.

    >>> unescaped(r"a\,b\\c\x")
    'a,b\\c\\x'
    """
    return _ESCAPED.sub(r"\1", text)


def prefixed(code: str, text: str) -> tuple[str, str]:
    """Return (prefix, rest) of an ordered value; "eq" where none is given.

    >>> prefixed("date", "ge2020"), prefixed("date", "2020")
    (('ge', '2020'), ('eq', '2020'))
    """
    if text[:1].isdigit() or text[:1] in "+-.":
        return "eq", text
    if text[:2] in PREFIXES:
        return text[:2], text[2:]
    raise InvalidSearchValue(f"The value of {code} begins with an unknown prefix.")


def shown(name: str) -> str:
    """Return a parameter's name as a message may say it; what cannot be a name may be a misplaced value.

    >>> shown("subject:Patient.name"), shown("张三")
    ('subject:Patient.name', 'this parameter')
    """
    return name if _NAME.fullmatch(name) else "this parameter"


def presence(code: str) -> str:
    """Return the term of everything that has a value for the parameter at all (for :missing).

    Such terms are stored apart from the others: nearly every document has them, so no index would help to find any.
    """
    return f"{code}:present|"


def field(text: str) -> str:
    r"""Return one field of an index term, in which the separator cannot be mistaken.

    >>> field("urn:a|b")
    'urn:a\\|b'
    """
    if "|" not in text and "\\" not in text:
        return text
    return text.replace("\\", "\\\\").replace("|", "\\|")


def terms(code: str, forms: Iterable[str]) -> tuple[str, ...]:
    """Return the index terms of a parameter's forms; a form begins with "|" or with ":" and its kind."""
    return tuple(code + form for form in forms)
