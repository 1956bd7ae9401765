"""Somebody who asks twins the same, step by step, and what both servers show of what was left behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.noninterference.agreements import Json
from tests.noninterference.pair import Answer, Asked, Pair
from tests.noninterference.test_writes import nameless

LEFT = ("Consent", "Provenance", "Communication")


@dataclass
class Both:
    """Somebody who asks both servers the same. made: the Consents that came of it, by their ids on each."""

    servers: Pair
    token: str
    made: list[tuple[str, str]] = field(default_factory=list)

    def same(self, method: str, path: str, body: Json | None = None) -> tuple[Answer, Answer]:
        """Ask both; return their answers. path: "{made}" stands for what was made last."""
        content = None if body is None else json.dumps(body).encode()
        ids = self.made[-1] if self.made else ("none", "none")
        clients = self.servers._client_a, self.servers._client_b
        whole, lesser = (
            self.servers._one(client, self.token, Asked(method, path.replace("{made}", id), content))
            for client, id in zip(clients, ids, strict=True)
        )
        assert whole.status < 500, (path, whole.body)
        if difference := nameless(whole).differs_from(nameless(lesser)):
            pytest.fail(f"{method} {path} {difference}")
        return whole, lesser

    def left_alike(self, types: Sequence[str] = LEFT) -> None:
        """Compare what both show of what was left behind, in whichever order."""
        for type in types:
            query = Asked("GET", f"{type}?_count=100")
            found = [nameless(each) for each in self.servers.ask(self.token, query)]
            assert found[0].status == found[1].status
            if found[0].status == 200:
                one, two = (
                    sorted(json.dumps(entry) for entry in json.loads(each.body).get("entry", ())) for each in found
                )
                assert one == two


def parameters(**values: Any) -> Json:
    parts = [(name, each) for name, value in values.items() for each in (value if isinstance(value, list) else [value])]
    return {"resourceType": "Parameters", "parameter": [{"name": name, "valueString": each} for name, each in parts]}
