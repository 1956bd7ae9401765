"""The command line: fhir-facade, also python -m fhir_server."""

from __future__ import annotations

import signal
import sys

import typer
from pymongo.errors import PyMongoError

from fhir_server import logs
from fhir_server.auth.accounts.account import InvalidAccount
from fhir_server.auth.accounts.passwords import WeakPassword
from fhir_server.auth.bearer import InvalidClaims
from fhir_server.auth.server.clients import InvalidClient
from fhir_server.auth.signed.checking import ChangedMeanwhile
from fhir_server.auth.signed.register import AccessRefused
from fhir_server.backup.manifest import BackupError
from fhir_server.commands import access, audit, clients, consents, integrity, keys, outbox, users
from fhir_server.commands.backup import backup, purges, restore, verify
from fhir_server.commands.checking import check
from fhir_server.commands.installation import say
from fhir_server.commands.loading import load
from fhir_server.commands.purging import purge
from fhir_server.commands.reindexing import reindex
from fhir_server.commands.serving import demo, serve
from fhir_server.commands.tokens import token
from fhir_server.crypto.integrity import IntegrityError
from fhir_server.crypto.keyring import KeyringError
from fhir_server.loading.processes import LoadingBroken
from fhir_server.settings import SettingsError
from fhir_server.store.embedded import MongoUnavailable
from fhir_server.store.installation import WrongInstallation

app = typer.Typer(
    name="fhir-facade",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help=(
        "HL7 FHIR R4 facade server with consent-aware access.\n\n"
        "Every command works on one installation, the folder named by --data: its keyring (without which nothing that is "
        "stored can be read), its settings.toml and, unless FHIR_MONGODB_URI names a server, its own MongoDB, which is "
        "started when it does not run and stopped by the last command that uses it."
    ),
)

for each in (serve, load, reindex, check, purge, backup, verify, restore, purges, token, demo):
    app.command()(each)
app.add_typer(clients.app, name="client")
app.add_typer(consents.app, name="consents")
app.add_typer(outbox.app, name="outbox")
app.add_typer(users.app, name="user")
app.add_typer(keys.app, name="keys")
app.add_typer(integrity.app, name="integrity")
keys.app.command()(access.check_access)
keys.app.command()(access.sign_access)
keys.app.command()(access.public_key)
app.add_typer(audit.app, name="audit")


def main() -> None:
    """Run the command line; what an operator can mend is said in a line, without a traceback."""
    # A polite stop ends like Ctrl-C: whatever was started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    logs.to_standard_error()
    try:
        app()
    except (
        SettingsError,
        KeyringError,
        IntegrityError,
        MongoUnavailable,
        WrongInstallation,
        InvalidClaims,
        InvalidClient,
        InvalidAccount,
        AccessRefused,
        ChangedMeanwhile,
        access.NoSuchRow,
        WeakPassword,
        LoadingBroken,
        BackupError,
        FileNotFoundError,
    ) as error:
        say.print(f"fhir-facade: {error}", style="red", highlight=False)
        sys.exit(2)
    except PyMongoError as error:
        say.print(f"fhir-facade: MongoDB cannot be used: {type(error).__name__}. See FHIR_MONGODB_URI.", style="red")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
