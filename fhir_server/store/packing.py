"""Packing: a resource's JSON made small before it is sealed, since sealed bytes cannot be compressed any more.

What is short and alike, as AuditEvents are, shrinks to a tenth: Zstandard is given a dictionary, the JSON that it may
point back to. Less is then sealed, sent to MongoDB, journaled and kept (ADR 41).

Layout of what is packed: the dictionary's number (1 byte) | a Zstandard frame (RFC 8878), without checksum, since it is
sealed. A body that begins with "{" was stored before bodies were packed, and is as it is.
"""

from __future__ import annotations

import threading
from importlib.resources import files

import zstandard

# Stored bodies need the dictionary that they were packed with, to the byte: another one gets another number.
DICTIONARY = 1
LEVEL = 1


class Unpackable(Exception):
    """The bytes were not packed by this version, or an earlier one."""


class _Packers(threading.local):
    """The packer and the unpacker of one thread; neither may be used by two at once."""

    def __init__(self) -> None:
        self.packer = zstandard.ZstdCompressor(
            level=LEVEL, dict_data=_dictionary, write_checksum=False, write_dict_id=False
        )
        self.unpacker = zstandard.ZstdDecompressor(dict_data=_dictionary)


def _read() -> zstandard.ZstdCompressionDict:
    text = files("fhir_server.store").joinpath(f"dictionary_{DICTIONARY}.json").read_bytes()
    dictionary = zstandard.ZstdCompressionDict(text, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    dictionary.precompute_compress(level=LEVEL)
    return dictionary


_dictionary = _read()
_packers = _Packers()
_MARK = bytes([DICTIONARY])


def packed(body: bytes) -> bytes:
    """Return a body of any bytes, packed."""
    return _MARK + _packers.packer.compress(body)


def unpacked(stored: bytes) -> bytes:
    """Return the body of packed bytes, or of JSON that never was packed. Raises Unpackable.

    It may be a thousand times as long: only what opened under a key of the server's own is to be unpacked.
    """
    if stored[:1] == _MARK:
        try:
            return _packers.unpacker.decompress(stored[1:])
        except zstandard.ZstdError as error:
            raise Unpackable("The body's Zstandard frame is broken.") from error
    if stored[:1] == b"{":
        return stored
    raise Unpackable("The body is of a form that this version does not know: a later version has stored it.")
