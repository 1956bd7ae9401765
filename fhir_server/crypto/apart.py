"""The custody of a keyring that another process holds (custodian.py): each piece of work is asked for over its socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from pymongo.errors import PyMongoError

from fhir_server.crypto.custodian import near, received, sent
from fhir_server.crypto.files import octets, text
from fhir_server.crypto.keyfile import KeyringError
from fhir_server.crypto.sealing import Bound, Held, Unsealable, WrappedKey
from fhir_server.crypto.sm2 import Signer

T = TypeVar("T")
PATIENCE_SECONDS = 10.0
# After nobody answered so long, nobody else waits for it: whoever asks in this time is refused at once.
REST_SECONDS = 5.0
AT_ONCE = 1_000  # keys in one request


class Unanswered(PyMongoError, KeyringError):
    """Nobody answers for the keys: to clients (503) and to what tries again by itself the same as a store that fails."""


class Apart:
    """Asks a custodian. One connection for each process, made anew when it broke; safe to share between threads.

    A connection that is made anew is used only if the same keyring answers: what one wraps, no other opens.
    """

    remote = True

    def __init__(self, path: Path, *, patience: float = PATIENCE_SECONDS) -> None:
        """path: of the custodian's Unix socket. patience: seconds to wait for an answer. Raises Unanswered if none comes."""
        self._connection: socket.socket | None = None
        self._path, self._patience = path, patience
        self._turn = threading.Lock()
        self._rests_until = 0.0
        self._fingerprint = ""
        about = self._ask("about")
        self._fingerprint, self._signing = str(about["fingerprint"]), octets(about["signing"])
        self._derived: dict[tuple[str, int], bytes] = {}

    def __del__(self) -> None:
        self._end()

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def signing_pem(self) -> bytes:
        return self._signing

    def masters(self) -> Sequence[str]:
        return [str(each) for each in self._ask("masters")]

    def derive(self, purpose: str, size: int) -> bytes:
        found = self._derived.get((purpose, size))
        if found is None:
            found = octets(self._ask("derive", purpose=purpose, size=size))
            self._derived[purpose, size] = found
        return found

    def wrap(self, keys: Iterable[Bound]) -> list[WrappedKey]:
        """Return the keys wrapped, once they were seen to open again: what else they sealed would be lost."""
        given = list(keys)
        asked = ([text(key), text(owner)] for key, owner in given)
        found = [each for some in _some(asked) for each in self._ask("wrap", keys=some)]
        wrapped = [WrappedKey(str(master), octets(sealed)) for master, sealed in found]
        if self.unwrap(map(Held, wrapped, (owner for _, owner in given))) != [key for key, _ in given]:
            raise KeyringError(f"The custodian at {self._path} opens keys otherwise than it wrapped them.")
        return wrapped

    def unwrap(self, keys: Iterable[Held]) -> list[bytes]:
        asked = ([wrapped.master, text(wrapped.sealed), text(owner)] for wrapped, owner in keys)
        return [octets(each) for some in _some(asked) for each in self._ask("unwrap", keys=some)]

    def signer(self, purpose: str) -> Signer:
        return _SignsApart(self, purpose)

    def public_key(self, purpose: str) -> bytes:
        """Return the public SM2 key (65 bytes) of one purpose."""
        return octets(self._ask("public key", purpose=purpose))

    def sign(self, purpose: str, message: bytes) -> bytes:
        """Return the custodian's SM2 signature over a message."""
        return octets(self._ask("sign", purpose=purpose, message=text(message)))

    def _ask(self, do: str, **said: Any) -> Any:
        answer = self._answer({"do": do, **said})
        if "ok" in answer:
            return answer["ok"]
        if "unsealable" in answer:
            raise Unsealable(str(answer["unsealable"]))
        raise KeyringError(f"The custodian at {self._path} refused: {answer.get('refused', 'it did not say why')}.")

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the answer. Nothing that is asked changes anything there, so it is asked again after a break.

        Raises Unanswered.
        """
        with self._turn:
            for _ in range(2 if time.monotonic() >= self._rests_until else 0):
                try:
                    if (found := self._once(message)) is not None:
                        return found
                except TimeoutError:
                    self._rests_until = time.monotonic() + REST_SECONDS
                    self._end()
                    break
                except OSError:
                    pass
                self._end()
        raise Unanswered(f"The custodian at {self._path} does not answer. Start it: fhir-facade keys custodian")

    def _once(self, message: dict[str, Any]) -> dict[str, Any] | None:
        if self._connection is None:
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.settimeout(self._patience)
            with near(self._path) as name:
                self._connection.connect(name)
            self._recognise(self._connection)
        sent(self._connection, message)
        return received(self._connection)

    def _recognise(self, connection: socket.socket) -> None:
        """See that a new connection leads to the keyring that was asked before. Raises Unanswered, OSError."""
        if not self._fingerprint:
            return
        sent(connection, {"do": "about"})
        about = (received(connection) or {}).get("ok")
        if not isinstance(about, dict) or about.get("fingerprint") != self._fingerprint:
            self._end()
            raise Unanswered(f"The custodian at {self._path} holds another keyring than {self._fingerprint} now.")

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _SignsApart(Signer):
    """A signer whose private key stays with the custodian."""

    __slots__ = ("_apart", "_purpose")

    def __init__(self, apart: Apart, purpose: str) -> None:
        self._apart, self._purpose = apart, purpose
        self.public_key = apart.public_key(purpose)

    def sign(self, message: bytes) -> bytes:
        return self._apart.sign(self._purpose, message)

    def private_pem(self) -> bytes:
        raise KeyringError("The custodian does not hand out a private key.")


def _some(keys: Iterable[T]) -> Iterator[list[T]]:
    coming = iter(keys)
    while found := list(islice(coming, AT_ONCE)):
        yield found
