"""A keyring split among several: enough shares give it back, fewer tell nothing, and a wrong one is noticed."""

from __future__ import annotations

import json
import random
import stat
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.crypto import shares
from fhir_server.crypto.keyfile import KeyFile, Secrets, generated, serialised
from fhir_server.crypto.keyring import Keyring, KeyringError
from fhir_server.crypto.shamir import joined, over, split, times
from fhir_server.crypto.shares import Share

PASSPHRASE = "a passphrase of a holder"


def _times(a: int, b: int) -> int:
    """Multiply in GF(256) as FIPS 197, 4.2 writes it out: by shifts, modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def test_the_field_is_that_of_the_standard() -> None:
    for a in range(256):
        for b in range(256):
            assert times(a, b) == _times(a, b)
            if b:
                assert times(over(a, b), b) == a


@given(secret=st.binary(max_size=40), threshold=st.integers(2, 5), more=st.integers(0, 3), seed=st.integers(0, 9))
def test_enough_shares_give_the_secret_whichever_they_are(secret: bytes, threshold: int, more: int, seed: int) -> None:
    parts = split(secret, shares=threshold + more, threshold=threshold)
    chosen = random.Random(seed).sample(sorted(parts), threshold)
    assert joined({x: parts[x] for x in chosen}) == secret


def test_one_share_too_few_is_as_likely_for_every_secret() -> None:
    """For two shares of a threshold of three, and every byte: exactly one random choice of 256 fits each secret."""
    found = Counter(
        secret
        for secret in range(256)
        for second in range(256)
        # the value at 1 is 7 fixes the third coefficient; the value at 2 then has to be 9
        if secret ^ times(second, 2) ^ times(secret ^ second ^ 7, times(2, 2)) == 9
    )
    assert found == Counter(dict.fromkeys(range(256), 1))


def test_shares_of_the_same_secret_look_like_noise() -> None:
    values = Counter(split(b"\0", shares=2, threshold=2)[1][0] for _ in range(5_000))
    assert len(values) == 256
    assert max(values.values()) < 60  # 20 expected; so many come up once in 10^11 runs


@pytest.mark.parametrize(("count", "threshold"), [(3, 1), (3, 0), (2, 3), (256, 2), (0, 0)])
def test_numbers_that_do_not_fit_are_refused(count: int, threshold: int) -> None:
    with pytest.raises(KeyringError, match="threshold"):
        shares.whole(generated(), shares=count, threshold=threshold)


@pytest.fixture(scope="module")
def secrets() -> Secrets:
    return generated()


def _filed(folder: Path, made: list[Share]) -> list[Path]:
    paths = [folder / f"{each.index}.json" for each in made]
    for each, path in zip(made, paths, strict=True):
        shares.write(each, path)
    return paths


def _no_passphrase(share: Share) -> str:
    raise AssertionError("a share asks for a passphrase that it has not")


def test_any_two_of_three_files_restore_the_keyring(secrets: Secrets, tmp_path: Path) -> None:
    paths = _filed(tmp_path, shares.whole(secrets, shares=3, threshold=2))
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    for pair in combinations(paths, 2):
        found = shares.restored(shares.gathered(pair, _no_passphrase), tmp_path / "none")
        assert serialised(found) == serialised(secrets)


def test_a_file_names_the_keyring_and_which_share_it_is(secrets: Secrets, tmp_path: Path) -> None:
    (_, second, _) = _filed(tmp_path, shares.whole(secrets, shares=3, threshold=2))
    said = json.loads(second.read_text())
    assert (said["keyring"], said["index"], said["threshold"], said["shares"]) == (secrets.fingerprint, 2, 2, 3)
    assert len(said["checksum"]) == 64


def test_too_few_shares_or_one_twice_are_refused(secrets: Secrets, tmp_path: Path) -> None:
    one, *_ = _filed(tmp_path, shares.whole(secrets, shares=3, threshold=2))
    for given_paths in ([one], [one, one], []):
        with pytest.raises(KeyringError, match=r"needed|No share"):
            shares.gathered(given_paths, _no_passphrase)


def test_shares_of_different_splits_do_not_go_together(secrets: Secrets, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = _filed(tmp_path / "a", shares.whole(secrets, shares=2, threshold=2))
    other = _filed(tmp_path / "b", shares.whole(secrets, shares=2, threshold=2))
    with pytest.raises(KeyringError, match="same split"):
        shares.gathered([one[0], other[1]], _no_passphrase)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-10],
        lambda text: text.replace('"index": 1', '"index": 2'),
        lambda text: text.replace('"threshold": 2', '"threshold": 1'),
        lambda text: "{}",
        lambda text: "[]",
        lambda text: "",
    ],
)
def test_a_changed_file_is_refused(secrets: Secrets, tmp_path: Path, change: Callable[[str], str]) -> None:
    one, _ = _filed(tmp_path, shares.whole(secrets, shares=2, threshold=2))
    one.write_text(change(one.read_text()))
    with pytest.raises(KeyringError, match="damaged"):
        shares.read(one)


def test_a_file_open_to_others_is_refused_and_none_is_written_over(secrets: Secrets, tmp_path: Path) -> None:
    made = shares.whole(secrets, shares=2, threshold=2)
    one, _ = _filed(tmp_path, made)
    with pytest.raises(KeyringError, match="exists"):
        shares.write(made[0], one)
    one.chmod(0o640)
    with pytest.raises(KeyringError, match="chmod"):
        shares.read(one)


def test_a_share_that_was_forged_with_its_checksum_gives_no_keyring(secrets: Secrets, tmp_path: Path) -> None:
    one, other = shares.whole(secrets, shares=2, threshold=2)
    forged = Share(one.kind, one.keyring, one.set, 1, 2, 2, bytes(len(one.content)))
    with pytest.raises(KeyringError, match="changed"):
        shares.restored([forged, other], tmp_path / "none")


def test_a_protected_share_needs_its_passphrase(secrets: Secrets, tmp_path: Path) -> None:
    one, other = shares.whole(secrets, shares=2, threshold=2)
    kept = one.protect(PASSPHRASE)
    assert one.content not in kept.content
    path = tmp_path / "share.json"
    shares.write(kept, path)
    read = shares.read(path)
    with pytest.raises(KeyringError, match="passphrase"):
        read.opened("another passphrase")
    assert serialised(shares.restored([read.opened(PASSPHRASE), other], path)) == serialised(secrets)
    with pytest.raises(KeyringError, match="12"):
        one.protect("too short")


def test_a_sealed_keyring_opens_with_its_shares_alone(secrets: Secrets, tmp_path: Path) -> None:
    path = tmp_path / "keyring.sealed"
    sealed, made = shares.sealing(secrets, path, shares=3, threshold=2)
    sealed.put(secrets)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for master in (*secrets.masters.values(), secrets.root):
        assert master not in path.read_bytes()
    assert serialised(shares.opening(made[1:], path).read()) == serialised(secrets)
    assert serialised(shares.restored(made[:2], path)) == serialised(secrets)
    _, others = shares.sealing(secrets, path, shares=3, threshold=2)
    with pytest.raises(KeyringError, match="damaged"):
        shares.opening(others[1:], path)


def test_a_rotation_of_a_sealed_keyring_needs_no_new_shares(secrets: Secrets, tmp_path: Path) -> None:
    path = tmp_path / "keyring.sealed"
    sealed, made = shares.sealing(secrets, path, shares=2, threshold=2)
    sealed.put(secrets)
    rotated = shares.opening(made, path).change(Secrets.rotated)
    assert shares.opening(made, path).read().current == rotated.current != secrets.current


def test_no_new_keyring_is_put_beside_a_sealed_one(secrets: Secrets, tmp_path: Path) -> None:
    sealed, _ = shares.sealing(secrets, tmp_path / "keyring.sealed", shares=2, threshold=2)
    sealed.put(secrets)
    with pytest.raises(KeyringError, match="sealed"):
        Keyring.open(tmp_path / "keyring.json")
    assert not (tmp_path / "keyring.json").exists()
    assert KeyFile(tmp_path / "keyring.sealed").stamp() is not None
