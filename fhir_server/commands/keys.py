"""fhir-facade keys …: what the operator does with the keys that tokens are signed with."""

from __future__ import annotations

from typing import Annotated

import typer

from fhir_server.commands.installation import Data, at_authority

app = typer.Typer(no_args_is_help=True, help="The keys that tokens are signed with.")


@app.command()
def rotate(
    at_once: Annotated[bool, typer.Option(help="Void the tokens of the old keys: somebody else has one.")] = False,
    data: Data = None,
) -> None:
    """Sign with new keys from now on. The old ones are published until their last token has expired."""
    at_authority(data, lambda authority: authority.rotate(at_once=at_once))
    typer.echo("New tokens are signed with new keys.")


@app.command(name="list")
def list_(data: Data = None) -> None:
    """List the published keys: kid, what it signs, since when, until when."""
    for each in at_authority(data, lambda authority: authority.keys.every()):
        until = f"{each.until:%Y-%m-%d %H:%M}Z" if each.until else "signs now"
        typer.echo(f"{each.kid}\t{each.use}\t{each.made:%Y-%m-%d %H:%M}Z\t{until}")
