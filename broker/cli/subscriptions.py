"""`knutpunkt subscription`: how notifications fare, and an operator's hand on them."""

from __future__ import annotations

from typing import Any

import click

from broker.cli.alarms import by_option
from broker.cli.devices import json_option
from broker.cli.remote import Remote, quoted, speaks_to_broker
from broker.cli.tables import as_json, table, when
from broker.subscriptions.standing import STATES

ALL = "/api/v1/subscriptions"
PAGE = 1000
LETTERS = 10
"""Dead letters that `show` shows, count."""


@click.group()
def subscription() -> None:
    """Subscriptions' deliveries: backlog, lag, errors. Look, pause, resume, replay, discard."""


@subscription.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@json_option
@speaks_to_broker
def list_subscriptions(url: str, token: str, state: str | None, as_text: bool) -> None:
    """How the deliveries of all subscriptions stand."""
    remote = Remote(url, token)
    found: list[dict[str, Any]] = []
    asked = {"state": state} if state is not None else {}
    while page := remote.get(ALL, **asked, limit=str(PAGE), after=found[-1]["id"] if found else ""):
        found += page
    if as_text:
        as_json(found)
        return
    table(
        ("SUBSCRIPTION", "NAME", "STATE", "BACKLOG", "LAG", "DEAD", "NEXT ATTEMPT", "LAST ERROR"),
        [
            (
                one["id"],
                one["subscriptionName"],
                figures["state"],
                figures["backlog"],
                _age(figures["lagSeconds"]),
                figures["deadLetters"],
                when(figures["nextAttempt"]) if figures["nextAttempt"] else None,
                figures["lastError"],
            )
            for one in found
            for figures in (one["delivery"],)
        ],
        "There is no such subscription.",
    )


@subscription.command("show")
@click.argument("subscription_id", metavar="SUBSCRIPTION")
@json_option
@speaks_to_broker
def show(url: str, token: str, subscription_id: str, as_text: bool) -> None:
    """One subscription's delivery, and the first of its dead letters."""
    remote = Remote(url, token)
    one = remote.get(f"{ALL}/{quoted(subscription_id)}/delivery")
    letters = remote.get(f"{ALL}/{quoted(subscription_id)}/dead-letters", limit=str(LETTERS))
    if as_text:
        as_json({**one, "firstDeadLetters": letters})
        return
    paused, replay = one["paused"], one["replay"]
    for label, value in (
        ("Subscription", one["subscription"]),
        ("State", one["state"]),
        ("Paused", f"since {when(paused['since'])} by {paused['by']}. {paused['reason']}" if paused else None),
        ("Backlog", f"{one['backlog']}, the oldest {_age(one['lagSeconds'])} old" if one["backlog"] else 0),
        ("Delivered by", one["deliveredBy"]),
        ("Attempts", f"{one['attempts']} failed in a row" if one["attempts"] else None),
        ("Next attempt", when(one["nextAttempt"]) if one["nextAttempt"] else None),
        ("Last error", one["lastError"]),
        ("Sent", f"{one['timesSent']}, {one['timesFailed']} of them failed"),
        ("Last success", when(one["lastSuccess"])),
        ("Last failure", when(one["lastFailure"])),
        ("Replay", _replay(replay) if replay else None),
        ("Dead letters", one["deadLetters"]),
    ):
        click.echo(f"{label + ':':<14}{value if value not in (None, '') else '-'}")
    if letters:
        click.echo()
        table(
            ("DEAD LETTER OF", "WHAT", "OWED SINCE", "REASON"),
            [(each["entity"], each["trigger"], when(each["owedAt"]), each["reason"]) for each in letters],
            "",
        )


@subscription.command("pause")
@click.argument("subscription_id", metavar="SUBSCRIPTION")
@click.option("--reason", default="", help="Why.")
@by_option
@speaks_to_broker
def pause(url: str, token: str, subscription_id: str, reason: str, by: str) -> None:
    """Send nothing more until `resume`. What it is owed gathers; nothing is lost."""
    document = {"by": by, **({"reason": reason} if reason else {})}
    Remote(url, token).post(f"{ALL}/{quoted(subscription_id)}/pause", document)
    click.echo(f"{subscription_id} is paused. What it is owed gathers until: knutpunkt subscription resume")


@subscription.command("resume")
@click.argument("subscription_id", metavar="SUBSCRIPTION")
@speaks_to_broker
def resume(url: str, token: str, subscription_id: str) -> None:
    """Go on after `pause`: what waited is sent, in order."""
    one = Remote(url, token).post(f"{ALL}/{quoted(subscription_id)}/resume", {})
    click.echo(f"{subscription_id} goes on. It is owed {one['backlog']}.")


@subscription.command("replay")
@click.argument("subscription_id", metavar="SUBSCRIPTION")
@click.option("--from", "since", help="Changes made from this time on (ISO 8601).")
@click.option("--to", "until", help="And before this time; without it, up to now.")
@click.option("--dead-letters", is_flag=True, help="What was given up on, instead.")
@speaks_to_broker
def replay(
    url: str, token: str, subscription_id: str, since: str | None, until: str | None, dead_letters: bool
) -> None:
    """Send again what the history holds of a period, or what was given up on.

    \b
    knutpunkt subscription replay urn:ngsi-ld:Subscription:tour --from 2026-11-20T22:00:00Z --to 2026-11-21T06:00:00Z
    knutpunkt subscription replay urn:ngsi-ld:Subscription:tour --dead-letters
    """
    if dead_letters == (since is not None):
        raise click.UsageError("Say either --from (and maybe --to) or --dead-letters.")
    asked = {"deadLetters": "true"} if dead_letters else {"from": str(since), **({"to": until} if until else {})}
    started = Remote(url, token).post(f"{ALL}/{quoted(subscription_id)}/replay", {}, **asked)
    click.echo(f"Replay {started['id']} has begun: knutpunkt subscription show says how far it came.")


@subscription.command("discard")
@click.argument("subscription_id", metavar="SUBSCRIPTION")
@click.option("--before", help="Only what is owed since before this time (ISO 8601).")
@click.option("--for-good", is_flag=True, help="Do not keep it among the dead letters.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@speaks_to_broker
def discard(url: str, token: str, subscription_id: str, before: str | None, for_good: bool, yes: bool) -> None:
    """Drop what a subscription is owed. It is kept among the dead letters, from where `replay` brings it back."""
    remote = Remote(url, token)
    one = remote.get(f"{ALL}/{quoted(subscription_id)}/delivery")
    if not yes:
        where = "for good" if for_good else "to the dead letters"
        only = f" from before {before}" if before else ""
        click.confirm(f"{subscription_id} is owed {one['backlog']}. Discard them{only}, {where}?", abort=True)
    asked = {"deadLetters": "false" if for_good else "true", **({"before": before} if before else {})}
    done = remote.post(f"{ALL}/{quoted(subscription_id)}/discard", {}, **asked)
    click.echo(f"Discarded: {done['discarded']}.")


def _replay(replay_: dict[str, Any]) -> str:
    what = "dead letters"
    if replay_["what"] == "history":
        what = f"{when(replay_['from'])} to {when(replay_['to'])}"
        if replay_["state"] == "running":
            what += f", now at {when(replay_['position'])}"
    return f"{replay_['state']}, {what}, {replay_['rows']} notifications"


def _age(seconds: float) -> str | None:
    """A time span for people."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{seconds:.0f} s" if seconds else None
