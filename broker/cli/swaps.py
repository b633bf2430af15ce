"""`knutpunkt swap|undo|swaps|quarantine`: what operations staff do on site."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from typing import Any

import click

from broker.cli.remote import Remote, quoted, speaks_to_broker
from broker.cli.tables import as_json, table, when

json_option = click.option("--json", "as_text", is_flag=True, help="JSON, for scripts.")


def said_by(command: Callable[..., None]) -> Callable[..., None]:
    """Options for the record: who and why."""
    command = click.option("--why", default="", help="For those who read the record later.")(command)
    return click.option("--by", default=_me, show_default="your login name", help="Who says so, for the record.")(
        command
    )


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its user
        return ""


@click.command()
@click.argument("virtual_sensor", metavar="VIRTUAL_SENSOR")
@click.argument("new_device", metavar="NEW_DEVICE")
@click.option("--at", help="From when (ISO 8601, also past or future); by default now.")
@click.option("--model", help="Device model of NEW_DEVICE, if it is not registered; by default that of the old one.")
@click.option("--channel", help="The channel of NEW_DEVICE that becomes the virtual sensor; by default all of it.")
@click.option(
    "--end", "ended", multiple=True, metavar="QUANTITY=READING", help="What the old meter shows: volume=1240.1"
)
@click.option("--start", "begun", multiple=True, metavar="QUANTITY=READING", help="What the new meter shows.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@said_by
@speaks_to_broker
def swap(
    url: str,
    token: str,
    virtual_sensor: str,
    new_device: str,
    at: str | None,
    model: str | None,
    channel: str | None,
    ended: tuple[str, ...],
    begun: tuple[str, ...],
    dry_run: bool,
    by: str,
    why: str,
) -> None:
    """Put NEW_DEVICE (its DevEUI, IMEI, …) where the device of VIRTUAL_SENSOR was. Apps notice nothing but values.

    Dated in the past, what both devices have sent since is attributed anew. `knutpunkt undo` takes it back.

    \b
    knutpunkt swap room-214-climate A81758FFFE0312AB
    knutpunkt swap room-214-climate A81758FFFE0312AB --at 2026-03-01T13:30:00Z --why "battery dead"
    knutpunkt swap water-school 70B3D5FFFE0D0009 --end volume=1240.1 --start volume=0.012
    """
    asked = {
        "at": at,
        "model": model,
        "channel": channel,
        "by": by or None,
        "why": why or None,
        "endReadings": _readings(ended) or None,
        "startReadings": _readings(begun) or None,
        "dryRun": dry_run or None,
    }
    document: dict[str, Any] = {"virtualSensor": virtual_sensor, "device": new_device.lower()}
    document |= {member: value for member, value in asked.items() if value is not None}
    done = Remote(url, token).post("/api/v1/swaps", document)
    if dry_run:
        click.echo("Nothing is done yet. This would be so:")
    tell_swap(done)


@click.command()
@click.argument("which", metavar="VIRTUAL_SENSOR|SWAP")
@said_by
@speaks_to_broker
def undo(url: str, token: str, which: str, by: str, why: str) -> None:
    """Take back the last swap of a virtual sensor (its id, or the swap's), as if it had not been.

    What both devices have sent since is attributed anew; nothing is lost.
    """
    remote = Remote(url, token)
    standing = [one for one in remote.get("/api/v1/swaps", virtualSensor=which, limit="1000") if not one["undoneAt"]]
    # By when it holds, then by when it was said: swaps may be dated back.
    swap_id = max(standing, key=lambda one: (one["at"], one["recordedAt"]))["id"] if standing else which
    undone = remote.post(f"/api/v1/swaps/{quoted(swap_id)}/undo", {"by": by, "why": why} if why else {"by": by})
    record, reopened = undone["swap"], undone["reopened"]
    click.echo(f"The swap of {record['virtualSensor']} at {when(record['at'])} is undone.")
    if reopened:
        click.echo(
            f"{record['virtualSensor']} is device {reopened['device']} again, since {when(reopened['validFrom'])}."
        )
    else:
        click.echo(f"No device is {record['virtualSensor']}.")
    _tell_replayed(undone["replayed"])


@click.command()
@click.argument("virtual_sensor", metavar="[VIRTUAL_SENSOR]", required=False)
@json_option
@speaks_to_broker
def swaps(url: str, token: str, virtual_sensor: str | None, as_text: bool) -> None:
    """Who put which device where, when and why: of one virtual sensor or of all."""
    asked = {"virtualSensor": virtual_sensor} if virtual_sensor else {}
    found = Remote(url, token).get("/api/v1/swaps", limit="1000", **asked)
    if as_text:
        as_json(found)
        return
    table(
        ("VIRTUAL SENSOR", "FROM", "DEVICE", "BEFORE", "BY", "WHY", "SWAP"),
        [
            (
                one["virtualSensor"],
                when(one["at"]) + (" (planned)" if one["planned"] else " (undone)" if one["undoneAt"] else ""),
                one["device"] or "none",
                one["replaced"] or "none",
                one["by"],
                one["why"],
                one["id"],
            )
            for one in found
        ],
        "Nothing was swapped yet.",
    )


@click.command()
@click.argument("virtual_sensor", metavar="VIRTUAL_SENSOR")
@json_option
@speaks_to_broker
def candidates(url: str, token: str, virtual_sensor: str, as_text: bool) -> None:
    """Devices in quarantine that could be VIRTUAL_SENSOR's next, the likeliest first."""
    found = Remote(url, token).get(f"/api/v1/virtual-sensors/{quoted(virtual_sensor)}/candidates")
    if as_text:
        as_json(found)
        return
    table(
        ("DEVICE", "LAST HEARD", "WHY"),
        [(one["device"], when(one["last"]), "; ".join(one["reasons"])) for one in found],
        "No device waits in the quarantine.",
    )


@click.group(invoke_without_command=True)
@json_option
@speaks_to_broker
@click.pass_context
def quarantine(context: click.Context, url: str, token: str, as_text: bool) -> None:
    """Devices whose uplinks wait for someone to say what they are (`knutpunkt device claim`)."""
    if context.invoked_subcommand is not None:
        return
    groups = Remote(url, token).get("/api/v1/quarantine")
    if as_text:
        as_json(groups)
        return
    table(
        ("DEVICE", "UPLINKS", "FIRST", "LAST", "REASON"),
        [(one["device"], one["count"], when(one["first"]), when(one["last"]), one["reason"]) for one in groups],
        "The quarantine is empty.",
    )


@quarantine.command("discard")
@click.argument("device_id", metavar="DEVICE")
@said_by
@speaks_to_broker
def discard(url: str, token: str, device_id: str, by: str, why: str) -> None:
    """Discard what waits of DEVICE. It is kept, marked as discarded, and never applied."""
    document = {member: value for member, value in (("by", by), ("why", why)) if value}
    done = Remote(url, token).post(f"/api/v1/quarantine/{quoted(device_id.lower())}/discard", document)
    click.echo(f"{done['discarded']} {'uplink' if done['discarded'] == 1 else 'uplinks'} discarded.")


def tell_swap(done: dict[str, Any]) -> None:
    """What a swap does, for people."""
    binding, closed = done["binding"], done["closed"]
    click.echo(f"{binding['virtualSensor']} is device {binding['device']} from {when(binding['validFrom'])}.")
    if closed:
        click.echo(f"It was device {closed['device']} since {when(closed['validFrom'])}.")
    if done["registered"]:
        click.echo(f"Device {done['registered']['id']} is registered with the model {done['registered']['model']}.")
    if done["notServed"]:
        click.echo(f"Not served any more by this model: {', '.join(done['notServed'])}.")
    for one in done["units"]:
        click.echo(f"{one['quantity']} comes in {one['after']} instead of {one['before']}; it is converted.")
    before, after = done["intervalSeconds"]["before"], done["intervalSeconds"]["after"]
    if closed and before != after:
        click.echo(f"It is expected every {after or '?'} s instead of every {before or '?'} s.")
    for one in done["alarmsClosing"]:
        click.echo(f"Alarm closed: {one['text']}")
    for one in done["meters"]:
        exactly = f"offset {one['offset']}" if one["offset"] is not None else "from the new meter's first reading on"
        click.echo(f"{one['attribute']} goes on from {one['value']}, {exactly}.")
    _tell_replayed(done.get("replayed", {}))


def _readings(given: tuple[str, ...]) -> dict[str, float]:
    """'volume=1240.1', … as an object."""
    made: dict[str, float] = {}
    for one in given:
        name, _, reading = one.partition("=")
        try:
            made[name] = float(reading)
        except ValueError:
            raise click.BadParameter(f"a reading is QUANTITY=NUMBER such as volume=1240.1, got '{one}'") from None
    return made


def _tell_replayed(replayed: dict[str, int]) -> None:
    if any(replayed.values()):
        click.echo(
            f"Uplinks looked at again: {replayed['applied']} applied, {replayed['rejected']} rejected, "
            f"{replayed['left']} in quarantine."
        )
