"""Preparing in processes of their own: it is Python at work, of which one process does one thing at a time.

Each has its own connection to the store, and its own keyring from the installation's folder. They end with the process
that started them, however that ends.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context, parent_process
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from fhir_server.app import assemble, keyring_of
from fhir_server.audit.links import LOG
from fhir_server.crypto.keyring import Keyring
from fhir_server.loading.bundle import Named, namer
from fhir_server.loading.files import Chunk
from fhir_server.loading.loader import Prepare
from fhir_server.loading.preparing import MOST, Prepared, Preparer
from fhir_server.settings import Settings
from fhir_server.store.commit import Change, Unit

MOST_PROCESSES = 4  # more than that are faster than MongoDB stores in one line


class LoadingBroken(RuntimeError):
    """A process that prepared has ended; what was told as stored is stored, and a new load completes it."""

    def __init__(self) -> None:
        super().__init__("A process of the load was ended from outside: start the load again, it goes on from there.")


def usual() -> int:
    """Return how many processes prepare unless somebody says otherwise: all processors but one, which MongoDB needs."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(usable - 1, MOST_PROCESSES))


def named_for(keyring: Keyring, organization: str) -> Named:
    """Return what names the resources of an institution that come without an id."""
    from cryptography.hazmat.primitives import hashes, hmac

    key = keyring.derive("load-id")

    def digest(content: bytes) -> bytes:
        made = hmac.HMAC(key, hashes.SM3())
        made.update(content)
        return made.finalize()

    return namer(organization, digest)


@contextmanager
def preparing(settings: Settings, uri: str, organization: str, count: int) -> Iterator[Prepare]:
    """Yield what prepares chunks in as many processes; they are started as there is work, and ended at the end."""
    # Forked from a process that has imported all this and done nothing else: no thread, no lock, no file is inherited.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(settings, uri, organization))

    async def prepare(chunk: Chunk, most: int = MOST) -> Prepared:
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, _prepared, chunk, most)
        except BrokenProcessPool:
            raise LoadingBroken from None

    try:
        yield prepare
    finally:
        pool.shutdown(cancel_futures=True)


_work: Callable[[Chunk, int], Prepared]  # of a process that prepares, made when it begins


def _begin(settings: Settings, uri: str, organization: str) -> None:
    """Make this process ready to prepare."""
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the process that stores decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keyring = keyring_of(settings)
    runner = asyncio.Runner()
    parts = assemble(settings, keyring, uri=uri)
    preparer = Preparer(parts.definitions, organization, named_for(keyring, organization))

    def work(chunk: Chunk, most: int) -> Prepared:
        return runner.run(preparer.prepared(chunk, most))

    _work = work
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _end_with_parent() -> None:
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _prepared(chunk: Chunk, most: int) -> Prepared:
    prepared = _work(chunk, most)
    return replace(prepared, unit=_encoded(prepared.unit))


def _encoded(unit: Unit) -> Unit:
    """Return the unit with its documents as they go to MongoDB, so that this is not left to the process that stores."""
    made = Unit(touches=unit.touches, filed_under=unit.filed_under)
    for name, documents in unit.inserts.items():
        # AuditEvents are numbered when they are stored.
        made.inserts[name] = documents if name == LOG else [_raw(each) for each in documents]
    for name, changes in unit.changes.items():
        made.changes[name] = [Change(each.found_by, each.document and _raw(each.document)) for each in changes]
    return made


def _raw(document: dict[str, Any]) -> Any:
    return RawBSONDocument(bson.encode(document))
