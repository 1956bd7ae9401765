"""fhir-facade client …: what the operator does with clients."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fhir_server.auth.server.authentication import HASHER
from fhir_server.auth.server.authority import Authority
from fhir_server.auth.server.clients import Client, InvalidClient, Kind
from fhir_server.auth.server.registered import public
from fhir_server.auth.server.vault import new_secret
from fhir_server.commands.installation import Data, at_authority

Id = Annotated[str, typer.Argument(help="Id of the client (client_id).")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]

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
    at_authority(data, lambda authority: authority.clients.add(client), told=f"client {id} registered")
    typer.echo(f"{id} is registered.")
    if secret:
        typer.echo(f"Its secret, shown only now: {secret}")


@app.command(name="list")
def list_(data: Data = None, as_json: Json = False) -> None:
    """List the registered clients."""
    found = at_authority(data, lambda authority: authority.clients.every())
    if as_json:
        typer.echo(json.dumps([public(each) for each in found], ensure_ascii=False, indent=2))
        return
    for each in found:
        typer.echo("\t".join((each.id, str(each.kind), each.organization or "-", each.name)))


@app.command()
def show(id: Id, data: Data = None) -> None:
    """Show all of one client but its secret, as JSON."""
    found = at_authority(data, lambda authority: _known(authority, id))
    typer.echo(json.dumps(public(found), ensure_ascii=False, indent=2))


@app.command()
def remove(id: Id, data: Data = None) -> None:
    """Forget a client; every token and grant that it has ends at once."""

    async def removed(authority: Authority) -> int:
        return await authority.remove(await _known(authority, id))

    ended = at_authority(data, removed, told=f"client {id} removed")
    typer.echo(f"{id} is removed; {ended} grants of users ended.")


@app.command()
def secret(id: Id, data: Data = None) -> None:
    """Give a confidential-symmetric client a new secret, printed once; the old one is void at once."""
    made = new_secret()

    async def changed(authority: Authority) -> None:
        client = await _known(authority, id)
        if client.kind is not Kind.SYMMETRIC:
            raise InvalidClient(f"A {client.kind} client has no secret.")
        await authority.clients.change(replace(client, secret_hash=HASHER.hash(made)))

    at_authority(data, changed, told=f"client {id} has a new secret")
    typer.echo(f"The new secret of {id}, shown only now: {made}")


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
