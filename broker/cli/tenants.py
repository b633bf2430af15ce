"""`knutpunkt tenant`: data of several owners, apart from each other."""

from __future__ import annotations

import click

from broker.cli.devices import json_option
from broker.cli.remote import Remote, speaks_to_broker
from broker.cli.tables import as_json, table, when


@click.group()
def tenant() -> None:
    """Tenants: data of several owners, apart from each other. List, create."""


@tenant.command("list")
@json_option
@speaks_to_broker
def list_tenants(url: str, token: str, as_text: bool) -> None:
    """All tenants beside the default one."""
    tenants = Remote(url, token).get("/api/v1/tenants")
    if as_text:
        as_json(tenants)
        return
    table(("TENANT", "CREATED"), [(one["id"], when(one["createdAt"])) for one in tenants], "There is no tenant yet.")


@tenant.command("create")
@click.argument("name")
@speaks_to_broker
def create_tenant(name: str, url: str, token: str) -> None:
    """Create the tenant NAME: requests with the header 'NGSILD-Tenant: NAME' are for it."""
    Remote(url, token).post("/api/v1/tenants", {"id": name})
    click.echo(f"Tenant {name} is there.")
