"""Bodies as they are stored: the JSON of a resource, packed, then sealed for the place in which it stands."""

from __future__ import annotations

from fhir_server.crypto.sealing import Unsealable, seal, unseal
from fhir_server.store.packing import Unpackable, packed, unpacked


def sealed(key: bytes, type: str, id: str, version: int, body: bytes) -> bytes:
    """Return a body (JSON) sealed under a data key for its place."""
    return seal(key, packed(body), place(type, id, version))


def opened(key: bytes, type: str, id: str, version: int, stored: bytes) -> bytes:
    """Return the body (JSON) of stored bytes. Raises Unsealable unless they were sealed by this key for this place."""
    plain = unseal(key, stored, place(type, id, version))
    try:
        return unpacked(plain)
    except Unpackable as error:
        raise Unsealable(str(error)) from error


def place(type: str, id: str, version: int) -> bytes:
    """Return what a sealed body is bound to, so that no body can stand in for another."""
    return f"{type}/{id}/{version}".encode()
