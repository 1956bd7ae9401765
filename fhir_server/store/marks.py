"""Marks: a keyed code in what is stored over all of it that decides, which stands there in the clear (ADR 39).

A body is sealed; what the gate and the database go by stands beside it in keyed form, which whoever writes to MongoDB could
exchange. The mark m is HMAC-SM3, cut to 16 bytes, over type, logical id, version and those fields. Whoever stores a document
marks it, and whoever goes by one looks at its mark first. A version that becomes an earlier one is marked as such: put back
into the place of the current one, it does not fit there. `Marks` are those of documents, over all that decides who sees the
record; `RowMarks` those of other rows, such as grants, sessions and the codes that patients give back.

Source: GB/T 39786-2021, 8.4 b and c (integrity of access-control information and of security labels); RFC 2104, 5
(truncation); GB/T 32905-2016 (SM3).
"""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Iterable, Mapping
from hmac import compare_digest
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac

from fhir_server.crypto.sealing import Unsealable

FIELD = "m"
SIZE = 16  # bytes
PURPOSE = "record marks"  # of the key that is derived for them
# What is covered: these fields of a document, and its type, id and version.
COVERED = ("at", "org", "pat", "pats", "pr", "me", "lab", "c", "w", "by", "dl", "deleted", "purged")
LOG = logging.getLogger(__name__)

Document = Mapping[str, Any]


class ChangedInStore(Unsealable):
    """What decides who sees a record is not as the server stored it."""


class Earlier(dict[str, Any]):
    """A document of the history, its logical id as `_id`. What the store says of itself cannot make one of a document."""


class Marks:
    """Makes and checks the marks of one installation. Safe to share between threads."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.HMAC(key, hashes.SM3())

    def of(self, type: str, id: str, document: Document, *, earlier: bool = False) -> bytes:
        """Return the mark of a document of this type and logical id. Raises what is raised by fields that are malformed.

        earlier: it is one of the history, deletions included.
        """
        keyed = self._keyed.copy()
        keyed.update(covered(type, id, document, earlier))
        return keyed.finalize()[:SIZE]

    def marked(self, type: str, document: Document, *, id: str | None = None, earlier: bool = False) -> dict[str, Any]:
        """Return a document with its mark. id: the logical one, where `_id` is not that."""
        return {**document, FIELD: self.of(type, document["_id"] if id is None else id, document, earlier=earlier)}

    def fits(self, type: str, document: Document, *, id: str | None = None, earlier: bool = False) -> bool:
        """Return whether a document, with all its fields, carries the mark of what it says; False for what is malformed."""
        try:
            made = self.of(type, document["_id"] if id is None else id, document, earlier=earlier)
            return compare_digest(made, document[FIELD])
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError, struct.error):
            return False

    def check(self, type: str, documents: Iterable[Document]) -> None:
        """Raise ChangedInStore unless all documents, current ones or `Earlier`, carry their marks."""
        for each in documents:
            if not self.fits(type, each, earlier=isinstance(each, Earlier)):
                # An id may be anything by now, or tell of a patient: `fhir-facade check` names it.
                LOG.error("a stored %s was changed behind the server's back. See: fhir-facade check", type)
                raise ChangedInStore("What decides who sees this record was changed in the store.")


class RowMarks:
    """Makes and checks the marks of rows of one kind, whole HMAC-SM3 (32 bytes). Safe to share between threads."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.HMAC(key, hashes.SM3())

    def of(self, place: str, *said: Any) -> bytes:
        """Return what shows of a row that the server stored what it says. place: the collection.

        said: values that JSON can hold. Raises TypeError.
        """
        keyed = self._keyed.copy()
        keyed.update(json.dumps([place, *said]).encode())
        return keyed.finalize()

    def fits(self, mark: Any, place: str, *said: Any) -> bool:
        """Return whether a mark as it was read is that of what a row says."""
        try:
            return isinstance(mark, bytes) and compare_digest(mark, self.of(place, *said))
        except TypeError:
            return False


def covered(type: str, id: str, document: Document, earlier: bool) -> bytes:
    """Return the bytes that a mark is made of; no two documents of which the gate could think differently have the same.

    The numbers say how long each part is that clients choose; no other text contains a NUL.
    """
    get = document.get
    pat, me, pats, when = get("pat"), get("me"), get("pats"), document["w"]
    patients, labels, codes = get("pr", ()), get("lab", ()), get("c", ())
    flags = (
        (pat is not None)
        | (me is not None) << 1
        | (pats is not None) << 2
        | bool(get("deleted")) << 3
        | ("purged" in document) << 4
        | earlier << 5
    )
    persons = pats or ()
    numbers = (
        document["v"],
        document["at"],
        flags,
        pat or 0,
        me or 0,
        len(persons),
        len(patients),
        len(labels),
        len(codes),
        *map(len, patients),
        *persons,
        *labels,
        *codes,
    )
    texts = "\0".join((type, id, document["org"], get("by", ""), get("dl", ""), *patients))
    return struct.pack(f"<dd{len(numbers)}q", when["lo"], when["hi"], *numbers) + texts.encode()
