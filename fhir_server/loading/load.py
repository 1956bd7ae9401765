"""A whole load: chunks in, prepared by some processes, stored by this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from itertools import chain, islice

from fhir_server.app import assemble
from fhir_server.crypto.keyring import Keyring
from fhir_server.loading.files import Chunk, Reject
from fhir_server.loading.loader import Loader, Tally
from fhir_server.loading.preparing import Preparer
from fhir_server.loading.processes import named_for, preparing
from fhir_server.settings import Settings


async def load(
    settings: Settings,
    keyring: Keyring,
    uri: str,
    organization: str,
    found: Iterable[Chunk],
    *,
    processes: int,
    reject: Callable[[Reject], None],
    progress: Callable[[Tally], None],
) -> Tally:
    """Load chunks as the records of an institution; return the tally when all is durable.

    processes: that prepare beside this one, which stores; a single chunk is prepared here. Raises LoadingBroken.
    """
    coming = iter(found)
    first = list(islice(coming, 2))
    alone = len(first) < 2
    parts = assemble(settings, keyring, uri=uri)
    here = Preparer(parts.definitions, organization, named_for(keyring, organization)).prepared
    try:
        await parts.ready()
        with nullcontext(here) if alone else preparing(settings, uri, organization, processes) as prepare:
            loader = Loader(parts.services, prepare, ahead=processes + 1, reject=reject, progress=progress)
            return await loader.load(chain(first, coming))
    finally:
        await parts.close()
