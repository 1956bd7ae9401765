"""HumanNames as people write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shown_of(name: Mapping[str, Any]) -> str:
    """Return a HumanName as people write it: Chinese names without spaces.

    >>> shown_of({"family": "张", "given": ["三"]}), shown_of({"family": "Li", "given": ["An"]})
    ('张三', 'An Li')
    """
    if name.get("text"):
        return str(name["text"])
    family, given = name.get("family", ""), name.get("given", [])
    if family.isascii():
        return " ".join(each for each in (*given, family) if each)
    return "".join((family, *given))
