"""`knutpunkt reprocess`: kept uplinks decoded again after a codec, a unit or a mapping was corrected."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

import click

from broker.cli.remote import Remote, quoted, speaks_to_broker
from broker.cli.swaps import json_option, said_by
from broker.cli.tables import as_json, table, when
from broker.clock import iso, parse_network_time

LOOK_SECONDS = 0.5
"""How often it is looked how far it is."""
OPEN = ("waiting", "running")
ATTRIBUTES = 30
"""Attributes that are told of one by one, count."""


class Moment(click.ParamType[str]):
    """An ISO 8601 date-time with 'Z' or an offset, or a date, which begins at midnight UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As the API takes it."""
        text = str(value)
        at = parse_network_time(f"{text}T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else text)
        if at is None:
            self.fail(
                f"'{text}' is no ISO 8601 time: write 2026-03-01T13:30:00Z, 2026-03-01T14:30:00+01:00 or 2026-03-01.",
                param,
                ctx,
            )
        return iso(at)


@click.command()
@click.option("--model", help="Uplinks of devices of this model.")
@click.option("--device", help="Uplinks of this device.")
@click.option("--sensor", help="Uplinks of devices while they were this virtual sensor.")
@click.option("--from", "since", type=Moment(), required=True, help="Observed from then on (ISO 8601).")
@click.option("--to", "until", type=Moment(), help="Observed before then; by default now.")
@click.option("--notify", is_flag=True, help="Tell subscribers of current values that change.")
@click.option("--examples", type=click.IntRange(0, 1000), default=10, show_default=True, help="How many are shown.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@said_by
@speaks_to_broker
def reprocess(
    url: str,
    token: str,
    model: str | None,
    device: str | None,
    sensor: str | None,
    since: str,
    until: str | None,
    notify: bool,
    examples: int,
    dry_run: bool,
    yes: bool,
    as_text: bool,
    by: str,
    why: str,
) -> None:
    """Decode kept uplinks again, by the models, rules and bindings of now: after a codec, a unit or a mapping was corrected.

    Shows what would change first, and asks. What was there before is kept, as superseded. Of --model, --device and --sensor
    one or several say which uplinks.

    \b
    knutpunkt reprocess --model elsys-ers --from 2026-03-01 --to 2026-04-01
    knutpunkt reprocess --sensor room-214-climate --from 2026-03-01T13:30:00Z --yes --why "offset of the new certificate"
    """
    if not (model or device or sensor):
        raise click.UsageError("Say which uplinks: one or several of --model, --device and --sensor.")
    asked = {"model": model, "device": device, "virtualSensor": sensor, "from": since, "to": until}
    document: dict[str, Any] = {member: value for member, value in asked.items() if value is not None}
    remote = Remote(url, token)
    found = remote.post("/api/v1/reprocessings", {**document, "limit": examples})
    document |= {"from": found["from"], "to": found["to"]}
    if as_text and (dry_run or not yes):
        as_json(found)
    if not as_text:
        tell_difference(found)
    if dry_run or not (found["counts"]["superseded"] or found["counts"]["added"] or _moves(found) or yes):
        return
    if not yes:
        if as_text or not sys.stdin.isatty():
            raise click.ClickException("Nothing was done: say --yes where nobody can be asked.")
        click.confirm("Correct the history so?", abort=True)
    said = {"by": by, "note": why}
    job = remote.post(
        "/api/v1/reprocessings",
        {**document, "dryRun": False, "notify": notify, **{name: text for name, text in said.items() if text}},
    )
    ended = _followed(remote, job, quiet=as_text)
    if as_text:
        as_json(ended)
    if ended["state"] != "done":
        raise click.ClickException(f"It was {ended['state']}: {ended['reason']}")


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@json_option
@speaks_to_broker
@click.pass_context
def reprocessings(context: click.Context, url: str, token: str, limit: int, as_text: bool) -> None:
    """What was decoded again, who asked for it, and how far it is."""
    if context.invoked_subcommand is not None:
        return
    found = Remote(url, token).get("/api/v1/reprocessings", limit=str(limit))
    if as_text:
        as_json(found)
        return
    table(
        ("ID", "STATE", "OF", "FROM", "TO", "UPLINKS", "CHANGED", "BY", "WHY"),
        [
            (
                one["id"],
                one["state"],
                " ".join(one[name] for name in ("model", "device", "virtualSensor") if one[name]),
                when(one["from"]),
                when(one["to"]),
                one["counts"]["uplinks"],
                _changed(one["counts"]),
                one["by"],
                one["note"],
            )
            for one in found
        ],
        "Nothing was reprocessed yet.",
    )


@reprocessings.command()
@click.argument("which", metavar="ID")
@said_by
@speaks_to_broker
def cancel(which: str, url: str, token: str, by: str, why: str) -> None:
    """End one that waits or runs. What is done stays."""
    said = {name: text for name, text in {"by": by, "why": why}.items() if text}
    job = Remote(url, token).post(f"/api/v1/reprocessings/{quoted(which)}/cancel", said)
    click.echo(f"{job['id']} is cancelled; {job['counts']['uplinks']} uplinks were done.")


def tell_difference(found: dict[str, Any]) -> None:
    """What would change, for people."""
    counts = found["counts"]
    click.echo(f"Uplinks observed from {when(found['from'])} to {when(found['to'])}:")
    rows = [
        ("would change", counts["changed"]),
        ("same", counts["same"]),
        ("newly understood", counts["accepted"]),
        ("not understood any more", counts["rejected"]),
        ("cannot be read again", counts["unreadable"]),
        ("looked at", counts["uplinks"]),
    ]
    for label, count in rows:
        click.echo(f"  {count:>8}  {label}")
    if counts["following"]:
        click.echo(
            f"  {counts['following']:>8}  later ones that build on them, as of meters; "
            f"{counts['followingChanged']} would change"
        )
    for reason, count in counts["reasons"].items():
        click.echo(f"  {count:>8}  because: {reason}")
    if not found["complete"]:
        click.echo("There is more: it took too long to look at all of it (reprocess.preview_seconds).")
    if found["attributes"]:
        click.echo()
        table(
            ("VIRTUAL SENSOR", "ATTRIBUTE", "CHANGED", "REMOVED", "ADDED"),
            [
                (one["virtualSensor"], one["attribute"], one["changed"], one["removed"], one["added"])
                for one in found["attributes"][:ATTRIBUTES]
            ],
            "",
        )
        if len(found["attributes"]) > ATTRIBUTES or found["moreAttributes"]:
            click.echo("… and others (--json shows up to 1000).")
    if found["examples"]:
        click.echo()
        table(
            ("OBSERVED", "VIRTUAL SENSOR", "ATTRIBUTE", "BEFORE", "AFTER"),
            [
                (
                    when(one["observedAt"]),
                    one["virtualSensor"],
                    one["attribute"],
                    _values(one["before"]),
                    _values(one["after"]),
                )
                for one in found["examples"]
            ],
            "",
        )


def _followed(remote: Remote, job: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The reprocessing when it has ended. Interrupted, it goes on without us."""
    told = -1
    while job["state"] in OPEN:
        if not quiet and job["counts"]["uplinks"] != told:
            told = job["counts"]["uplinks"]
            click.echo(f"{job['state']}: {told} uplinks, {_changed(job['counts'])} changed", err=True)
        time.sleep(LOOK_SECONDS)
        job = remote.get(f"/api/v1/reprocessings/{quoted(job['id'])}")
    if not quiet:
        counts = job["counts"]
        click.echo(
            f"{job['state']}: {counts['uplinks']} uplinks, {counts['superseded']} values superseded, "
            f"{counts['added']} hold instead. Reprocessing {job['id']}."
        )
    return job


def _moves(found: dict[str, Any]) -> bool:
    """Whether uplinks become others though no value does."""
    return bool(found["counts"]["accepted"] or found["counts"]["rejected"] or not found["complete"])


def _changed(counts: dict[str, Any]) -> int:
    return sum(counts[name] for name in ("changed", "accepted", "rejected", "followingChanged"))


def _values(values: list[dict[str, Any]]) -> str:
    return ", ".join(
        " ".join(str(part) for part in (one["value"], one["unitCode"], *one["implausible"]) if part is not None)
        for one in values
    )
