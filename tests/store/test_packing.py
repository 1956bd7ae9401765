"""Bodies are packed before they are sealed; what was stored before, or with this dictionary, opens for good."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.audit.event import Happening, Touched, audit_event
from fhir_server.crypto.sealing import Unsealable, new_key, seal
from fhir_server.demo.data import HOSPITAL_B, resources
from fhir_server.fhir_json import dump
from fhir_server.store import bodies
from fhir_server.store.packing import DICTIONARY, Unpackable, packed, unpacked
from tests.shared import examples

# A body as the first version of packing has stored it. It opens for as long as there are such bodies.
STORED = bytes.fromhex("0128b52ffd20248d0000203939227d0350000d028bec87ac60cd01")
WAS = b'{"resourceType":"Patient","id":"99"}'


@given(st.binary(max_size=5_000))
def test_whatever_is_packed_comes_out_again(body: bytes) -> None:
    assert unpacked(packed(body)) == body


def test_the_dictionary_is_the_one_that_bodies_were_packed_with() -> None:
    """Another dictionary needs another number, and this one stays beside it."""
    text = files("fhir_server.store").joinpath(f"dictionary_{DICTIONARY}.json").read_bytes()
    assert (DICTIONARY, sha256(text).hexdigest()) == (
        1,
        "848d54653783d1972c707c7e565b00307f376dbe140c94324cab7dc4f7673004",
    )
    assert unpacked(STORED) == WAS


def test_what_was_stored_before_bodies_were_packed_opens() -> None:
    key = new_key()
    stored = seal(key, WAS, bodies.place("Patient", "99", 1))
    assert bodies.opened(key, "Patient", "99", 1, stored) == WAS


@pytest.mark.parametrize("plain", [b"", b"\x02rest", b"\x01", b"\x01no frame", packed(WAS)[:-3]], ids=repr)
def test_a_form_that_is_not_known_opens_nothing(plain: bytes) -> None:
    with pytest.raises(Unpackable):
        unpacked(plain)
    key = new_key()
    with pytest.raises(Unsealable):
        bodies.opened(key, "Patient", "99", 1, seal(key, plain, bodies.place("Patient", "99", 1)))


def test_a_body_opens_in_its_place_alone() -> None:
    key = new_key()
    stored = bodies.sealed(key, "Patient", "99", 1, WAS)
    for place in (("Observation", "99", 1), ("Patient", "98", 1), ("Patient", "99", 2)):
        with pytest.raises(Unsealable):
            bodies.opened(key, *place, stored)


def test_threads_pack_and_unpack_at_once() -> None:
    texts = [dump(each) for each in resources(HOSPITAL_B)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda body: unpacked(packed(body)), texts * 20)) == texts * 20


def test_what_is_alike_becomes_small() -> None:
    """An AuditEvent shrinks to less than a fifth, and records that the dictionary knows nothing of to less than half."""
    touched = Touched(f"Observation/{os.urandom(8).hex()}/_history/3", "hospital-b", (os.urandom(8).hex(),))
    event = dump(audit_event(Happening("read", touched=(touched,)), None, id=os.urandom(16).hex(), at=1))
    assert len(packed(event)) * 5 < len(event)
    others = [dump(each) for each in examples("Condition")]
    assert sum(len(packed(each)) for each in others) * 2 < sum(map(len, others))
