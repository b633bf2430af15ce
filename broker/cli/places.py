"""`knutpunkt place`: buildings, rooms and any place. Import, list, show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from broker.cli.devices import json_option
from broker.cli.remote import Refused, Remote, quoted, speaks_to_broker
from broker.cli.tables import as_json, table, when

PLACES: Final = "/api/v1/places"
PAGE: Final = 1000
SHOWN: Final = 20
"""Rows of a report that are printed unless all are asked for, count."""
LONGEST: Final = 40
"""Characters of a value in the tree."""
_NUMBER: Final = re.compile(r"(\d+)")


@click.group()
def place() -> None:
    """Places: buildings, rooms and any other. Import, list, show."""


@place.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Write nothing: say what would change, and all that is wrong.")
@click.option("--type", "kind", metavar="TYPE", help="Type of rows that say none, e.g. Building.")
@click.option("--crs", type=click.Choice(["EPSG:3006", "EPSG:4326"]), help="What coordinates are, if not as FILE says.")
@click.option("--rename", metavar="YOURS:OURS,…", help="What columns are meant to be, e.g. OBJEKT_ID:id,NAMN:name.")
@click.option("--relationship", metavar="NAME", help="From a place to its parent; by default as suits their types.")
@click.option("--charset", metavar="NAME", help="Of a CSV file, if it is not UTF-8, e.g. windows-1252.")
@click.option("--all", "whole", is_flag=True, help=f"Print all rows, not the first {SHOWN}.")
@json_option
@speaks_to_broker
def import_places(
    url: str,
    token: str,
    file: Path,
    dry_run: bool,
    kind: str | None,
    crs: str | None,
    rename: str | None,
    relationship: str | None,
    charset: str | None,
    whole: bool,
    as_text: bool,
) -> None:
    """Bring in the places of FILE, GeoJSON or CSV (.csv, .txt). What other systems wrote of them stays.

    \b
    knutpunkt place import rooms.csv --dry-run
    knutpunkt place import buildings.geojson --type Building --rename OBJEKT_ID:id,NAMN:name
    """
    if file.suffix.lower() in (".csv", ".txt", ".tsv"):
        content_type = f"text/csv; charset={charset or 'utf-8'}"
    else:
        content_type = "application/geo+json"
    asked = {"type": kind, "crs": crs, "rename": rename, "relationship": relationship}
    query = {name: value for name, value in asked.items() if value is not None}
    if dry_run:
        query["dryRun"] = "true"
    try:
        report = Remote(url, token).send(f"{PLACES}/import", file.read_bytes(), content_type, **query)
    except Refused as error:
        if as_text:
            as_json(error.document)
        else:
            _problems(error.document.get("problems", []), whole)
        raise
    if as_text:
        as_json(report)
        return
    would = "would be " if report["dryRun"] else ""
    click.echo(
        f"{_counted(report['rows'], 'place')}: {report['created']} {would}created, {report['changed']} {would}changed, "
        f"{report['unchanged']} as they are."
    )
    if report["dryRun"]:
        _table(
            ("ROW", "PLACE", "WOULD BE", "ATTRIBUTES"),
            [(one["row"], one["id"], one["what"], ", ".join(one["attributes"])) for one in report["places"]],
            whole,
        )
    if report["warnings"]:
        click.echo("\nTo be looked at:")
        _problems(report["warnings"], whole)
    if report["problems"]:
        click.echo("\nWrong; nothing is written before it is put right:" if report["dryRun"] else "\nNot written:")
        _problems(report["problems"], whole)
        raise click.exceptions.Exit(1)


def _problems(problems: list[dict[str, Any]], whole: bool) -> None:
    rows = [(one["row"], one["member"], one["problem"]) for one in problems]
    _table(("ROW", "COLUMN", "PROBLEM"), rows, whole)


def _table(headings: tuple[str, ...], rows: list[tuple[Any, ...]], whole: bool) -> None:
    if not rows:
        return
    shown = rows if whole else rows[:SHOWN]
    table(headings, shown, "")
    if len(shown) < len(rows):
        click.echo(f"… and {len(rows) - len(shown)} more (--all).")


@place.command("list")
@click.option("--type", "kind", metavar="TYPE", help="Only of this type; '*' is any entity.")
@click.option("--search", metavar="TEXT", help="Only with this text in name or street address.")
@click.option("--near", metavar="LON,LAT,METRES", help="Only around a position.")
@click.option("--unplaced", is_flag=True, help="Instead, the virtual sensors that are at no place.")
@json_option
@speaks_to_broker
def list_places(
    url: str, token: str, kind: str | None, search: str | None, near: str | None, unplaced: bool, as_text: bool
) -> None:
    """Which places there are."""
    remote = Remote(url, token)
    if unplaced:
        sensors = list(_pages(remote, f"{PLACES}/unplaced", "sensors"))
        if as_text:
            as_json(sensors)
            return
        rows = [(one["id"], one["name"], one["entity"], one["reason"], one["place"]) for one in sensors]
        table(("VIRTUAL SENSOR", "NAME", "ENTITY", "WHY", "PLACE"), rows, "Every virtual sensor is at a place.")
        return
    asked = {"type": kind, "search": search, "near": near}
    given = {name: value for name, value in asked.items() if value is not None}
    places = list(_pages(remote, PLACES, "places", **given))
    if as_text:
        as_json(places)
        return
    table(
        ("NAME", "TYPE", "PLACE", "WITHIN"),
        [(one["name"], _types(one), one["id"], one["within"]) for one in places],
        "There is no such place.",
    )


@place.command("show")
@click.argument("place_id", metavar="PLACE")
@json_option
@speaks_to_broker
def show_place(url: str, token: str, place_id: str, as_text: bool) -> None:
    """All that is known of PLACE (its id) and of what it contains, as a tree: values, sensors, alarms, other data."""
    path = f"{PLACES}/{quoted(place_id)}/overview"
    remote = Remote(url, token)
    shown = remote.get(path, limit=str(PAGE))
    page = shown
    while page["next"] is not None:
        page = remote.get(path, limit=str(PAGE), after=page["next"], depth="0")
        shown["entities"] += page["entities"]
    shown["next"] = None
    if as_text:
        as_json(shown)
        return
    here = shown["place"] or {"id": place_id, "name": None, "type": None, "measured": {}, "other": {}, "sensors": []}
    if shown["ancestors"]:
        click.echo(" > ".join(one["name"] or one["id"] for one in shown["ancestors"]))
    click.echo(_headline(here) + ("" if shown["place"] else "  (not there, but others say that they are in it)"))
    summary = shown["summary"]
    click.echo(
        f"{place_id}: {_counted(summary['places'], 'place')}, {_counted(summary['entities'], 'entity')}, "
        f"{_counted(summary['sensors'], 'sensor')}, {_counted(summary['openAlarms'], 'open alarm')}, "
        f"last seen {when(summary['lastSeen'])}"
    )
    children: dict[str, list[dict[str, Any]]] = {}
    for one in shown["entities"]:
        children.setdefault(one["within"], []).append(one)
    for line in [*_facts(here), *_tree(place_id, children)]:
        click.echo(line)
    for alarm in shown["alarms"]:
        click.echo(f"! {alarm.get('severity', 'alarm')}: {alarm.get('text', alarm.get('id'))}")
    if not shown["complete"]:
        click.echo("… and more than one answer may hold (places.contained, places.levels).")


def _tree(parent: str, children: dict[str, list[dict[str, Any]]], margin: str = "") -> Iterator[str]:
    """The lines of what is within `parent`."""
    within = sorted(children.get(parent, ()), key=_order)
    for at, one in enumerate(within):
        last = at == len(within) - 1
        yield f"{margin}{'└─ ' if last else '├─ '}{_headline(one)}"
        below = margin + ("   " if last else "│  ")
        for fact in _facts(one):
            yield f"{below}{'│  ' if one['id'] in children else '   '}{fact}"
        yield from _tree(one["id"], children, below)


def _order(one: dict[str, Any]) -> list[tuple[int, int, str]]:
    """Room 9 before room 10."""
    parts = _NUMBER.split((one["name"] or one["id"]).casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _headline(one: dict[str, Any]) -> str:
    return f"{one['name'] or one['id']} ({_types(one)})" if one["type"] else str(one["id"])


def _types(one: dict[str, Any]) -> str:
    return ", ".join(one["type"]) if isinstance(one["type"], list) else str(one["type"])


def _facts(one: dict[str, Any]) -> Iterator[str]:
    """What there is to say of one entity: values, what other systems say, sensors."""
    if one["measured"]:
        yield ", ".join(f"{name} {_value(value)} ({_age(value)})" for name, value in one["measured"].items())
    said = {
        name: value for name, value in one["other"].items() if name not in ("name", "location") and "type" not in value
    }
    if said:
        yield ", ".join(f"{name}: {_value(value)}" for name, value in said.items())
    for sensor in one["sensors"]:
        parts = [f"sensor {sensor['id']}"]
        parts.append(
            f"is {sensor['device']}, heard {when(sensor['lastSeen'])}" if sensor["device"] else "has no device"
        )
        if sensor["batteryPercent"] is not None:
            about = "~" if sensor.get("batteryDerived") else ""
            parts.append(f"battery {about}{sensor['batteryPercent']:.0f} %")
        elif sensor["batteryVolts"] is not None:
            parts.append(f"battery {sensor['batteryVolts']:.2f} V")
        if sensor["alarms"]:
            parts.append(_counted(len(sensor["alarms"]), "open alarm"))
        yield ", ".join(parts)


def _counted(count: int, word: str) -> str:
    """'1 place', '2 entities'."""
    plural = word[:-1] + "ies" if word.endswith("y") else word + "s"
    return f"{count} {word if count == 1 else plural}"


def _value(shown: dict[str, Any]) -> str:
    value = shown["value"]
    if isinstance(value, (dict, list)):
        value = ", ".join(str(each) for each in (value.values() if isinstance(value, dict) else value))
    elif isinstance(value, bool):
        value = "true" if value else "false"
    text = f"{value} {shown['unitCode']}" if "unitCode" in shown else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _age(shown: dict[str, Any]) -> str:
    seconds = shown.get("ageSeconds")
    if seconds is None:
        return "no time"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _pages(remote: Remote, path: str, member: str, **query: str) -> Iterator[dict[str, Any]]:
    """All pages of a list."""
    after = ""
    while True:
        page = remote.get(path, **query, limit=str(PAGE), **({"after": after} if after else {}))
        yield from page[member]
        if page["next"] is None:
            return
        after = page["next"]
