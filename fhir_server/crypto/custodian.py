"""A custodian: a process that holds a keyring and does for others, over a Unix socket, what needs its secrets.

What it never gives away: master keys, the root, and the private SM2 keys, which sign here. A request and its answer are
one JSON object each, after its length (4 bytes, big-endian); bytes are base64. Who asks is known by the user id that the
kernel vouches for (SO_PEERCRED); the socket's folder and mode keep others off where there is no such thing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import socketserver
import stat
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fhir_server.crypto.custody import SIGNED, Custody
from fhir_server.crypto.files import octets, text
from fhir_server.crypto.keyfile import KeyringError
from fhir_server.crypto.sealing import Bound, Held, Unsealable, WrappedKey

LARGEST = 16 << 20  # bytes of a request or an answer
IDLE_SECONDS = 3_600.0
LARGEST_DERIVED = 64

Request = Mapping[str, Any]
Answer = dict[str, Any]
log = logging.getLogger(__name__)


def answer(custody: Custody, request: Request) -> Answer:
    """Return what a request gets: {"ok": …}, {"unsealable": why} or {"refused": why}; never an exception's own text."""
    try:
        work = _WORK.get(request["do"])
        if work is None:
            return {"refused": "nothing is known by this name"}
        return {"ok": work(custody, request)}
    except Unsealable as error:
        return {"unsealable": str(error)}
    except KeyringError as error:
        return {"refused": str(error)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {"refused": "the request is not of the form that this takes"}


def _derive(custody: Custody, request: Request) -> str:
    purpose, size = str(request["purpose"]), int(request["size"])
    if purpose.startswith(SIGNED):
        raise KeyringError("a private key is not handed out: it signs here")
    if not 1 <= size <= LARGEST_DERIVED:
        raise ValueError
    return text(custody.derive(purpose, size))


def _wrap(custody: Custody, request: Request) -> list[list[str]]:
    keys = [Bound(octets(key), octets(owner)) for key, owner in request["keys"]]
    return [[each.master, text(each.sealed)] for each in custody.wrap(keys)]


def _unwrap(custody: Custody, request: Request) -> list[str]:
    keys = [Held(WrappedKey(str(master), octets(sealed)), octets(owner)) for master, sealed, owner in request["keys"]]
    return [text(each) for each in custody.unwrap(keys)]


_WORK: dict[str, Callable[[Custody, Request], Any]] = {
    "about": lambda custody, _: {"fingerprint": custody.fingerprint, "signing": text(custody.signing_pem)},
    "masters": lambda custody, _: list(custody.masters()),
    "derive": _derive,
    "wrap": _wrap,
    "unwrap": _unwrap,
    "public key": lambda custody, request: text(custody.signer(str(request["purpose"])).public_key),
    "sign": lambda custody, request: text(custody.signer(str(request["purpose"])).sign(octets(request["message"]))),
}


def sent(connection: socket.socket, message: Mapping[str, Any]) -> None:
    """Send one message. Raises OSError."""
    content = json.dumps(message).encode()
    connection.sendall(struct.pack(">I", len(content)) + content)


def received(connection: socket.socket) -> dict[str, Any] | None:
    """Return the next message, or None if there is none or it is not one. Raises OSError."""
    head = _exactly(connection, 4)
    if head is None or (size := struct.unpack(">I", head)[0]) > LARGEST:
        return None
    content = _exactly(connection, size)
    try:
        found = json.loads(content) if content is not None else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts, left = [], size
    while left:
        part = connection.recv(min(left, 1 << 20))
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


class _Asked(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        """Answer one connection's requests until it ends."""
        if not self._may_ask():
            log.warning("a user who may not ask the custodian was turned away")
            return
        self.request.settimeout(IDLE_SECONDS)
        with contextlib.suppress(OSError), self.server.open(self.request):
            while (message := received(self.request)) is not None:
                sent(self.request, answer(self.server.custody, message))

    def _may_ask(self) -> bool:
        option = getattr(socket, "SO_PEERCRED", None)
        if option is None:
            return True
        credentials = self.request.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
        return struct.unpack("3i", credentials)[1] in self.server.users


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path: Path, custody: Custody, users: frozenset[int]) -> None:
        self.custody, self.users = custody, users
        self._connections: set[socket.socket] = set()
        with near(path) as name:
            super().__init__(name, _Asked)
            os.chmod(name, 0o600 if users <= {os.getuid()} else 0o666)

    @contextlib.contextmanager
    def open(self, connection: socket.socket) -> Iterator[None]:
        """Keep a connection among those that end with this server."""
        self._connections.add(connection)
        try:
            yield
        finally:
            self._connections.discard(connection)

    def server_close(self) -> None:
        super().server_close()
        for each in tuple(self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def near(path: Path) -> Iterator[str]:
    """Yield a name for a socket's path that is short enough for the system (108 bytes), whatever its folder is called."""
    folder = os.open(path.parent, os.O_RDONLY)
    short = f"/proc/self/fd/{folder}/{path.name}"
    try:
        yield str(path) if len(os.fsencode(path)) < 100 or not os.path.isdir("/proc/self/fd") else short
    finally:
        os.close(folder)


@contextlib.contextmanager
def listening(path: Path, custody: Custody, *, users: frozenset[int] = frozenset()) -> Iterator[None]:
    """Answer at a Unix socket, in threads of this process, as long as this lasts.

    users: ids of the users who may ask, beside this process's own. Raises KeyringError if another custodian is there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path)
        before = os.umask(0o177)
        try:
            server = _Server(path, custody, users | {os.getuid()})
        finally:
            os.umask(before)
    except OSError as error:
        raise KeyringError(f"The custodian cannot listen at {path}: {error.strerror}.") from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        path.unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Take away the socket that a custodian left when it was killed. Raises KeyringError if one answers there."""
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise KeyringError(f"{path} is not a socket: name another one.")
    if answers(path):
        raise KeyringError(f"Another custodian answers at {path} already.")
    path.unlink()


def answers(path: Path) -> bool:
    """Return whether somebody takes connections at a socket."""
    with contextlib.suppress(OSError), near(path) as name, socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        probe.connect(name)
        return True
    return False
