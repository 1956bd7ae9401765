"""A custodian whose master keys are in an HSM behind PKCS#11: they are made there, wrap and open there, and never leave it.

    python custodian.py init   --folder /srv/custody --pin-file PIN     once
    python custodian.py serve  --folder /srv/custody --pin-file PIN --socket /run/fhir/custody.sock --user fhir
    python custodian.py rotate --folder /srv/custody --pin-file PIN     then, at the server: fhir-facade keys rotate-master

The server is set to `key_custody = "socket:/run/fhir/custody.sock"` and knows of none of this. Needs `pip install
python-pkcs11` beside the server's own packages. Written for SoftHSM 2, which stands in for a device and has no SM4: keys are
wrapped by AES-256-GCM. For a certified module change MADE and the two places that name AES_GCM to its own SM4 mechanisms.

The root (of which index keys and SM2 keys are derived) and the operators' key lie in `hsm.json`, sealed under a key of the
HSM, and are opened into this process's memory when it starts; a device that derives by HMAC-SM3 and signs with SM2 need not
do that. Back up the device by its own means: without it nothing can be opened.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from pwd import getpwnam
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import EncryptedDataInvalid, GeneralError, PKCS11Error

from fhir_server.crypto.custodian import listening
from fhir_server.crypto.custody import seed_of
from fhir_server.crypto.files import octets, read_private, text, written
from fhir_server.crypto.keyfile import KeyringError, derived, generated
from fhir_server.crypto.sealing import Bound, Held, Unsealable, WrappedKey, place
from fhir_server.crypto.sm2 import SEED_SIZE, Signer, signer_from

STATE, SEALING = "hsm.json", "root"
MADE = (KeyType.AES, 256)
NONCE_SIZE, TAG_BITS = 12, 128
CHANGED = (EncryptedDataInvalid, GeneralError)  # by which devices say that a tag is wrong; SoftHSM by the second


class Device:
    """The keys of one token by name, each used where it is. Safe to share between threads, which take turns."""

    def __init__(self, module: str, token: str, pin: str) -> None:
        """Raises KeyringError if the token cannot be opened."""
        try:
            self._session: Any = pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin)
        except (PKCS11Error, RuntimeError) as error:
            raise KeyringError(f"The token {token} cannot be opened: {type(error).__name__}.") from None
        self._turn = threading.Lock()
        self._keys: dict[str, Any] = {}

    def make(self, name: str) -> None:
        """Make a key that cannot be taken out."""
        kind, bits = MADE
        fixed = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
        with self._turn:
            self._session.generate_key(kind, bits, label=f"fhir-facade {name}", store=True, template=fixed)

    def seal(self, name: str, plain: bytes, aad: bytes) -> bytes:
        """Return nonce | ciphertext | tag under a key."""
        nonce = os.urandom(NONCE_SIZE)
        how = {"mechanism": Mechanism.AES_GCM, "mechanism_param": pkcs11.GCMParams(nonce, aad, TAG_BITS)}
        with self._turn:
            return nonce + bytes(self._key(name).encrypt(plain, **how))

    def unseal(self, name: str, sealed: bytes, aad: bytes) -> bytes:
        """Return the plain bytes. Raises Unsealable."""
        given = pkcs11.GCMParams(sealed[:NONCE_SIZE], aad, TAG_BITS)
        try:
            with self._turn:
                key = self._key(name)
                return bytes(key.decrypt(sealed[NONCE_SIZE:], mechanism=Mechanism.AES_GCM, mechanism_param=given))
        except CHANGED:
            raise Unsealable("The key was changed, or is another's.") from None

    def _key(self, name: str) -> Any:
        if name not in self._keys:
            found = {"object_class": ObjectClass.SECRET_KEY, "label": f"fhir-facade {name}"}
            self._keys[name] = self._session.get_key(**found)
        return self._keys[name]


class InHsm:
    """A custody (fhir_server/crypto/custody.py) over a device. Its state is read anew each time, so a rotation counts."""

    remote = False

    def __init__(self, device: Device, folder: Path) -> None:
        self._device, self._path = device, folder / STATE
        secrets = json.loads(device.unseal(SEALING, octets(self._state()["sealed"]), b"root"))
        self._root, self.signing_pem = octets(secrets["root"]), octets(secrets["signing"])
        self.fingerprint = self.derive("fingerprint", 8).hex()

    def masters(self) -> Sequence[str]:
        return list(reversed(self._state()["masters"]))

    def derive(self, purpose: str, size: int) -> bytes:
        return derived(self._root, purpose, size)

    def wrap(self, keys: Iterable[Bound]) -> list[WrappedKey]:
        name = self.masters()[0]
        return [WrappedKey(name, self._device.seal(name, key, place(name, owner))) for key, owner in keys]

    def unwrap(self, keys: Iterable[Held]) -> list[bytes]:
        known = self.masters()
        return [self._opened(known, wrapped, owner) for wrapped, owner in keys]

    def signer(self, purpose: str) -> Signer:
        return signer_from(self.derive(seed_of(purpose), SEED_SIZE))

    def _opened(self, known: Sequence[str], wrapped: WrappedKey, owner: bytes) -> bytes:
        if wrapped.master not in known:
            raise Unsealable("The key is wrapped under a master key that is not held here.")
        return self._device.unseal(wrapped.master, wrapped.sealed, place(wrapped.master, owner))

    def _state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(read_private(self._path))
        return found


def init(device: Device, folder: Path) -> None:
    """Make the keys of a new installation. Raises KeyringError if there is one."""
    if (folder / STATE).exists():
        raise KeyringError(f"{folder / STATE} exists already.")
    fresh = generated()  # its master key is not used: those of the device are
    secrets = json.dumps({"root": text(fresh.root), "signing": text(fresh.signing_pem)}).encode()
    for name in (SEALING, fresh.current):
        device.make(name)
    state = {"masters": [fresh.current], "sealed": text(device.seal(SEALING, secrets, b"root"))}
    written(folder / STATE, json.dumps(state).encode())


def rotate(device: Device, folder: Path) -> None:
    """Make a new master key, which wraps from now on; a custodian that runs learns of it."""
    state = json.loads(read_private(folder / STATE))
    name = os.urandom(4).hex()
    device.make(name)
    written(folder / STATE, json.dumps({**state, "masters": [*state["masters"], name]}).encode())


def serve(device: Device, folder: Path, socket: Path, users: Iterable[str]) -> None:
    """Answer at a socket until it is told to stop."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with listening(socket.absolute(), InHsm(device, folder), users=frozenset(getpwnam(each).pw_uid for each in users)):
        print(f"The keys are held at {socket}.", flush=True)
        ended.wait()


def main() -> None:
    """Do what the command line says."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("do", choices=("init", "rotate", "serve"))
    asked.add_argument("--folder", type=Path, required=True)
    asked.add_argument("--pin-file", type=Path, required=True)
    asked.add_argument("--module", default="/usr/lib/softhsm/libsofthsm2.so")
    asked.add_argument("--token", default="fhir")
    asked.add_argument("--socket", type=Path, default=Path("custody.sock"))
    asked.add_argument("--user", action="append", default=[])
    said = asked.parse_args()
    try:
        device = Device(said.module, said.token, read_private(said.pin_file).decode().strip())
        match said.do:
            case "init":
                init(device, said.folder)
            case "rotate":
                rotate(device, said.folder)
            case _:
                serve(device, said.folder, said.socket, said.user)
    except KeyringError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
