"""`knutpunkt model import-ttn`."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from broker.cli.remote import Refused, Remote, speaks_to_broker
from broker.cli.tables import table
from broker.cli.ttn.models import Made, Tried
from broker.cli.ttn.read import UnreadableFile, devices

BATCH_BYTES = 16 * 1024 * 1024
"""Of one import; a broker takes 64 MiB unless told otherwise (limits.import_bytes)."""
SHOWN = 20


@click.command("import-ttn")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--vendor", "vendors", multiple=True, help="Only this vendor's, by its folder's name; may be given again."
)
@click.option("--dry-run", is_flag=True, help="Only show what would be registered; needs no broker.")
@click.option("--prefix", default="ttn-", show_default=True, help="Begins the models' ids.")
@click.option(
    "--json", "as_text", is_flag=True, help="The models as JSON, for a file that is corrected and then imported."
)
@speaks_to_broker
def import_ttn(
    url: str, token: str, folder: Path, vendors: tuple[str, ...], dry_run: bool, prefix: str, as_text: bool
) -> None:
    """Register device models and codecs from a checkout of The Things Network's device repository.

    Every codec is tried on its examples; the quantities are guessed from what it answers. They are shown: look through them
    before devices are registered, and correct them with `knutpunkt model put` or the API.

    \b
    git clone --depth 1 https://github.com/TheThingsNetwork/lorawan-devices
    knutpunkt model import-ttn lorawan-devices --vendor elsys --dry-run
    """
    made, unreadable = _made(folder, frozenset(vendors), prefix)
    usable = [one for one in made if one.model is not None]
    if as_text:
        documents = [msgspec.to_builtins(one.model) for one in usable]
        click.echo(json.dumps(documents, indent=2, ensure_ascii=False))
    else:
        _show(made, unreadable)
    if vendors and not made:
        raise click.ClickException(f"{folder} has no end device of {', '.join(vendors)}.")
    if not dry_run and usable:
        _register(Remote(url, token), usable)


def _made(folder: Path, vendors: frozenset[str], prefix: str) -> tuple[list[Made], list[UnreadableFile]]:
    tried = Tried(folder)
    made: list[Made] = []
    unreadable: list[UnreadableFile] = []
    try:
        for device in devices(folder, vendors):
            if isinstance(device, UnreadableFile):
                unreadable.append(device)
            else:
                made.append(tried.model_of(device, prefix))
    except UnreadableFile as error:
        raise click.ClickException(f"{folder} is no checkout of the device repository: {error}") from None
    return made, unreadable


def _show(made: list[Made], unreadable: list[UnreadableFile]) -> None:
    rows = []
    for one in made:
        if one.model is None:
            continue
        first = (one.model.id, f"{one.as_expected} of {one.examples}")
        for quantity in one.model.quantities or (None,):
            told = (
                (quantity.source, quantity.quantity, quantity.unit, quantity.channel)
                if quantity is not None
                else ("", "none was recognised", "", "")
            )
            rows.append((*first, *told))
            first = ("", "")
    table(("MODEL", "EXAMPLES", "SOURCE", "QUANTITY", "UNIT", "CHANNEL"), rows, "There is no device with a codec.")
    for problem in unreadable:
        click.echo(str(problem), err=True)
    left = [one for one in made if one.model is None]
    without = [one for one in left if one.device.codec is None]
    for one in left:
        if one.device.codec is not None:
            click.echo(f"{one.device.vendor}/{one.device.id}: left out: {one.problem}", err=True)
    click.echo(
        f"{len(made) - len(left)} models, {len(without)} devices without a codec, {len(left) - len(without)} left out."
    )


def _register(remote: Remote, usable: list[Made]) -> None:
    created = changed = unchanged = 0
    batch: list[bytes] = []

    def send() -> None:
        nonlocal created, changed, unchanged
        try:
            report = remote.send(
                "/api/v1/import/models", b"[" + b",".join(batch) + b"]", "application/json", why="import-ttn"
            )
        except Refused as refused:
            for problem in refused.document.get("report", {}).get("problems", ())[:SHOWN]:
                click.echo(f"row {problem['row']}: {problem['detail']}", err=True)
            raise
        created, changed = created + report["created"], changed + report["changed"]
        unchanged += report["unchanged"]
        batch.clear()

    for one in usable:
        encoded = msgspec.json.encode(one.model)
        if batch and sum(map(len, batch)) + len(encoded) > BATCH_BYTES:
            send()
        batch.append(encoded)
    send()
    click.echo(f"Registered: {created} created, {changed} changed, {unchanged} left as they are.", err=True)
