"""`knutpunkt model|device|sensor put|delete`, `knutpunkt model list|show`: the registry, one thing at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from broker.cli.devices import device, everything, json_option, sensor
from broker.cli.files import Unreadable, read_files
from broker.cli.remote import Refused, Remote, quoted, speaks_to_broker
from broker.cli.tables import as_json, table

file_option = click.option(
    "-f", "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="All of it, as YAML or JSON."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group()
def model() -> None:
    """Device models: what makes of device send. List, show, put, delete."""


@model.command("list")
@click.option("--search", default="", help="Only those with this text in their id, name or vendor.")
@json_option
@speaks_to_broker
def list_models(url: str, token: str, search: str, as_text: bool) -> None:
    """Every device model."""
    models = list(everything(Remote(url, token), "/api/v1/device-models", **({"search": search} if search else {})))
    if as_text:
        as_json(models)
        return
    table(
        ("MODEL", "VENDOR", "NAME", "CODEC", "NETWORK", "EVERY"),
        [
            (
                one["id"],
                one["vendor"],
                one["name"],
                one["codec"],
                one["network"],
                _every(one["expectedIntervalSeconds"]),
            )
            for one in models
        ],
        "There is no device model.",
    )


@model.command("show")
@click.argument("model_id", metavar="MODEL")
@speaks_to_broker
def show_model(url: str, token: str, model_id: str) -> None:
    """One device model. JSON."""
    as_json(Remote(url, token).get(f"/api/v1/device-models/{quoted(model_id)}"))


@model.command("put")
@click.argument("model_id", metavar="[MODEL]", required=False)
@file_option
@speaks_to_broker
def put_model(url: str, token: str, model_id: str | None, file: Path | None) -> None:
    """Add a device model, or replace it, by a file such as those in schemas/models."""
    if file is None:
        raise click.UsageError("-f must name the file that says what the model sends.")
    _put(Remote(url, token), "device-models", "Device model", model_id, _content(file))


@model.command("delete")
@click.argument("model_id", metavar="MODEL")
@yes_option
@speaks_to_broker
def delete_model(url: str, token: str, model_id: str, yes: bool) -> None:
    """Delete a device model that no device has."""
    _delete(Remote(url, token), "device-models", "device model", model_id, yes=yes)


@device.command("put")
@click.argument("device_id", metavar="[DEVICE]", required=False)
@click.option("--model", "model_id", help="Its device model.")
@click.option("--name", help="What people call it.")
@click.option("--note", help="For those who look for it.")
@file_option
@speaks_to_broker
def put_device(
    url: str,
    token: str,
    device_id: str | None,
    model_id: str | None,
    name: str | None,
    note: str | None,
    file: Path | None,
) -> None:
    """Register DEVICE, or change what is said of it: by options those members, by a file all of it."""
    given = {"model": model_id, "name": name, "note": note}
    remote, wanted = Remote(url, token), device_id.lower() if device_id else None
    _put_or_change(
        remote, "devices", "Device", wanted, file, {key: one for key, one in given.items() if one is not None}
    )


@device.command("delete")
@click.argument("device_id", metavar="DEVICE")
@yes_option
@speaks_to_broker
def delete_device(url: str, token: str, device_id: str, yes: bool) -> None:
    """Delete a device that is no virtual sensor. What it observed stays."""
    _delete(Remote(url, token), "devices", "device", device_id.lower(), yes=yes)


@sensor.command("put")
@click.argument("virtual_sensor", metavar="[VIRTUAL_SENSOR]", required=False)
@click.option("--name", help="What people call it.")
@click.option("--entity", help="URN of the entity that it writes.")
@click.option("--type", "entity_type", help="The entity's type.")
@click.option("--output", "outputs", multiple=True, help="QUANTITY=ATTRIBUTE; once for each.", metavar="OUTPUT")
@click.option("--note", help="For those who look for it.")
@file_option
@speaks_to_broker
def put_sensor(
    url: str,
    token: str,
    virtual_sensor: str | None,
    name: str | None,
    entity: str | None,
    entity_type: str | None,
    outputs: tuple[str, ...],
    note: str | None,
    file: Path | None,
) -> None:
    """Define VIRTUAL_SENSOR, or change it: by options those members, by a file all of it.

    \b
    knutpunkt sensor put room-214-climate --name "Room 214" --type IndoorEnvironmentObserved \\
        --entity urn:ngsi-ld:IndoorEnvironmentObserved:room-214 --output temperature=temperature
    """
    given: dict[str, Any] = {"name": name, "entity": entity, "entityType": entity_type, "note": note}
    given = {key: one for key, one in given.items() if one is not None}
    if outputs:
        given["outputs"] = [_output(each) for each in outputs]
    _put_or_change(Remote(url, token), "virtual-sensors", "Virtual sensor", virtual_sensor, file, given)


@sensor.command("delete")
@click.argument("virtual_sensor", metavar="VIRTUAL_SENSOR")
@yes_option
@speaks_to_broker
def delete_sensor(url: str, token: str, virtual_sensor: str, yes: bool) -> None:
    """Delete a virtual sensor that no device is. Its entity and its history stay."""
    _delete(Remote(url, token), "virtual-sensors", "virtual sensor", virtual_sensor, yes=yes)


def _put_or_change(
    remote: Remote, path: str, word: str, thing_id: str | None, file: Path | None, given: dict[str, Any]
) -> None:
    if file is not None:
        if given:
            raise click.UsageError("Options or a file, not both: a file says all of it.")
        _put(remote, path, word, thing_id, _content(file))
        return
    if thing_id is None or not given:
        raise click.UsageError("Say which one, and at least one option; or a file with -f.")
    try:
        remote.patch(f"/api/v1/{path}/{quoted(thing_id)}", given)
    except Refused as refused:
        if refused.status != 404:
            raise
        remote.put(f"/api/v1/{path}/{quoted(thing_id)}", given)
    click.echo(f"{word} {thing_id} is there.")


def _put(remote: Remote, path: str, word: str, thing_id: str | None, document: dict[str, Any]) -> None:
    thing_id = thing_id or document.get("id")
    if not isinstance(thing_id, str):
        raise click.UsageError("The file has no 'id': say which one it is.")
    remote.put(f"/api/v1/{path}/{quoted(thing_id)}", document)
    click.echo(f"{word} {thing_id} is there.")


def _content(file: Path) -> dict[str, Any]:
    try:
        documents = list(read_files([file]))
    except Unreadable as error:
        raise click.ClickException(str(error)) from None
    if len(documents) != 1:
        raise click.ClickException(f"{file}: it must have one document, got {len(documents)}; for several, `apply`.")
    content = dict(documents[0].content)
    content.pop("kind", None)
    return content


def _delete(remote: Remote, path: str, word: str, thing_id: str, *, yes: bool) -> None:
    if not yes:
        click.confirm(f"Delete the {word} {thing_id}?", abort=True)
    remote.delete(f"/api/v1/{path}/{quoted(thing_id)}")
    click.echo(f"The {word} {thing_id} is gone.")


def _output(text: str) -> dict[str, str]:
    quantity, equals, attribute = text.partition("=")
    if not (quantity and equals and attribute):
        raise click.UsageError(f"--output must be QUANTITY=ATTRIBUTE, got '{text}'.")
    return {"quantity": quantity, "attribute": attribute}


def _every(seconds: int | None) -> str | None:
    return f"{seconds} s" if seconds else None
