"""`knutpunkt model-check`: do the entities keep to the published Smart Data Models?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from broker.cli.devices import json_option
from broker.cli.remote import Remote, quoted, speaks_to_broker
from broker.cli.tables import as_json, table
from broker.devices.model_check import Deviation, NoModel, Rules, deviations, rules_of
from broker.devices.published import MissingPackage, installed

ENTITIES: Final = "/ngsi-ld/v1/entities"
PAGE: Final = 500
SHOWN: Final = 50
"""Deviations that are printed unless all are asked for, count."""
ALLOWED: Final = "unknown"
"""The rule that the models do not make: other attributes may be there."""
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
        check = _Check(schemas, strict)
        entities = _of_files(files) if files else _of_broker(Remote(url, token), types, ids)
        check.run(entities, types if files else ())
    except MissingPackage as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(MISSING) from None
    if as_text:
        as_json(check.report())
    else:
        check.show(whole)
    if check.found:
        raise click.exceptions.Exit(1)


class _Check:
    """One run."""

    def __init__(self, schemas: Path | None, strict: bool) -> None:
        self._schemas = schemas
        self._strict = strict
        self._rules: dict[str, Rules | str] = {}
        self.checked: Counter[str] = Counter()
        self.deviating: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()
        self.found: list[Deviation] = []
        self._several: set[str] = set()
        """Entities of several types, which come once with each."""
        self._published = installed()

    def run(self, entities: Iterator[dict[str, Any]], only: tuple[str, ...] = ()) -> None:
        """Look at all."""
        for entity in entities:
            names = entity.get("type", "")
            names = names if isinstance(names, list) else [names]
            if (only and not set(only) & set(names)) or entity["id"] in self._several:
                continue
            if len(names) > 1:
                self._several.add(entity["id"])
            rules = self._first(names)
            if isinstance(rules, str):
                self.passed_over[f"{names[0]}: {rules}"] += 1
                continue
            self.checked[rules.name] += 1
            found = [one for one in deviations(entity, rules) if self._strict or one.rule != ALLOWED]
            self.deviating[rules.name] += bool(found)
            self.found += found

    def _first(self, names: list[str]) -> Rules | str:
        for name in names:
            if name not in self._rules:
                try:
                    self._rules[name] = rules_of(name, self._published, self._schemas)
                except NoModel as error:
                    self._rules[name] = str(error)
            if not isinstance(self._rules[name], str):
                return self._rules[name]
        return self._rules[names[0]]

    def report(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "package": self._published.version,
            "types": [
                {"type": name, "model": self._source(name), "entities": count, "deviating": self.deviating[name]}
                for name, count in sorted(self.checked.items())
            ],
            "passedOver": dict(sorted(self.passed_over.items())),
            "deviations": [msgspec.to_builtins(one) for one in self.found],
        }

    def show(self, whole: bool) -> None:
        """For people."""
        shown = self.found if whole else self.found[:SHOWN]
        if shown:
            table(
                ("ENTITY", "ATTRIBUTE", "RULE", "VALUE", "WHAT"),
                [(one.entity, one.attribute, one.rule, _told(one.value), one.message) for one in shown],
                "",
            )
            if len(shown) < len(self.found):
                click.echo(f"… and {len(self.found) - len(shown)} more (--all).")
            click.echo()
        table(
            ("TYPE", "ENTITIES", "DEVIATING", "MODEL"),
            [(name, count, self.deviating[name], self._source(name)) for name, count in sorted(self.checked.items())],
            "There are no entities of types that have a model.",
        )
        for why, count in sorted(self.passed_over.items()):
            click.echo(f"Not looked at: {count} of {why}.")
        click.echo(f"{sum(self.checked.values())} entities, {len(self.found)} deviations.")

    def _source(self, name: str) -> str:
        rules = self._rules[name]
        return rules.source if isinstance(rules, Rules) else rules


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


def _of_files(files: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    for file in files:
        try:
            document = json.loads(file.read_bytes())
        except ValueError as error:
            raise click.ClickException(f"{file} is not JSON: {error}.") from None
        for entity in document if isinstance(document, list) else [document]:
            if not isinstance(entity, dict) or not isinstance(entity.get("id"), str):
                raise click.ClickException(f"{file} must hold entities: objects with 'id' and 'type'.")
            yield entity
