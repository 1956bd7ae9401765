"""SM2's encryption and key exchange, as the standard prints them. Nothing here uses either: an HSM or a gateway may."""

from __future__ import annotations

import os

import pytest
from gmalglib.sm2 import SM2  # type: ignore[import-untyped]
from gmssl.sm2 import CryptSM2  # type: ignore[import-untyped]

from tests.crypto.test_sm2 import PUBLIC, SCALAR

# GB/T 32918.5-2017, appendix C: public key encryption on the recommended curve, under the key of appendix A.
PLAIN = b"encryption standard"
NONCE = 0x59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21
POINT = bytes.fromhex(
    "04EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73"
    "E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0"
)
DIGEST = bytes.fromhex("59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766")
CIPHER = bytes.fromhex("21886CA989CA9C7D58087307CA93092D651EFA")

# Appendix B: key exchange, 128 bits, both with the default user id.
OWN = (
    0x81EB26E941BB5AF16DF116495F90695272AE2CD63D6C4AE1678418BE48230029,
    0x785129917D45A9EA5437A59356B82338EAADDA6CEB199088F14AE10DEFA229B5,
)
PASSING = (
    0xD4DE15474DB74D06491C440D305E012400990F3E390C7E87153C12DB2EA60BB3,
    0x7E07124814B309489125EAED101113164EBF0F3458C5BD88335C1F9D596243D6,
)
AGREED = "6c89347354de2484c60b4ab1fde4c6e5"


def gmalglib(scalar: int, nonce: int | None = None) -> SM2:
    """Return the library's key. nonce: what it draws, as the machine holds numbers."""
    fixed = {} if nonce is None else {"rnd_fn": lambda size: nonce.to_bytes(size, "little")}
    return SM2(sk=scalar.to_bytes(32, "big"), **fixed)


def gmssl(scalar: int, public: bytes) -> CryptSM2:
    key = CryptSM2(private_key=f"{scalar:064x}", public_key="", mode=1)
    key.public_key = public[1:].hex()
    return key


def test_the_example_of_encryption_of_gb_t_32918_5() -> None:
    printed = POINT + DIGEST + CIPHER
    assert gmalglib(SCALAR, NONCE).encrypt(PLAIN) == b"\x04" + printed
    assert gmalglib(SCALAR).decrypt(b"\x04" + printed) == PLAIN
    assert gmssl(SCALAR, PUBLIC).decrypt(printed) == PLAIN


def test_what_one_library_encrypts_the_other_decrypts() -> None:
    message = os.urandom(40)
    assert gmalglib(SCALAR).decrypt(b"\x04" + gmssl(SCALAR, PUBLIC).encrypt(message)) == message
    assert gmssl(SCALAR, PUBLIC).decrypt(gmalglib(SCALAR).encrypt(message)[1:]) == message


def test_what_was_changed_does_not_decrypt() -> None:
    with pytest.raises(ValueError, match="C3"):
        gmalglib(SCALAR).decrypt(b"\x04" + POINT + DIGEST + CIPHER[:-1] + b"\xfb")


def test_the_example_of_key_exchange_of_gb_t_32918_5() -> None:
    """gmssl has no key exchange."""
    sides = [gmalglib(scalar, passing) for scalar, passing in zip(OWN, PASSING, strict=True)]
    begun = [each.begin_key_exchange() for each in sides]
    publics = [SM2.get_pk(scalar.to_bytes(32, "big")) for scalar in OWN]
    keys = [
        side.end_key_exchange(begun[own][0], begun[1 - own][1], publics[1 - own], bool(own), 16)
        for own, side in enumerate(sides)
    ]
    assert [key.hex() for key in keys] == [AGREED, AGREED]
