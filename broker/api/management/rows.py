"""Rows of an import out of a request's body, and rows of an export into one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from broker.api.management.common import moment
from broker.api.management.names import expanded
from broker.codecs.quantities import quantity_names
from broker.errors import BadRequestData, BrokerError
from broker.jsonld.context import Context
from broker.pipeline.registry.columns import columns, from_cell
from broker.pipeline.registry.csv_text import read_csv
from broker.pipeline.registry.imports import Problem
from broker.pipeline.registry.rows import ORDER, Row, RowKind

MEMBERS: Final[dict[str, RowKind]] = {
    "models": "models",
    "virtualSensors": "virtual-sensors",
    "devices": "devices",
    "bindings": "bindings",
}
"""Of the whole registry as one JSON object, in the order in which its things are taken."""


def in_order(rows: list[Row]) -> list[Row]:
    """As they are taken: what others refer to first, and of bindings the oldest."""
    return sorted(rows, key=lambda row: (ORDER.index(row.kind), row.document.get("validFrom") or 0))


Resolve = Callable[[Any], Awaitable[Context]]


@dataclass(slots=True)
class Read:
    """What a body said."""

    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """Rows that cannot be understood, or that come twice."""
    count: int = 0
    seen: dict[tuple[RowKind, str], int] = field(default_factory=dict)

    def add(self, row: Row, most: int) -> None:
        """One more row. Raises BadRequestData when there are too many."""
        self.count += 1
        if self.count > most:
            raise BadRequestData(f"There are more rows than the limit 'limits.import_rows' of {most} allows.")
        # A device that is several virtual sensors, each by one of its channels, has a row for each.
        name = (row.kind, f"{row.id}@{row.document.get('channel') or ''}")
        if row.id and name in self.seen:
            error = BadRequestData(f"'id': '{row.id}' is in row {self.seen[name]} already.")
            self.problems.append(Problem(row, error))
            return
        self.seen[name] = row.number
        self.rows.append(row)

    def refused(self, row: Row, error: BrokerError) -> None:
        """A row that cannot be understood."""
        self.count += 1
        self.problems.append(Problem(row, error))


async def from_csv(data: bytes, kind: RowKind, core: Context, most: int) -> Read:
    """The rows of a table. A cell that is empty takes its member away; a member without a column stays as it is."""
    table = columns(kind)
    read = Read()
    lines = read_csv(data, table.keys())
    number, headings = next(lines, (1, []))
    names = _named(headings, table, Row(number, kind, {}), read)
    if not read.problems and "id" not in names and kind != "bindings":
        read.refused(Row(number, kind, {}), BadRequestData("'id' must be one of the headings in the first row."))
    if read.problems:
        return read
    for number, cells in lines:
        document: dict[str, Any] = {}
        try:
            if any(cells[len(names) :]):
                raise BadRequestData(f"There are {len(cells)} cells, and only {len(names)} headings.")
            for name, text in zip(names, [*cells, *[""] * (len(names) - len(cells))], strict=False):
                document[name] = from_cell(name, table[name], text)
            row = Row(number, kind, checked(document, kind, core), whole=False)
        except BrokerError as error:
            read.refused(Row(number, kind, document), error)
            continue
        read.add(row, most)
    return read


def _named(headings: list[str], table: Mapping[str, Any], row: Row, read: Read) -> list[str]:
    by_name = {name.lower(): name for name in table}
    names: list[str] = []
    while headings and not headings[-1].strip():
        headings.pop()
    for heading in headings:
        name = by_name.get(heading.strip().lower())
        if name is None:
            known = ", ".join(table)
            read.refused(row, BadRequestData(f"'{heading[:60]}' is no heading of this table, which has {known}."))
        elif name in names:
            read.refused(row, BadRequestData(f"'{name}' is a heading twice."))
        names.append(name or heading)
    return names


async def from_json(document: Any, kind: RowKind | None, core: Context, resolve: Resolve, most: int) -> Read:
    """The rows of a list of things, or without a `kind` of the whole registry: `{"models": […], …}`."""
    read = Read()
    for each, things in _lists(document, kind):
        for number, thing in enumerate(things, start=1):
            if not isinstance(thing, dict):
                read.refused(Row(number, each, {}), BadRequestData("A row must be a JSON object."))
                continue
            given = dict(thing)
            try:
                context = await resolve(given.pop("@context")) if "@context" in given else core
                row = Row(number, each, checked(given, each, context))
            except BrokerError as error:
                read.refused(Row(number, each, given), error)
                continue
            read.add(row, most)
    return read


def _lists(document: Any, kind: RowKind | None) -> Iterator[tuple[RowKind, list[Any]]]:
    if kind is not None:
        if not isinstance(document, list):
            raise BadRequestData("The body must be a JSON array of things.")
        yield kind, document
        return
    if not isinstance(document, dict):
        raise BadRequestData(f"The body must be a JSON object with {', '.join(MEMBERS)}.")
    for name, things in document.items():
        if name not in MEMBERS:
            raise BadRequestData(f"The member '{name[:60]}' is not known here; known are: {', '.join(MEMBERS)}.")
        if not isinstance(things, list):
            raise BadRequestData(f"'{name}' must be an array.")
    for each in ORDER:
        for name, things in document.items():
            if MEMBERS[name] == each:
                yield each, things


def checked(document: dict[str, Any], kind: RowKind, context: Context) -> dict[str, Any]:
    """The row's document as the commands take it: names as IRIs, times as numbers, devices' ids in lower case."""
    table = columns(kind)
    for name, value in document.items():
        if table.get(name) in ("text", "required text", "moment") and not isinstance(value, str | None):
            raise BadRequestData(
                f"'{name}' must be a text, got {str(value)[:60]}; numbers that are ids stand in quotes."
            )
    made = expanded(document, context)
    if kind == "devices" and isinstance(made.get("id"), str):
        made["id"] = made["id"].lower()
    if kind == "bindings":
        if isinstance(made.get("device"), str):
            made["device"] = made["device"].lower()
        made |= {name: moment(made[name], name) for name in ("validFrom", "validTo") if name in made}
        made |= {
            name: _readings(made[name], name, context) for name in ("startReadings", "endReadings") if name in made
        }
        made["id"] = made.get("id") or ""
    if "since" in made and kind == "devices":
        made["since"] = moment(made["since"], "since")
    return made


def _readings(value: Any, member: str, context: Context) -> dict[str, float]:
    """What meters showed, by quantity or attribute."""
    if value is None:
        return {}
    if not isinstance(value, dict) or any(type(one) not in (int, float) for one in value.values()):
        raise BadRequestData(f"'{member}' must be an object of numbers by quantity or attribute.")
    names = quantity_names()
    return {name if name in names else context.expand(name): one for name, one in value.items()}
