"""Where the keyring of an installation is found, by the setting `key_custody`.

`file`: keyring.json in the data folder, made when it is first asked for; where there is a sealed one instead, whoever
opened it with the shares answers at the folder's own socket. `socket:/path`: a custodian answers there.
"""

from __future__ import annotations

from pathlib import Path

from fhir_server.crypto.apart import Apart
from fhir_server.crypto.custodian import answers
from fhir_server.crypto.keyring import Keyring

FILE, SOCKET = "file", "socket:"
PLAIN_NAME, SEALED_NAME, SOCKET_NAME = "keyring.json", "keyring.sealed", "custodian.sock"


def opened(data: Path, custody: str) -> Keyring:
    """Return an installation's keyring. data: its folder. custody: the setting. Raises KeyringError."""
    if custody.startswith(SOCKET):
        return Keyring(Apart(Path(custody.removeprefix(SOCKET))))
    own = data / SOCKET_NAME
    if is_sealed(data) and answers(own):
        return Keyring(Apart(own))
    return Keyring.open(data / PLAIN_NAME)


def is_sealed(data: Path) -> bool:
    """Return whether the folder's keyring is there sealed only."""
    return (data / SEALED_NAME).exists() and not (data / PLAIN_NAME).exists()
