"""`knutpunkt send`, `knutpunkt command`: tell a sensor something, and see what became of it."""

from __future__ import annotations

import getpass
import json
from typing import Any

import click

from broker.cli.devices import everything, json_option
from broker.cli.remote import Remote, quoted, speaks_to_broker
from broker.cli.tables import as_json, table, when
from broker.clock import Clock, iso

STATUSES = ("queued", "sent", "acknowledged", "failed", "expired", "cancelled")


@click.command()
@click.argument("virtual_sensor", metavar="SENSOR")
@click.argument("command", metavar="[COMMAND", required=False)
@click.argument("values", metavar="[NAME=VALUE]...]", nargs=-1)
@click.option("--expires", type=int, metavar="SECONDS", help="How long it may wait; by default a day.")
@click.option("--by", default=None, help="Who asks for it; by default who you are on this machine.")
@json_option
@speaks_to_broker
def send(
    url: str,
    token: str,
    virtual_sensor: str,
    command: str | None,
    values: tuple[str, ...],
    expires: int | None,
    by: str | None,
    as_text: bool,
) -> None:
    """Tell SENSOR (a virtual sensor) to do COMMAND, one of its device's model. It is sent when the device can be told.

    Without COMMAND: which there are.

    \b
    knutpunkt send archive-climate
    knutpunkt send archive-climate set-reporting-interval seconds=1200
    knutpunkt send archive-climate reboot
    """
    if command is None:
        _list_possible(Remote(url, token), virtual_sensor, as_text)
        return
    document: dict[str, Any] = {"command": command, "by": by if by is not None else _me()}
    if values:
        document["parameters"] = dict(_value(each) for each in values)
    if expires is not None:
        document["expiresInSeconds"] = expires
    path = f"/api/v1/virtual-sensors/{quoted(virtual_sensor)}/commands"
    queued = Remote(url, token).post(path, {name: value for name, value in document.items() if value != ""})
    if as_text:
        as_json(queued)
        return
    click.echo(f"Queued as {queued['id']} until {when(queued['expiresAt'])}.")
    if queued["reason"]:
        click.echo(queued["reason"])
    click.echo(f"What becomes of it: knutpunkt command show {queued['id']}")


@click.group()
def command() -> None:
    """Commands to sensors. List, show, cancel; `knutpunkt send` sends one."""


@command.command("list")
@click.option("--sensor", help="Only of this virtual sensor.")
@click.option("--device", help="Only of this device.")
@click.option("--status", type=click.Choice(STATUSES), help="Only with this status.")
@click.option("--open", "only_open", is_flag=True, help="Only those that anything more is to become of.")
@json_option
@speaks_to_broker
def list_commands(
    url: str, token: str, sensor: str | None, device: str | None, status: str | None, only_open: bool, as_text: bool
) -> None:
    """Commands, from the oldest to the newest."""
    asked = {"virtualSensor": sensor, "device": device, "status": status, "open": "true" if only_open else None}
    filters = {name: value for name, value in asked.items() if value}
    commands = list(everything(Remote(url, token), "/api/v1/commands", **filters))
    if as_text:
        as_json(commands)
        return
    table(
        ("COMMAND", "VIRTUAL SENSOR", "WHAT", "STATUS", "QUEUED", "DEVICE", "WHY"),
        [
            (
                one["id"],
                one["virtualSensor"],
                " ".join([one["command"], *(f"{name}={_text(value)}" for name, value in one["parameters"].items())]),
                one["status"],
                when(one["queuedAt"]),
                one["device"],
                one["reason"],
            )
            for one in commands
        ],
        "There is no such command.",
    )


