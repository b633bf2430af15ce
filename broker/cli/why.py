"""`knutpunkt why`: where a value comes from."""

from __future__ import annotations

from typing import Any

import click

from broker.cli.remote import Remote, speaks_to_broker
from broker.cli.tables import as_json, when


@click.command()
@click.argument("entity", metavar="ENTITY")
@click.argument("attribute", metavar="ATTRIBUTE")
@click.option("--at", help="The value at that time (ISO 8601); by default the current one.")
@click.option("--dataset", help="Of the instance with this datasetId.")
@click.option("--json", "as_text", is_flag=True, help="JSON, for scripts.")
@speaks_to_broker
def why(url: str, token: str, entity: str, attribute: str, at: str | None, dataset: str | None, as_text: bool) -> None:
    """Why ATTRIBUTE of ENTITY is what it is: which bytes of which device, by which binding, who was told.

    \b
    knutpunkt why urn:ngsi-ld:Room:214 temperature
    knutpunkt why urn:ngsi-ld:Room:214 temperature --at 2026-03-01T13:30:00Z
    """
    asked = {"entity": entity, "attribute": attribute, "at": at, "datasetId": dataset}
    found = Remote(url, token).get(
        "/api/v1/lineage", **{name: value for name, value in asked.items() if value is not None}
    )
    if as_text:
        as_json(found)
        return
    for label, text in _lines(found):
        click.echo(f"{label + ':':<18}{text}")


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    instance = found["instance"]
    value = next(
        (instance[name] for name in ("value", "object", "languageMap", "vocab", "json") if name in instance), ""
    )
    lines = [
        ("Value", f"{value} {instance.get('unitCode', '')}".strip()),
        ("Observed", when(found["observedAt"])),
        ("Committed", when(found["recordedAt"])),
    ]
    if found["from"] == "client":
        lines.append(("Written by", "a client, through NGSI-LD"))
    made = found["made"] or {}
    if made:
        lines.append(("Made", ", ".join(f"{name} {shown}" for name, shown in made.items())))
    uplink, device, binding, swap = found["uplink"], found["device"], found["binding"], found["swap"]
    if uplink is not None:
        size = f"{uplink['bytes']} bytes" if uplink["raw"] is not None else "its bytes are not kept any more,"
        lines += [
            ("Uplink", f"{uplink['id']}, {size} by {uplink['source']}, {when(uplink['receivedAt'])}"),
        ]
    if device is not None:
        lines.append(("Device", f"{device['id']} {device.get('name', '')}".strip()))
    for label, thing in (("Device model", found["deviceModel"]), ("Virtual sensor", found["virtualSensor"])):
        if thing is not None:
            since = f", as defined {when(thing['since'])}" if thing["since"] else ""
            lines.append((label, f"{thing['id']}{since}"))
    if binding is not None:
        until = f" to {when(binding['validTo'])}" if binding["validTo"] else " on"
        lines.append(("Bound", f"{binding['virtualSensor']} from {when(binding['validFrom'])}{until}"))
    if swap is not None and (swap["by"] or swap["why"]):
        lines.append(
            ("Put there", " ".join(part for part in (f"by {swap['by']}" if swap["by"] else "", swap["why"]) if part))
        )
    again = found["reprocessing"]
    if again is not None:
        said = " ".join(part for part in (f"by {again['by']}" if again["by"] else "", again["note"]) if part)
        lines.append(("Decoded again", f"{when(again['startedAt'])} {said}".strip() + f", reprocessing {again['id']}"))
    lines += [("Before it", _earlier(one)) for one in found["earlier"]]
    lines += [("Told", f"{one['subscription']}, {when(one['deliveredAt'])}") for one in found["told"]]
    return lines


def _earlier(one: dict[str, Any]) -> str:
    value = one["instance"].get("value") if one["instance"] else None
    how = "superseded by a reprocessing" if one["reprocessing"] else "taken back"
    return f"{value}, of device {one['device']}, {how}" if one["device"] else f"{value}, {how}"
