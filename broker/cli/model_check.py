"""`knutpunkt model-check`: do the entities keep to the published Smart Data Models?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from broker.cli.devices import json_option
from broker.cli.remote import Remote, quoted, speaks_to_broker
from broker.cli.tables import as_json, table
from broker.devices.model_check import Check
from broker.devices.published import MissingPackage, installed

ENTITIES: Final = "/ngsi-ld/v1/entities"
PAGE: Final = 500
SHOWN: Final = 50
"""Deviations that are printed unless all are asked for, count."""
MISSING: Final = 2
"""Exit code when the package is not there."""


@click.command("model-check")
@click.option("--type", "types", metavar="TYPE", multiple=True, help="Only entities of this type; may be said again.")
@click.option("--id", "ids", metavar="URN", multiple=True, help="Only this entity; may be said again.")
@click.option(
    "--file",
    "files",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Instead of a broker's, the entities of a JSON file, normalized.",
)
@click.option(
    "--schemas",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with checkouts of the models' repositories, for what the package does not say: limits of numbers.",
)
@click.option("--strict", is_flag=True, help="Attributes that nobody knows are deviations, too.")
@click.option("--all", "whole", is_flag=True, help=f"Print all deviations, not the first {SHOWN}.")
@json_option
@speaks_to_broker
def model_check(
    url: str,
    token: str,
    as_text: bool,
    types: tuple[str, ...],
    ids: tuple[str, ...],
    files: tuple[Path, ...],
    schemas: Path | None,
    strict: bool,
    whole: bool,
) -> None:
    """Hold entities against the published Smart Data Models. Exit code 1: there are deviations, 2: nothing to hold against.

    Needs the package pysmartdatamodels; docs/smart-data-models.md says how to install it, and what deviates on purpose.

    \b
    knutpunkt model-check
    knutpunkt model-check --type WasteContainer --type Beach
    knutpunkt model-check --id urn:ngsi-ld:Building:school
    """
    try:
        check = Check(installed(), schemas, strict=strict)
    except MissingPackage as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(MISSING) from None
    check.look_at(_of_files(files, types) if files else _of_broker(Remote(url, token), types, ids))
    if as_text:
        as_json(check.report())
    else:
        _show(check, whole)
    if check.found:
        raise click.exceptions.Exit(1)


def _show(check: Check, whole: bool) -> None:
    shown = check.found if whole else check.found[:SHOWN]
    if shown:
        table(
            ("ENTITY", "ATTRIBUTE", "RULE", "VALUE", "WHAT"),
            [(one.entity, one.attribute, one.rule, _told(one.value), one.message) for one in shown],
            "",
        )
        if len(shown) < len(check.found):
            click.echo(f"… and {len(check.found) - len(shown)} more (--all).")
        click.echo()
    table(
        ("TYPE", "ENTITIES", "DEVIATING", "MODEL"),
        [(name, count, check.deviating[name], check.source(name)) for name, count in sorted(check.checked.items())],
        "There are no entities of types that have a model.",
    )
    for why, count in sorted(check.passed_over.items()):
        click.echo(f"Not looked at: {count} of {why}.")
    click.echo(f"{check.checked.total()} entities, {len(check.found)} deviations.")


def _told(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _of_broker(remote: Remote, types: tuple[str, ...], ids: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    if ids:
        for one in ids:
            yield remote.get(f"{ENTITIES}/{quoted(one)}")
        return
    for name in types or remote.get("/ngsi-ld/v1/types")["typeList"]:
        yield from remote.pages(ENTITIES, type=name, limit=str(PAGE))


def _of_files(files: tuple[Path, ...], types: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    wanted = set(types)
    for file in files:
        try:
            document = json.loads(file.read_bytes())
        except ValueError as error:
            raise click.ClickException(f"{file} is not JSON: {error}.") from None
        for entity in document if isinstance(document, list) else [document]:
            if not isinstance(entity, dict) or not isinstance(entity.get("id"), str):
                raise click.ClickException(f"{file} must hold entities: objects with 'id' and 'type'.")
            names = entity.get("type", "")
            if not wanted or wanted & set(names if isinstance(names, list) else [names]):
                yield entity
