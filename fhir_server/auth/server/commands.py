"""fhir-facade client … and fhir-facade keys …: what the operator does with clients and signing keys."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fhir_server.auth.server.authentication import HASHER
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.clients import Client, InvalidClient, Kind
from fhir_server.auth.server.registered import public
from fhir_server.auth.server.vault import new_secret

# Runs work with the authorization server of an installation, and returns what it returns.
Running = Callable[[Callable[[Authority], Awaitable[Any]]], Any]
Opened = Callable[[Path | None], AbstractContextManager[Running]]

Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the installation. Default: FHIR_DATA, else ./var.")
]
Id = Annotated[str, typer.Argument(help="Id of the client (client_id).")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


def clients(opened: Opened) -> typer.Typer:
    """Return the commands for clients. opened: gives the installation in a folder."""
    app = typer.Typer(
        no_args_is_help=True,
        help=(
            "Register the apps and systems that may ask for tokens.\n\n"
            "An app that runs in a browser or on a phone is public; one with a server of its own is "
            "confidential-symmetric (a secret) or, better, confidential-asymmetric (a key pair); an institution's system "
            "that acts without a user is backend."
        ),
    )

    @app.command()
    def add(
        id: Id,
        kind: Annotated[Kind, typer.Option(help="What the client can keep to itself.")],
        name: Annotated[str, typer.Option(help="Name that users read when they are asked for approval.")],
        scope: Annotated[str, typer.Option(help='The most it may be granted: "openid fhirUser launch patient/*.rs".')],
        redirect: Annotated[list[str], typer.Option(help="Redirect URI, compared exactly; repeat for several.")] = [],  # noqa: B006
        launch_uri: Annotated[str | None, typer.Option(help="URL at which an EMR launches the app.")] = None,
        post_logout: Annotated[list[str], typer.Option(help="URI to return to after sign-out; repeat.")] = [],  # noqa: B006
        web_origin: Annotated[list[str], typer.Option(help="Further origin whose pages may call the server.")] = [],  # noqa: B006
        jwks: Annotated[Path | None, typer.Option(help="File with the public keys (JWK set).")] = None,
        jwks_uri: Annotated[str | None, typer.Option(help="URL of the public keys; https, or loopback.")] = None,
        organization: Annotated[str | None, typer.Option(help="Id of the Organization that it belongs to.")] = None,
        system_user: Annotated[str | None, typer.Option(help="What a backend client acts as: Device/emr-1.")] = None,
        purpose: Annotated[list[str], typer.Option(help="Purpose of use; the first is the default.")] = ["TREAT"],  # noqa: B006
        may_assert: Annotated[bool, typer.Option(help="An EMR that may ask for its own doctors (RFC 7523).")] = False,
        may_launch: Annotated[bool, typer.Option(help="An EMR that may create launch contexts.")] = False,
        data: Data = None,
    ) -> None:
        """Register a client. A secret is printed once, and kept nowhere in the clear."""
        secret = new_secret() if kind is Kind.SYMMETRIC else None
        client = Client(
            id=id,
            name=name,
            kind=kind,
            redirect_uris=tuple(redirect),
            launch_uri=launch_uri,
            post_logout_redirect_uris=tuple(post_logout),
            web_origins=tuple(web_origin),
            scopes=tuple(scope.split()),
            jwks=_read(jwks) if jwks else None,
            jwks_uri=jwks_uri,
            secret_hash=HASHER.hash(secret) if secret else None,
            organization=organization,
            system_user=system_user,
            purposes=tuple(purpose),
            may_assert=may_assert,
            may_launch=may_launch,
        )
        with opened(data) as running:
            running(lambda authority: authority.clients.add(client))
        typer.echo(f"{id} is registered.")
        if secret:
            typer.echo(f"Its secret, shown only now: {secret}")

    @app.command(name="list")
    def list_(data: Data = None, as_json: Json = False) -> None:
        """List the registered clients."""
        with opened(data) as running:
            found: list[Client] = running(lambda authority: authority.clients.every())
        if as_json:
            typer.echo(json.dumps([public(each) for each in found], ensure_ascii=False, indent=2))
            return
        for each in found:
            typer.echo("\t".join((each.id, str(each.kind), each.organization or "-", each.name)))

    @app.command()
    def show(id: Id, data: Data = None) -> None:
        """Show all of one client but its secret, as JSON."""
        with opened(data) as running:
            typer.echo(
                json.dumps(public(running(lambda authority: _known(authority, id))), ensure_ascii=False, indent=2)
            )

    @app.command()
    def remove(id: Id, data: Data = None) -> None:
        """Forget a client; every token and grant that it has ends at once."""

        async def removed(authority: Authority) -> int:
            return await authority.remove(await _known(authority, id))

        with opened(data) as running:
            typer.echo(f"{id} is removed; {running(removed)} grants of users ended.")

    @app.command()
    def secret(id: Id, data: Data = None) -> None:
        """Give a confidential-symmetric client a new secret, printed once; the old one is void at once."""
        made = new_secret()

        async def changed(authority: Authority) -> None:
            client = await _known(authority, id)
            if client.kind is not Kind.SYMMETRIC:
                raise InvalidClient(f"A {client.kind} client has no secret.")
            await authority.clients.change(replace(client, secret_hash=HASHER.hash(made)))

        with opened(data) as running:
            running(changed)
        typer.echo(f"The new secret of {id}, shown only now: {made}")

    return app


def keys(opened: Opened) -> typer.Typer:
    """Return the commands for signing keys."""
    app = typer.Typer(no_args_is_help=True, help="The keys that tokens are signed with.")

    @app.command()
    def rotate(
        at_once: Annotated[bool, typer.Option(help="Void the tokens of the old keys: somebody else has one.")] = False,
        data: Data = None,
    ) -> None:
        """Sign with new keys from now on. The old ones are published until their last token has expired."""
        with opened(data) as running:
            running(lambda authority: authority.rotate(at_once=at_once))
        typer.echo("New tokens are signed with new keys.")

    @app.command(name="list")
    def list_(data: Data = None) -> None:
        """List the published keys: kid, what it signs, since when, until when."""
        with opened(data) as running:
            for each in running(lambda authority: authority.keys.every()):
                until = f"{each.until:%Y-%m-%d %H:%M}Z" if each.until else "signs now"
                typer.echo(f"{each.kid}\t{each.use}\t{each.made:%Y-%m-%d %H:%M}Z\t{until}")

    return app


async def _known(authority: Authority, id: str) -> Client:
    client = await authority.clients.get(id)
    if client is None:
        raise InvalidClient(f"No client {id} is registered. See: fhir-facade client list")
    return client


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InvalidClient(f"{path} is not JSON.") from None
    if not isinstance(found, dict):
        raise InvalidClient(f"{path} is not a JWK set.")
    return found
