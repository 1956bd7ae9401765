"""fhir-facade audit …: whether the log is as it was written, what is kept of it elsewhere, and how long it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fhir_server.app import Parts
from fhir_server.audit.anchors import KEPT_FILE, Anchor, Anchors, exported, imported, kept_in, signer
from fhir_server.audit.event import Happening
from fhir_server.audit.expiring import Expiry, Tampered
from fhir_server.audit.findings import Report
from fhir_server.audit.leaving import Leavings
from fhir_server.audit.links import LOG
from fhir_server.audit.verifying import Refile, verified
from fhir_server.commands.installation import Data, Installation, opened, say
from fhir_server.settings import Settings

app = typer.Typer(
    no_args_is_help=True, help="The audit log: verify it, anchor it, remove what is older than it is kept."
)


@app.command()
def verify(
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Leave out what was anchored before, in UTC."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    known: Annotated[
        list[Path] | None, typer.Option(help="File with an anchor that was printed before and kept elsewhere.")
    ] = None,
    index: Annotated[
        bool,
        typer.Option(
            "--index/--no-index", help="Compare what each event is found by with what it says; without: quicker."
        ),
    ] = True,
    data: Data = None,
) -> None:
    """Look for events that were changed, removed, inserted, reordered or cut off. Ends with status 1 if anything is found."""
    settings = Settings.load(data)
    kept = [*(_anchor(each) for each in known or ()), *_beside(settings)]
    with opened(settings) as installation:
        report = installation.run(lambda parts: _verified(parts, installation, since, kept, index), any_layout=True)
    typer.echo(json.dumps(report.content(), ensure_ascii=False, indent=1) if as_json else "\n".join(_told(report)))
    if not report.intact:
        raise typer.Exit(1)


@app.command()
def anchor(
    show: Annotated[
        bool,
        typer.Option("--print", help="Print the newest anchor as JSON: keep it where nobody of here can change it."),
    ] = False,
    data: Data = None,
) -> None:
    """Anchor what is not anchored yet, of processes that died as well, and tell how far the log is anchored."""
    with opened(Settings.load(data)) as installation:
        left, newest = installation.run(lambda parts: _anchored(parts, installation), any_layout=True)
    if show and newest:
        typer.echo(json.dumps(exported(newest, signer(installation.keyring).public_key), indent=1))
        return
    typer.echo(f"Chains anchored now: {left}.")
    typer.echo(f"The newest anchor is {newest.seq}, {newest.digest}." if newest else "Nothing is anchored yet.")


@app.command()
def expire(data: Data = None) -> None:
    """Remove the events that are older than audit_retention_days, with a signed note of what was removed."""
    settings = Settings.load(data)
    with opened(settings) as installation:
        try:
            count = installation.run(lambda parts: _expired(parts, installation))
        except Tampered as error:
            say.print(f"fhir-facade: {error}", style="red", highlight=False)
            raise typer.Exit(1) from None
    typer.echo(f"{count} events older than {settings.audit_retention_days} days were removed.")


async def _verified(
    parts: Parts, installation: Installation, since: datetime | None, kept: list[Anchor], index: bool
) -> Report:
    refile: Refile | None = parts.services.audit.refiling() if index else None
    total = await parts.database[LOG].estimated_document_count()
    with _progress("verifying", None if since else total) as advance:
        return await verified(
            parts.database,
            installation.keyring,
            since=since.replace(tzinfo=UTC) if since else None,
            known=kept,
            refile=refile,
            progress=advance,
        )


async def _anchored(parts: Parts, installation: Installation) -> tuple[int, Anchor | None]:
    anchors = _anchors(parts, installation)
    left = await Leavings(parts.database, installation.keyring, anchors).once(after=0)
    return left, await anchors.newest()


async def _expired(parts: Parts, installation: Installation) -> int:
    days, use = installation.settings.audit_retention_days, parts.services
    with _progress("removing", None) as advance:
        anchors = _anchors(parts, installation)
        expiry = Expiry(parts.database, installation.keyring, anchors, days=days, progress=advance)
        count = await expiry.run()
    await use.audit.record(Happening("log-expiry", note=f"{count} events"), None, at=use.now())
    return count


def _anchors(parts: Parts, installation: Installation) -> Anchors:
    return Anchors(parts.database, installation.keyring, installation.settings.data / KEPT_FILE)


def _anchor(path: Path) -> Anchor:
    """Return the anchor in a file. Raises typer.BadParameter."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    found = imported(content) if isinstance(content, dict) else None
    if found is None:
        raise typer.BadParameter(f"{path} holds no anchor. They are printed by: fhir-facade audit anchor --print")
    return found


def _beside(settings: Settings) -> list[Anchor]:
    """Return the anchor that processes of this machine keep in the data folder."""
    found = kept_in(settings.data / KEPT_FILE)
    return [found] if found else []


def _told(report: Report) -> Iterator[str]:
    yield f"{report.events} events of {report.writers} writers, {report.anchors} anchors."
    if report.before:
        yield f"{report.before} events are from before the chain."
    if report.expired:
        yield f"{report.expired} numbers were removed after their retention time."
    for each in report.unanchored:
        yield f"Not yet anchored: {each.first}-{each.last} of writer {each.writer}."
    yield from map(str, report.findings)
    if report.unnamed:
        yield f"… and {report.unnamed} more."
    yield "Nothing was changed." if report.intact else "THE AUDIT LOG WAS TAMPERED WITH."


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Any]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=say) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
