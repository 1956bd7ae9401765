"""What the server says on standard error: warnings, failures, and how far long work is; never what it works on."""

from __future__ import annotations

import logging


def to_standard_error() -> None:
    """Set up the log of this process."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("fhir_server.reindexing").setLevel(logging.INFO)
