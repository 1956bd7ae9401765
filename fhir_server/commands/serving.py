"""fhir-facade serve and fhir-facade demo."""

from __future__ import annotations

import os

import uvicorn

from fhir_server.app import bearer_of
from fhir_server.commands.installation import Data, Host, Installation, Port, Workers, opened, say
from fhir_server.commands.integrity import checked_at_start
from fhir_server.commands.shares import Given, Stdin, unsealed
from fhir_server.demo import run as demo_run
from fhir_server.http import tls
from fhir_server.settings import PREFIX, Settings

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
# What the demo sets where nobody has set it: all that a trial needs beside records.
DEMONSTRATED = {"message_stand_in": "true", "operators": "Practitioner/operator,Device/emr-a"}


def serve(
    data: Data = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    share: Given = None,
    passphrase_stdin: Stdin = False,
) -> None:
    """Run the server; its FHIR base is /fhir. Ctrl-C stops it, and its MongoDB when nobody else uses that."""
    settings = Settings.load(data, host=host, port=port, workers=workers)
    checked_at_start(settings)
    with unsealed(settings, share, passphrase_stdin), opened(settings) as installation:
        run_server(installation)


def demo(
    data: Data = None,
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
) -> None:
    """Load two demo hospitals, print tokens and curl lines that show consent at work, and run the server.

    Messages to patients are shown at /pages/messages, unless FHIR_MESSAGE_STAND_IN says otherwise.
    """
    demonstrate(Settings.load(data))
    with opened(Settings.load(data, host=host, port=port, workers=workers)) as installation:
        installation.run(lambda parts: demo_run.fill(parts.services, say))
        demo_run.show(installation.settings, bearer_of(installation.keyring))
        run_server(installation)


def demonstrate(settings: Settings) -> None:
    """Set in the environment, from which workers read them too, what the demo needs and these settings leave open."""
    for name, value in DEMONSTRATED.items():
        if name not in settings.model_fields_set:
            os.environ[f"{PREFIX}{name.upper()}"] = value


def run_server(installation: Installation) -> None:
    """Run the workers until they are told to stop. They are handed their settings in the environment."""
    settings = installation.settings
    handed = {
        "FHIR_DATA": str(settings.data),
        "FHIR_MONGODB_URI": installation.uri,
        "FHIR_HOST": settings.host,
        "FHIR_PORT": str(settings.port),
        "FHIR_ZONE": settings.zone,
    }
    os.environ.update(handed)
    secured = tls.options(settings)
    installation.prepare()
    if not secured and settings.host not in LOOPBACK:
        say.print(
            "What is sent is not encrypted: set tls_certificate, or listen on 127.0.0.1 behind a proxy.", style="red"
        )
    say.print(f"FHIR base: {settings.public_base}   zone: {settings.zone}   workers: {settings.workers}")
    uvicorn.run(
        "fhir_server.app:worker",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_level="warning",
        access_log=False,  # the lines would hold what was searched for
        server_header=False,
        headers=tls.headers(settings),
        forwarded_allow_ips=sorted(settings.trusted_proxies or LOOPBACK),
        timeout_graceful_shutdown=10,
        **secured,
    )
