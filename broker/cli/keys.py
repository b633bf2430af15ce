"""`knutpunkt device key`: what proves over CoAP which device speaks."""

from __future__ import annotations

import getpass
from typing import Any

import click

from broker.cli.devices import json_option
from broker.cli.remote import Remote, quoted, speaks_to_broker
from broker.cli.tables import as_json, table, when

WEEK_SECONDS = 7 * 24 * 3600
scheme_option = click.option(
    "--scheme",
    type=click.Choice(["oscore", "dtls-psk"]),
    default="oscore",
    show_default=True,
    help="OSCORE, or DTLS with a pre-shared key.",
)
by_option = click.option("--by", default=None, help="Who does it; by default who you are on this machine.")


@click.group()
def key() -> None:
    """Keys of devices that speak CoAP. Add, rotate, list, revoke."""


@key.command("add")
@click.argument("device_id", metavar="DEVICE")
@scheme_option
@click.option("--identity", help="With dtls-psk: the identity; by default the device and a random ending.")
@click.option("--key", "own", metavar="HEX", help="With dtls-psk: the key that the device has already.")
@by_option
@click.option("--note", default=None)
@json_option
@speaks_to_broker
def add_key(
    url: str,
    token: str,
    device_id: str,
    scheme: str,
    identity: str | None,
    own: str | None,
    by: str | None,
    note: str | None,
    as_text: bool,
) -> None:
    """Make a key for DEVICE and print it: it is never shown again. The device is not heard without a key from then on."""
    document: dict[str, Any] = {"scheme": scheme, "by": by or _me(), "note": note}
    psk = {name: value for name, value in (("identity", identity), ("key", own)) if value is not None}
    if psk:
        document["psk"] = psk
    _add(Remote(url, token), device_id, document, as_text)


@key.command("rotate")
@click.argument("device_id", metavar="DEVICE")
@scheme_option
@click.option(
    "--overlap",
    type=int,
    default=WEEK_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long the old ones hold.",
)
@by_option
@json_option
@speaks_to_broker
def rotate_key(url: str, token: str, device_id: str, scheme: str, overlap: int, by: str | None, as_text: bool) -> None:
    """Make a new key for DEVICE and print it; its other keys of the scheme hold for a while yet."""
    document = {"scheme": scheme, "othersEndInSeconds": overlap, "by": by or _me()}
    _add(Remote(url, token), device_id, document, as_text)


@key.command("list")
@click.argument("device_id", metavar="DEVICE")
@json_option
@speaks_to_broker
def list_keys(url: str, token: str, device_id: str, as_text: bool) -> None:
    """DEVICE's keys, without their secrets."""
    keys = Remote(url, token).get(_path(device_id))
    if as_text:
        as_json(keys)
        return
    table(
        ("KEY", "SCHEME", "IDENTITY", "IN FORCE", "CREATED", "ENDS", "BY"),
        [
            (
                one["id"],
                one["scheme"],
                one["psk"]["identity"] if "psk" in one else one["oscore"]["senderId"],
                "yes" if one["inForce"] else "revoked" if one["revokedAt"] else "ended",
                when(one["createdAt"]),
                when(one["endsAt"]) if one["endsAt"] else "",
                one["by"],
            )
            for one in keys
        ],
        "The device has no key.",
    )


@key.command("revoke")
@click.argument("device_id", metavar="DEVICE")
@click.argument("key_id", metavar="KEY")
@speaks_to_broker
def revoke_key(url: str, token: str, device_id: str, key_id: str) -> None:
    """Revoke KEY of DEVICE, at once and for ever."""
    Remote(url, token).delete(f"{_path(device_id)}/{quoted(key_id)}")
    click.echo("Revoked.")


def _add(remote: Remote, device_id: str, document: dict[str, Any], as_text: bool) -> None:
    made = remote.post(_path(device_id), {name: value for name, value in document.items() if value is not None})
    if as_text:
        as_json(made)
        return
    click.echo(f"Key {made['id']} of {made['device']}. It is not shown again:")
    for name, value in (made.get("oscore") or made.get("psk")).items():
        click.echo(f"  {name:<13} {value if value is not None else '-'}")


def _path(device_id: str) -> str:
    return f"/api/v1/devices/{quoted(device_id.lower())}/keys"


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
