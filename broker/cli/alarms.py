"""`knutpunkt alarm`: what is wrong, who takes care, what is planned."""

from __future__ import annotations

import getpass
from typing import Any, get_args

import click

from broker.cli.devices import json_option
from broker.cli.remote import Remote, quoted, speaks_to_broker
from broker.cli.tables import as_json, table, when
from broker.devices.model import AlarmKind, Severity

PAGE = 1000


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "command line"


by_option = click.option("--by", default=_user, show_default="you", help="Who does it.")


@click.group()
def alarm() -> None:
    """Alarms: silent devices, low batteries, weak radio, values beyond their limits. List, acknowledge, close, shelve."""


@alarm.command("list")
@click.option(
    "--state",
    type=click.Choice(("active", "open", "acknowledged", "closed", "all")),
    default="active",
    show_default=True,
    help="active: open or acknowledged.",
)
@click.option("--severity", type=click.Choice(get_args(Severity)), help="Only of this severity.")
@click.option("--kind", type=click.Choice(get_args(AlarmKind)), help="Only of this kind.")
@click.option("--sensor", metavar="VIRTUAL_SENSOR", help="Only of this virtual sensor.")
@json_option
@speaks_to_broker
def list_alarms(
    url: str, token: str, state: str, severity: str | None, kind: str | None, sensor: str | None, as_text: bool
) -> None:
    """What is wrong now, the newest last."""
    asked = {"state": state if state != "all" else None, "severity": severity, "kind": kind, "virtualSensor": sensor}
    found = _all(Remote(url, token), {name: value for name, value in asked.items() if value is not None})
    if as_text:
        as_json(found)
        return
    table(
        ("ALARM", "SINCE", "SEVERITY", "STATE", "VIRTUAL SENSOR", "WHAT"),
        [
            (one["id"], when(one["since"]), one["severity"], _state(one), one["virtualSensor"], one["text"])
            for one in found
        ],
        "There is no such alarm.",
    )


@alarm.command("show")
@click.argument("alarm_id", metavar="ALARM")
@json_option
@speaks_to_broker
def show_alarm(url: str, token: str, alarm_id: str, as_text: bool) -> None:
    """One alarm, and all that was done about it."""
    one = Remote(url, token).get(f"/api/v1/alarms/{quoted(alarm_id)}")
    if as_text:
        as_json(one)
        return
    for label, value in (
        ("Alarm", one["id"]),
        ("What", one["text"]),
        ("Severity", one["severity"]),
        ("Kind", one["kind"] + (f" ({one['rule']})" if one["rule"] else "")),
        ("Sensor", one["virtualSensor"]),
        ("Entity", one["entity"]),
        ("Device", one["device"]),
        ("Since", when(one["since"])),
        ("Alert", one["alert"]),
    ):
        click.echo(f"{label + ':':<10}{value if value not in (None, '') else '-'}")
    click.echo()
    table(
        ("WHEN", "STATE", "WHO", "WHY", "COMMENT"),
        [
            (when(step["at"]), step["state"], step.get("by"), step.get("because"), step.get("comment"))
            for step in one["steps"]
        ],
        "Nothing was done about it.",
    )


@alarm.command("ack")
@click.argument("alarm_id", metavar="ALARM")
@click.option("--comment", default="", help="What will be done.")
@by_option
@speaks_to_broker
def acknowledge(url: str, token: str, alarm_id: str, comment: str, by: str) -> None:
    """Say that you have seen it and take care. Again adds a comment."""
    _tell(Remote(url, token).post(f"/api/v1/alarms/{quoted(alarm_id)}/acknowledge", _step(by, comment)))


@alarm.command("close")
@click.argument("alarm_id", metavar="ALARM")
@click.option("--comment", default="", help="What was done.")
@by_option
@speaks_to_broker
def close(url: str, token: str, alarm_id: str, comment: str, by: str) -> None:
    """Close it by hand. While it is still wrong, it does not open again."""
    _tell(Remote(url, token).post(f"/api/v1/alarms/{quoted(alarm_id)}/close", _step(by, comment)))


@alarm.command("shelve")
@click.argument("what", metavar="VIRTUAL_SENSOR|ENTITY")
@click.option("--until", required=True, help="When the work is over (ISO 8601).")
@click.option("--reason", default="", help="What is done there.")
@by_option
@speaks_to_broker
def shelve(url: str, token: str, what: str, until: str, reason: str, by: str) -> None:
    """No alarm opens until then: planned work. The URN of a room or a building shelves all that is in it.

    \b
    knutpunkt alarm shelve room-214-climate --until 2026-03-01T16:00:00Z --reason "New windows"
    """
    document = {"until": until, "by": by, **({"reason": reason} if reason else {})}
    remote = Remote(url, token)
    if what.startswith("urn:"):
        names = remote.post("/api/v1/alarms/shelve", {"entity": what, **document})["virtualSensors"]
    else:
        remote.post(f"/api/v1/virtual-sensors/{quoted(what)}/shelve", document)
        names = [what]
    click.echo(f"Shelved until {until}: {', '.join(names)}.")


@alarm.command("unshelve")
@click.argument("virtual_sensor", metavar="VIRTUAL_SENSOR")
@by_option
@speaks_to_broker
def unshelve(url: str, token: str, virtual_sensor: str, by: str) -> None:
    """The work is over already."""
    Remote(url, token).post(f"/api/v1/virtual-sensors/{quoted(virtual_sensor)}/unshelve", {"by": by})
    click.echo(f"{virtual_sensor} alarms again.")


def _all(remote: Remote, asked: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = remote.get("/api/v1/alarms", **asked, limit=str(PAGE), after=after)
        found += page
        if len(page) < PAGE:
            return found
        after = page[-1]["id"]


def _step(by: str, comment: str) -> dict[str, str]:
    return {"by": by, **({"comment": comment} if comment else {})}


def _state(alarm_: dict[str, Any]) -> str:
    if alarm_["state"] == "acknowledged":
        return f"acknowledged by {alarm_['acknowledgedBy']}"
    return f"closed: {alarm_['closedBecause']}" if alarm_["state"] == "closed" else "open"


def _tell(alarm_: dict[str, Any]) -> None:
    click.echo(f"{alarm_['virtualSensor']}: {alarm_['text']} Now {_state(alarm_)}.")
