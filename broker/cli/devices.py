"""`knutpunkt device|sensor`: the physical things, and the identities that last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from broker.cli.remote import Remote, quoted, speaks_to_broker
from broker.cli.swaps import said_by, tell_swap
from broker.cli.tables import as_json, table, when

PAGE = 1000

json_option = click.option("--json", "as_text", is_flag=True, help="JSON, for scripts.")


def everything(remote: Remote, path: str, **filters: str) -> Iterator[dict[str, Any]]:
    """All pages of a list."""
    after = ""
    while True:
        page = remote.get(path, limit=str(PAGE), after=after, **filters)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1]["id"]


@click.group()
def device() -> None:
    """Devices: the physical things. List, show, claim out of quarantine."""


search_option = click.option("--search", help="Only those with this text in their id, name or note.")


@device.command("list")
@search_option
@click.option("--model", help="Only of this device model.")
@click.option("--silent-for", metavar="DURATION", help="Only those not heard for so long: seconds, or PT2H, P1D.")
@click.option("--battery-below", metavar="PERCENT", help="Only those whose battery has less left.")
@click.option("--bound/--unbound", default=None, help="Only those that are a virtual sensor now, or that are none.")
@json_option
@speaks_to_broker
def list_devices(
    url: str,
    token: str,
    as_text: bool,
    search: str | None,
    model: str | None,
    silent_for: str | None,
    battery_below: str | None,
    bound: bool | None,
) -> None:
    """Registered devices, what they are now, and when they were last heard."""
    asked = {
        "search": search,
        "model": model,
        "silentFor": silent_for,
        "batteryBelow": battery_below,
        "bound": None if bound is None else str(bound).lower(),
    }
    given = {name: value for name, value in asked.items() if value is not None}
    devices = list(everything(Remote(url, token), "/api/v1/devices", **given))
    if as_text:
        as_json(devices)
        return
    table(
        ("DEVICE", "MODEL", "VIRTUAL SENSOR", "LAST SEEN", "UPLINKS", "RSSI", "BATTERY"),
        [
            (
                one["id"],
                one["model"],
                ", ".join(b["virtualSensor"] for b in one["bindings"] if b["validTo"] is None),
                when((one["state"] or {}).get("lastSeen")),
                (one["state"] or {}).get("uplinks", 0),
                (one["state"] or {}).get("rssi"),
                _battery(one["state"] or {}),
            )
            for one in devices
        ],
        "There is no such device." if given else "No device is registered.",
    )


@device.command("show")
@click.argument("device_id", metavar="DEVICE")
@json_option
@speaks_to_broker
def show_device(url: str, token: str, device_id: str, as_text: bool) -> None:
    """One device: its model, its state, and every virtual sensor it ever was."""
    one = Remote(url, token).get(f"/api/v1/devices/{quoted(device_id.lower())}")
    if as_text:
        as_json(one)
        return
    state = one["state"] or {}
    for label, value in (
        ("Device", one["id"]),
        ("Name", one.get("name")),
        ("Model", one["model"]),
        ("Last seen", when(state.get("lastSeen"))),
        ("Uplinks", state.get("uplinks", 0)),
        ("Radio", f"rssi {state['rssi']} dBm, snr {state.get('snr')} dB" if state.get("rssi") is not None else None),
        ("Battery", _battery(state)),
        ("Last problem", state.get("lastProblem")),
    ):
        click.echo(f"{label + ':':<14}{value if value not in (None, '') else '-'}")
    click.echo()
    table(
        ("VIRTUAL SENSOR", "FROM", "TO"),
        [
            (b["virtualSensor"], when(b["validFrom"]), when(b["validTo"]) if b["validTo"] else "now")
            for b in one["bindings"]
        ],
        "It was never bound to a virtual sensor.",
    )


@device.command("claim")
@click.argument("device_id", metavar="DEVICE")
@click.argument("virtual_sensor", metavar="VIRTUAL_SENSOR")
@click.option("--model", help="Device model; by default that of the device it replaces.")
@click.option("--name", default="", help="A name for the device.")
@click.option("--at", help="From when (ISO 8601); by default from when it was first heard.")
@said_by
@speaks_to_broker
def claim_device(
    url: str,
    token: str,
    device_id: str,
    virtual_sensor: str,
    model: str | None,
    name: str,
    at: str | None,
    by: str,
    why: str,
) -> None:
    """Say what an unknown DEVICE in quarantine is: VIRTUAL_SENSOR. What it has sent so far is replayed."""
    asked = {
        "virtualSensor": virtual_sensor,
        "model": model,
        "deviceName": name or None,
        "at": at,
        "by": by or None,
        "why": why or None,
    }
    document = {member: value for member, value in asked.items() if value}
    tell_swap(Remote(url, token).post(f"/api/v1/devices/{quoted(device_id.lower())}/claim", document))


@click.group()
def sensor() -> None:
    """Virtual sensors: the identities that last. List, show."""


@sensor.command("list")
@search_option
@click.option("--type", "entity_type", help="Only those whose entity is of this type.")
@click.option("--bound/--unbound", default=None, help="Only those that a device is now, or that none is.")
@json_option
@speaks_to_broker
def list_sensors(
    url: str, token: str, as_text: bool, search: str | None, entity_type: str | None, bound: bool | None
) -> None:
    """Virtual sensors, their entities and the devices that they are now."""
    asked = {
        "search": search,
        "entityType": entity_type,
        "unbound": None if bound is None else str(not bound).lower(),
    }
    given = {name: value for name, value in asked.items() if value is not None}
    sensors = list(everything(Remote(url, token), "/api/v1/virtual-sensors", **given))
    if as_text:
        as_json(sensors)
        return
    table(
        ("VIRTUAL SENSOR", "NAME", "DEVICE", "ENTITY"),
        [
            (
                one["id"],
                one["name"],
                ", ".join(b["device"] for b in one["bindings"] if b["validTo"] is None),
                one["entity"],
            )
            for one in sensors
        ],
        "There is no such virtual sensor." if given else "There is no virtual sensor.",
    )


@sensor.command("show")
@click.argument("virtual_sensor", metavar="VIRTUAL_SENSOR")
@speaks_to_broker
def show_sensor(url: str, token: str, virtual_sensor: str) -> None:
    """One virtual sensor: its contract with its entity, and every device it ever was. JSON."""
    as_json(Remote(url, token).get(f"/api/v1/virtual-sensors/{quoted(virtual_sensor)}"))


def _battery(state: dict[str, Any]) -> str | None:
    volts = f"{state['batteryVolts']:.2f} V" if state.get("batteryVolts") is not None else None
    if state.get("batteryPercent") is None:
        return volts
    percent = f"{state['batteryPercent']:.0f} %"
    return f"~{percent} ({volts})" if state.get("batteryDerived") else percent
