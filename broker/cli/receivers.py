"""`knutpunkt receiver`: people who are told of alarms and thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from broker.cli.devices import json_option
from broker.cli.files import Unreadable, as_yaml, read_files
from broker.cli.remote import Refused, Remote, quoted, speaks_to_broker
from broker.cli.tables import as_json, table, when

ALL = "/api/v1/receivers"
GENERATED = ("createdAt", "modifiedAt", "personalData", "delivery")
NOT_FOUND = 404


@click.group()
def receiver() -> None:
    """Ready receivers: tell people of alarms and thresholds by e-mail, in Teams, or through a webhook."""


@receiver.command("list")
@json_option
@speaks_to_broker
def list_receivers(url: str, token: str, as_text: bool) -> None:
    """Who is told, and how that goes."""
    found = Remote(url, token).get(ALL)
    if as_text:
        as_json(found)
        return
    table(
        ("RECEIVER", "NAME", "BY", "ACTIVE", "TOLD", "LAST", "TROUBLE"),
        [
            (
                one["id"],
                one["name"],
                one["send"]["kind"],
                "yes" if one["active"] else "no",
                one["delivery"]["timesSent"] - one["delivery"]["timesFailed"],
                when(one["delivery"].get("lastSuccess")),
                one["delivery"].get("lastError", ""),
            )
            for one in found
        ],
        "There is no receiver.",
    )


@receiver.command("show")
@click.argument("receiver_id", metavar="RECEIVER")
@json_option
@speaks_to_broker
def show_receiver(url: str, token: str, receiver_id: str, as_text: bool) -> None:
    """One receiver, as a file that `apply` takes. What is secret is masked; applied again, it stays."""
    one = Remote(url, token).get(f"{ALL}/{quoted(receiver_id)}")
    if as_text:
        as_json(one)
        return
    click.echo(as_yaml([{name: value for name, value in one.items() if name not in GENERATED}]), nl=False)


@receiver.command("apply")
@click.option(
    "-f",
    "--file",
    "paths",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    required=True,
    help="A file of YAML or JSON, or a folder of them. More than once for several.",
)
@speaks_to_broker
def apply_receivers(url: str, token: str, paths: tuple[Path, ...]) -> None:
    """Bring receivers in step with files. Others stay.

    \b
    id: drift
    name: Drift
    send: {kind: email, to: [drift@city.example]}
    language: sv
    alarms: {severity: high, places: ["urn:ngsi-ld:Building:school"]}
    """
    remote = Remote(url, token)
    try:
        documents = list(read_files(paths))
    except Unreadable as error:
        raise click.ClickException(str(error)) from None
    for document in documents:
        name = document.content.get("id")
        if not isinstance(name, str) or not name:
            raise click.ClickException(f"{document.where}: 'id' is missing.")
    for document in documents:
        name = document.content["id"]
        before = _found(remote, name)
        try:
            after = remote.put(f"{ALL}/{quoted(name)}", document.content)
        except Refused as error:
            raise click.ClickException(f"{document.where}: {error.message}") from None
        click.echo(f"{name}: {_said(before, after)}")


@receiver.command("test")
@click.argument("receiver_id", metavar="RECEIVER")
@speaks_to_broker
def test_receiver(url: str, token: str, receiver_id: str) -> None:
    """Send it a test, and say what the server answered."""
    said = Remote(url, token).post(f"{ALL}/{quoted(receiver_id)}/test", {})
    if not said["delivered"]:
        raise click.ClickException(said["answer"])
    click.echo(f"Delivered: {said['answer']}")


@receiver.command("delete")
@click.argument("receiver_id", metavar="RECEIVER")
@click.option("--yes", is_flag=True, help="Do not ask.")
@speaks_to_broker
def delete_receiver(url: str, token: str, receiver_id: str, yes: bool) -> None:
    """Tell it nothing any more, not even what waits."""
    if not yes:
        click.confirm(f"Delete the receiver '{receiver_id}'?", abort=True)
    Remote(url, token).delete(f"{ALL}/{quoted(receiver_id)}")
    click.echo(f"{receiver_id}: deleted")


def _found(remote: Remote, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = remote.get(f"{ALL}/{quoted(name)}")
    except Refused as error:
        if error.status == NOT_FOUND:
            return None
        raise
    return found


def _said(before: dict[str, Any] | None, after: dict[str, Any]) -> str:
    if before is None:
        return "added"
    if any(before.get(name) != after[name] for name in after if name not in GENERATED):
        return "changed"
    # Whether something masked is other than before cannot be told.
    return "as it was" if after["send"]["kind"] == "email" else "as it was, as far as it is shown"
