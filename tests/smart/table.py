"""What a row of the table of requirements is, what a refusal of the token endpoint is, and asking many times at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

    from tests.smart.world import World


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement on a server.

    name: of the row, unique. section: of SMART App Launch 2.2, or of the document that it rests on. says: the requirement
    in our words. holds: asserts it against a running server.
    """

    name: str
    section: str
    says: str
    holds: Callable[[World], None]


def named(group: str) -> Callable[[str, str, str, Callable[[World], None]], Requirement]:
    """Return what makes the requirements of a group: of name (in the group), section, says and holds."""

    def row(name: str, section: str, says: str, holds: Callable[[World], None]) -> Requirement:
        return Requirement(f"{group}-{name}", section, says, holds)

    return row


def refused(answer: httpx.Response, *errors: str) -> None:
    """Assert that an answer is one of these errors, in the form of RFC 6749, 5.2, and gives nothing."""
    assert answer.status_code in (400, 401), f"{answer.status_code} {answer.text}"
    said = answer.json()
    assert said["error"] in errors, said
    assert not {"access_token", "refresh_token", "id_token"} & set(said)
    assert answer.headers["cache-control"] == "no-store"


def at_once(ask: Callable[[], httpx.Response], times: int = 8) -> list[httpx.Response]:
    """Return the answers to the same request, asked so often at the same time."""
    with ThreadPoolExecutor(times) as pool:
        return [future.result() for future in [pool.submit(ask) for _ in range(times)]]
