"""Keyed tokens: HMAC-SM3 as an independent implementation computes it, cut to 64 bits, apart by domain."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives import hashes
from gmssl.sm3 import sm3_hash
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.crypto.keyring import derived
from fhir_server.crypto.tokens import CACHED_LENGTH, Tokens

KEY = bytes(range(32))
BLOCK = 64  # bytes, SM3


def sm3(data: bytes) -> bytes:
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize()


def independent_hmac(key: bytes, data: bytes) -> bytes:
    """RFC 2104, section 2, over gmssl's SM3."""
    padded = key.ljust(BLOCK, b"\0")
    inner = sm3_hash([byte ^ 0x36 for byte in padded] + list(data))
    return bytes.fromhex(sm3_hash([byte ^ 0x5C for byte in padded] + list(bytes.fromhex(inner))))


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"abc", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
        (b"abcd" * 16, "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
    ],
)
def test_sm3_is_that_of_the_standard(data: bytes, digest: str) -> None:
    """GB/T 32905-2016, appendix A, examples 1 and 2."""
    assert sm3(data).hex() == digest


@pytest.mark.parametrize("term", ["", "gender||male", "name|张", "identifier|" + "1" * 500])
def test_a_token_is_the_first_64_bits_of_hmac_sm3(term: str) -> None:
    code = independent_hmac(derived(KEY, "token/term"), term.encode())
    assert Tokens(KEY)(term) == int.from_bytes(code[:8], "big", signed=True)


@given(st.text(alphabet=st.characters(codec=None), max_size=CACHED_LENGTH * 2))
def test_any_text_has_a_token_that_mongodb_can_store(term: str) -> None:
    token = Tokens(KEY)(term)
    assert -(2**63) <= token < 2**63
    assert token == Tokens(KEY)(term)


def test_a_lone_surrogate_is_not_its_escape() -> None:
    assert Tokens(KEY)("\ud800") != Tokens(KEY)("\\ud800")


def test_domains_and_keys_do_not_compare() -> None:
    terms = Tokens(KEY)
    tokens = [terms("x"), terms.of("person")("x"), terms.of("label")("x"), Tokens(bytes(32))("x")]
    assert len(set(tokens)) == len(tokens)
    assert terms.of("person")("x") == Tokens(KEY).of("person")("x") == Tokens(KEY, "person")("x")
    assert terms.of("person") is terms.of("person")
    assert terms.of("a").of("b")("x") == terms.of("b")("x")


def test_a_small_cache_changes_nothing() -> None:
    small = Tokens(KEY, cached=2)
    terms = [f"code||{number % 7}" for number in range(100)]
    assert [small(term) for term in terms] == [Tokens(KEY)(term) for term in terms]


def test_threads_may_share_it() -> None:
    shared, alone = Tokens(KEY, cached=10), Tokens(KEY)
    terms = [f"code||{number % 500}" for number in range(20_000)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(shared, terms, chunksize=100)) == [alone(term) for term in terms]


def test_repr_shows_no_key() -> None:
    assert KEY.hex() not in repr(Tokens(KEY))
    assert repr(KEY) not in repr(Tokens(KEY))
