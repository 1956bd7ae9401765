"""What is said of a patch that fails: which operation, and why, never with a value of the patch or of the resource."""

from __future__ import annotations

from fhir_server.errors import InvalidRequest, Unprocessable


def unreadable(number: int, why: str) -> InvalidRequest:
    """Return the problem of an operation that is none. number: counted from 0."""
    return InvalidRequest(f"Operation {number + 1} of the patch: {why}.")


def impossible(number: int, why: str) -> Unprocessable:
    """Return the problem of an operation that cannot be carried out on the resource as it is by then."""
    return Unprocessable(f"Operation {number + 1} of the patch: {why}. Nothing was changed.")
