"""`knutpunkt tenant`: data of several owners, apart from each other."""

from __future__ import annotations

from typing import Any

import click

from broker.cli.devices import json_option
from broker.cli.remote import Remote, quoted, speaks_to_broker
from broker.cli.tables import as_json, table, when


@click.group()
def tenant() -> None:
    """Tenants: data of several owners, apart from each other. List, create, say how long raw uplinks are kept."""


@tenant.command("list")
@json_option
@speaks_to_broker
def list_tenants(url: str, token: str, as_text: bool) -> None:
    """All tenants beside the default one."""
    tenants = Remote(url, token).get("/api/v1/tenants")
    if as_text:
        as_json(tenants)
        return
    rows = [(one["id"], when(one["createdAt"]), _kept(one)) for one in tenants]
    table(("TENANT", "CREATED", "RAW UPLINKS ARE KEPT"), rows, "There is no tenant yet.")


@tenant.command("create")
@click.argument("name")
@speaks_to_broker
def create_tenant(name: str, url: str, token: str) -> None:
    """Create the tenant NAME: requests with the header 'NGSILD-Tenant: NAME' are for it."""
    Remote(url, token).post("/api/v1/tenants", {"id": name})
    click.echo(f"Tenant {name} is there.")


@tenant.command("keep-raw")
@click.argument("days", metavar="forever|DAYS|default")
@click.option("--tenant", "name", default="-", help="Which tenant; without it, the default one.")
@speaks_to_broker
def keep_raw(days: str, name: str, url: str, token: str) -> None:
    """How long the bytes of applied uplinks are kept. Without them, nothing can be decoded again or attributed anew.

    0: they go as soon as they are applied; default: as the setting raw_uplinks.keep_days has it.

    \b
    knutpunkt tenant keep-raw 365
    knutpunkt tenant keep-raw forever --tenant soralva
    """
    if days not in ("forever", "default") and not (days.isascii() and days.isdigit()):
        raise click.UsageError(f"Say 'forever', 'default' or a number of days, not '{days}'.")
    value = None if days == "default" else days if days == "forever" else int(days)
    patch = {"rawUplinks": {"keepDays": value} if value is not None else None}
    changed = Remote(url, token).patch(f"/api/v1/tenants/{quoted(name)}", patch)
    click.echo(f"Raw uplinks are kept: {_kept(changed)}.")


def _kept(one: dict[str, Any]) -> str:
    policy = one["rawUplinks"]
    days = policy["keepDays"]
    said = days if days == "forever" else "until they are applied" if days == 0 else f"{days} days"
    return f"{said} (by the settings)" if policy["from"] == "settings" else str(said)