@command.command("show")
@click.argument("command_id", metavar="COMMAND")
@json_option
@speaks_to_broker
def show_command(url: str, token: str, command_id: str, as_text: bool) -> None:
    """One command, and each step that it took."""
    one = Remote(url, token).get(f"/api/v1/commands/{quoted(command_id)}")
    if as_text:
        as_json(one)
        return
    what = " ".join([one["command"], *(f"{name}={_text(value)}" for name, value in one["parameters"].items())])
    for label, value in (
        ("Command", one["id"]),
        ("Sensor", one["virtualSensor"]),
        ("What", what),
        ("Asked by", one["by"]),
        ("Status", one["status"] + ("" if one["open"] else ", ended")),
        ("Why", one["reason"]),
        ("Device", f"{one['device']} ({one['model']}) over {one['network']}" if one["device"] else None),
        (
            "Bytes",
            f"{one['payload']}" + (f" on fPort {one['fPort']}" if one["fPort"] else "") if one["payload"] else None,
        ),
        ("Attempts", one["attempts"]),
        ("Queued", when(one["queuedAt"])),
        ("Sent", _step(one["sentAt"])),
        ("Transmitted", _step(one["transmittedAt"])),
        ("Acknowledged", _step(one["acknowledgedAt"])),
        ("Ended", _step(one["endedAt"])),
        ("Expires", when(one["expiresAt"]) if one["open"] else None),
    ):
        if value not in (None, ""):
            click.echo(f"{label + ':':<14}{value}")


@command.command("cancel")
@click.argument("command_id", metavar="COMMAND")
@click.option("--by", default=None, help="Who no longer wants it; by default who you are on this machine.")
@speaks_to_broker
def cancel_command(url: str, token: str, command_id: str, by: str | None) -> None:
    """Cancel COMMAND, which is possible until it was sent."""
    name = by if by is not None else _me()
    Remote(url, token).post(f"/api/v1/commands/{quoted(command_id)}/cancel", {"by": name} if name else {})
    click.echo(f"{command_id} is cancelled.")


def _list_possible(remote: Remote, virtual_sensor: str, as_text: bool) -> None:
    """The commands of the device that the virtual sensor is now."""
    sensor = remote.get(f"/api/v1/virtual-sensors/{quoted(virtual_sensor)}")
    now = iso(Clock().now())
    devices = [
        binding["device"]
        for binding in sensor["bindings"]
        if binding["validFrom"] <= now and (binding["validTo"] is None or now < binding["validTo"])
    ]
    if not devices:
        raise click.ClickException(f"No device is '{virtual_sensor}' now.")
    model_id = remote.get(f"/api/v1/devices/{quoted(devices[0])}")["model"]
    commands = remote.get(f"/api/v1/device-models/{quoted(model_id)}").get("commands", {})
    if as_text:
        as_json(commands)
        return
    table(
        ("COMMAND", "PARAMETERS", "WHAT IT DOES"),
        [
            (
                name,
                ", ".join(f"{each}: {_allowed(rule)}" for each, rule in command.get("parameters", {}).items()),
                command.get("description"),
            )
            for name, command in sorted(commands.items())
        ],
        f"Nothing: device {devices[0]} is of the model '{model_id}', which has no commands.",
    )


def _allowed(rule: dict[str, Any]) -> str:
    """What a parameter may be, in short: '60-64800 SEC', 'open|close', 'true|false'."""
    if rule.get("choices"):
        return "|".join(rule["choices"])
    if rule.get("type") == "boolean":
        return "true|false"
    low, high = rule.get("minimum"), rule.get("maximum")
    bounds = (
        "-".join("" if bound is None else f"{bound:.12g}" for bound in (low, high))
        if (low, high) != (None, None)
        else ""
    )
    return " ".join(part for part in (bounds or rule.get("type", "integer"), rule.get("unit", "")) if part)


def _value(given: str) -> tuple[str, Any]:
    """NAME=VALUE; numbers, true and false are read as in JSON, all else is text."""
    name, equals, value = given.partition("=")
    if not name or not equals:
        raise click.ClickException(f"A parameter is written NAME=VALUE, got '{given}'.")
    try:
        read = json.loads(value)
    except ValueError:
        return name, value
    return name, read if isinstance(read, bool | int | float) else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _step(at: str | None) -> str | None:
    return when(at) if at else None


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
