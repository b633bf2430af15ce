"""`knutpunkt import|export`: the registry as tables and files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from broker.cli.files import as_yaml
from broker.cli.kinds import documents_of
from broker.cli.remote import Refused, Remote, quoted, speaks_to_broker
from broker.cli.swaps import said_by

TABLES = ("models", "virtual-sensors", "devices", "bindings")
SHOWN = 50
"""Problems that are printed, count; --json has all."""


@click.command("import")
@click.argument("table", type=click.Choice([*TABLES, "registry"]))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(["csv", "json"]), help="By default, what FILE's name says.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done, and what is wrong.")
@click.option("--swap", is_flag=True, help="Let a row put another device where one is.")
@click.option("--json", "as_text", is_flag=True, help="The whole report as JSON.")
@said_by
@speaks_to_broker
def import_(
    url: str,
    token: str,
    table: str,
    file: Path,
    form: str | None,
    dry_run: bool,
    swap: bool,
    as_text: bool,
    by: str,
    why: str,
) -> None:
    """Import FILE (CSV as any spreadsheet saves it, or JSON; '-' for standard input) into TABLE of the registry.

    A row of `devices` may name the virtual sensor that the device is, and what that is about.

    \b
    knutpunkt import devices sensors.csv --dry-run
    knutpunkt import devices sensors.csv --why "new school"
    """
    body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    form = form or ("json" if file.suffix == ".json" else "csv")
    query = {"dryRun": str(dry_run).lower(), "swap": str(swap).lower(), "by": by, "why": why or "import"}
    try:
        report = Remote(url, token).send(
            f"/api/v1/import/{table}", body, "text/csv" if form == "csv" else "application/json", **query
        )
    except Refused as refused:
        if "report" not in refused.document:
            raise
        _tell(refused.document["report"], as_text=as_text, done=False)
        raise refused from None
    _tell(report, as_text=as_text, done=not dry_run)
    if report["problems"]:
        sys.exit(2)


def _tell(report: dict[str, Any], *, as_text: bool, done: bool) -> None:
    if as_text:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
        return
    for problem in report["problems"][:SHOWN]:
        click.echo(f"row {problem['row']}: {problem['detail']}", err=True)
    if len(report["problems"]) > SHOWN:
        click.echo(f"... and {len(report['problems']) - SHOWN} more (--json has all)", err=True)
    if done or report["dryRun"]:
        what = "Imported" if done else "To import"
        click.echo(
            f"{what}: {report['rows']} rows, {report['created']} created, {report['changed']} changed, "
            f"{report['unchanged']} left as they are, {len(report['problems'])} with a problem."
        )
    if report["replayedUplinks"]:
        click.echo(f"Uplinks looked at again: {report['replayedUplinks']} applied.")


@click.command()
@click.argument("table", type=click.Choice(TABLES), required=False)
@click.option("--format", "form", type=click.Choice(["csv", "json", "yaml"]), help="By default, what FILE's name says.")
@click.option("--excel", is_flag=True, help="CSV as Swedish Excel has it.")
@click.option("-o", "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="By default, the screen.")
@speaks_to_broker
def export(url: str, token: str, table: str | None, form: str | None, excel: bool, file: Path | None) -> None:
    """Export TABLE of the registry, or all of it.

    As CSV or JSON it is for `knutpunkt import`, as YAML (without a TABLE) for `knutpunkt apply`.

    \b
    knutpunkt export devices --excel -o devices.csv
    knutpunkt export -o city.yaml
    """
    named = {".csv": "csv", ".json": "json", ".yaml": "yaml", ".yml": "yaml"}
    form = form or ("csv" if excel else None) or named.get(file.suffix if file else "")
    form = form or ("csv" if table else "yaml")
    if form == "csv" and table is None:
        raise click.UsageError(f"CSV is a table: name one of {', '.join(TABLES)}.")
    remote = Remote(url, token)
    query = {"format": "csv" if form == "csv" else "json"} | ({"excel": "true"} if excel else {})
    content = remote.download(f"/api/v1/export/{quoted(table or 'registry')}", **query)
    if form == "yaml":
        whole = json.loads(content)
        tenants = remote.get("/api/v1/tenants") if table is None else []
        content = as_yaml(documents_of({table: whole} if table else whole, tenants)).encode()
    if file is None:
        sys.stdout.buffer.write(content)
    else:
        file.write_bytes(content)
