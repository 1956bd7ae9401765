"""The server's side of TLS: 1.2 and 1.3 alone, with forward secrecy and authenticated ciphers alone.

Source: RFC 9325 (recommendations for TLS): sections 3.1.1 (versions), 4.2 (suites of TLS 1.2), 3.3 (compression), 3.5
(renegotiation); RFC 8446, B.4 (all suites of TLS 1.3 qualify). SM2 certificates and the suites of GB/T 38636 (TLCP) or
RFC 8998 are a gateway's: docs/security.md.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from fhir_server.settings import Settings, SettingsError

# Of TLS 1.2: an ephemeral key exchange, and AES-GCM or ChaCha20-Poly1305.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"
FOR_OTHERS = 0o007
# RFC 6797: for a year browsers come to this host by TLS alone, and take no certificate that they cannot verify.
STRICT = ("Strict-Transport-Security", "max-age=31536000")


def options(settings: Settings) -> dict[str, Any]:
    """Return what uvicorn is told of TLS; nothing if the settings name no certificate. Raises SettingsError."""
    if settings.tls_certificate is None:
        return {}
    certificate, key = settings.tls_certificate, settings.tls_key or settings.tls_certificate
    context(certificate, key)  # now, and not in a worker process, whoever starts the server learns what is wrong
    return {"ssl_certfile": str(certificate), "ssl_keyfile": str(key), "ssl_context_factory": of_worker}


def headers(settings: Settings) -> list[tuple[str, str]]:
    """Return what each response says of transport: nothing where clients use HTTP (RFC 6797, 7.2)."""
    return [STRICT] if settings.public_base.startswith("https:") else []


def of_worker(config: uvicorn.Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Return the context of one worker process."""
    return context(Path(str(config.ssl_certfile)), Path(str(config.ssl_keyfile)))


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return a context that serves with a certificate (PEM, with those above it). Raises SettingsError."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(CIPHERS)
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(["http/1.1"])
    try:
        if key.stat().st_mode & FOR_OTHERS:
            raise SettingsError(f"The private key {key} is open to other users. Close it with: chmod o= '{key}'")
        made.load_cert_chain(certificate, key, password=_asked_for)
    except ssl.SSLError as error:
        raise SettingsError(f"{certificate} and {key} are no certificate and its key in PEM: {error.reason}.") from None
    except OSError as error:
        raise SettingsError(f"{error.filename or certificate} cannot be read: {error.strerror}.") from None
    return made


def _asked_for() -> str:
    """Refuse to ask at a terminal, where nobody may be."""
    raise SettingsError("The private key of setting tls_key is encrypted, and nobody is there to open it.")
