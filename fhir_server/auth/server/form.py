"""The parameters of a request to the token, revocation and introspection endpoints.

Source: RFC 6749, 3.2: application/x-www-form-urlencoded, in the body alone, no parameter twice, an empty one is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from fhir_server.auth.server.problems import invalid_request

MOST_BYTES = 64 * 1024
MOST_FIELDS = 50


class Form(Mapping[str, str]):
    """What was sent, by name."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = {name: value for name, value in given.items() if value}

    def __getitem__(self, name: str) -> str:
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def needed(self, name: str) -> str:
        """Return a parameter that has to be there. Raises invalid_request."""
        if name not in self._given:
            raise invalid_request(f"The parameter {name} is missing.")
        return self._given[name]


async def read_form(request: Request) -> Form:
    """Return the form of a request. Raises invalid_request."""
    type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if type != "application/x-www-form-urlencoded":
        raise invalid_request("Send the parameters as application/x-www-form-urlencoded in the body.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise invalid_request("The body is too large.")
    return parsed(body)


def parsed(body: bytes) -> Form:
    """Return the form that a body holds. Raises invalid_request."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        raise invalid_request("The form cannot be read.") from None
    given = dict(pairs)
    if len(given) != len(pairs):
        raise invalid_request("A parameter is there more than once.")
    return Form(given)
