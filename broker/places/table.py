"""Places as CSV. Pure.

    id;type;name;parent;longitude;latitude;address.streetAddress;floorArea:number:MTK

The first line has the headings. `id`, `type` and `parent` are what they are; a pair of coordinates becomes the location:
longitude and latitude, or easting and northing (SWEREF 99 TM). Any other heading is an attribute, `NAME[:KIND[:UNIT]]`;
without a kind it is text, as it stands: a number in a heading without `:number` may be a postal code. A heading with '.'
is a member of an object. An empty cell says nothing.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from broker.errors import BadRequestData, InvalidRequest
from broker.jsonio import loads
from broker.places.given import READ, SWEREF99TM, WGS84, Crs, Given, Options

_PAIRS: Final[Mapping[tuple[str, str], Crs]] = {
    ("longitude", "latitude"): WGS84,
    ("lon", "lat"): WGS84,
    ("easting", "northing"): SWEREF99TM,
    ("e", "n"): SWEREF99TM,
}
"""Headings of coordinates, east first, in lower case; and what they are unless the request says otherwise."""
_MEMBERS: Final = ("id", "type", "parent")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]+)?")
_HEADING: Final = re.compile(r"(.+?):(text|number|boolean|relationship|json)(?::([A-Z0-9]{2,3}))?", re.DOTALL)
_TRUE: Final = frozenset({"true", "1", "yes", "ja", "sant"})
_FALSE: Final = frozenset({"false", "0", "no", "nej", "falskt"})
_CHARSETS: Final[Mapping[str, str]] = {
    "utf-8": "utf-8",
    "utf-16": "utf-16",
    "cp1252": "windows-1252",
    "iso8859-1": "iso-8859-1",
    "iso8859-15": "iso-8859-15",
    "ascii": "us-ascii",
}
"""What Python calls them -> what people do. Python knows more, of which some are no charsets at all."""
LONGEST_CELL: Final = 100_000
"""Characters."""


def decode(body: bytes, charset: str | None) -> str:
    """The text of a file: in the charset that its content type says, else UTF-8. Raises BadRequestData."""
    name = charset or "utf-8"
    try:
        known = codecs.lookup(name).name in _CHARSETS
    except (LookupError, ValueError):  # ValueError: U+0000 in the name
        known = False
    if not known:
        raise BadRequestData(f"The charset must be one of {', '.join(_CHARSETS.values())}, got '{name[:40]}'.")
    try:
        return body.decode(name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        hint = "" if charset else "; say so if it is another: 'text/csv; charset=windows-1252'"
        raise BadRequestData(f"The file is not {name} at byte {error.start}{hint}.") from None


@dataclass(frozen=True, slots=True)
class _Column:
    """One column."""

    heading: str
    """As it is in the file."""
    path: tuple[str, ...]
    """Attribute, and members of its value."""
    kind: str
    unit: str | None

    @property
    def name(self) -> str:
        return ".".join(self.path)


def read_table(text: str, options: Options) -> list[Given]:
    """The rows of a file. BadRequestData when its headings are not right, or it is too long."""
    try:
        lines = list(_lines(text, options.most))
    except csv.Error as error:
        raise InvalidRequest(f"The file is not valid CSV: {error}.") from None
    if not lines:
        raise BadRequestData("The file is empty: its first line must have the headings.")
    columns = [_column(heading, options) for heading in lines[0][1]]
    _check(columns)
    pair, crs = _pair(columns, options.crs)
    return [_row(number, cells, columns, pair, crs) for number, cells in lines[1:]]


def _lines(text: str, most: int) -> list[tuple[int, list[str]]]:
    """The lines that have something in them, with their numbers."""
    heading = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(";,\t", key=heading.count)  # the first of them where none is there
    found: list[tuple[int, list[str]]] = []
    for number, cells in enumerate(
        csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), start=1
    ):
        if any(cell.strip() for cell in cells):
            if len(found) > most:
                raise BadRequestData(
                    f"The file has more than {most} places, which is the limit (places.import_rows): send it in parts."
                )
            found.append((number, cells))
    return found


def _column(heading: str, options: Options) -> _Column:
    meant = options.meant(heading.strip())
    typed = _HEADING.fullmatch(meant)
    name, kind, unit = typed.groups() if typed is not None else (meant, "text", None)
    if unit is not None and kind != "number":
        raise BadRequestData(f"The heading '{heading[:60]}' has a unit, which only a number has.")
    path = (name,) if ":" in name else tuple(name.split("."))
    if not all(path):
        raise BadRequestData(f"The heading '{heading[:60]}' must be a name, or names with '.' between them.")
    return _Column(heading, path, kind, unit)


def _check(columns: Sequence[_Column]) -> None:
    """Each column is another, and none is a member of what another is as a whole."""
    met: dict[str, _Column] = {}
    for column in columns:
        if column.name in met:
            raise BadRequestData(f"The headings '{met[column.name].heading[:60]}' and '{column.heading[:60]}' are one.")
        met[column.name] = column
    for column in columns:
        for length in range(1, len(column.path)):
            whole = met.get(".".join(column.path[:length]))
            if whole is not None:
                raise BadRequestData(
                    f"The heading '{column.heading[:60]}' is a member of '{whole.heading[:60]}', which is a heading, too."
                )
        if len(column.path) > 1 and (column.kind == "relationship" or column.unit is not None):
            raise BadRequestData(f"The heading '{column.heading[:60]}': a member has no unit and is no relationship.")
    if "id" not in met:
        raise BadRequestData("A heading must be 'id'; 'rename=YOURS:id' says which of yours it is.")


def _pair(columns: Sequence[_Column], wanted: Crs | None) -> tuple[tuple[int, int] | None, Crs]:
    """The columns of the coordinates, and what these are."""
    at = {column.name.lower(): index for index, column in enumerate(columns)}
    for (east, north), crs in _PAIRS.items():
        if east in at and north in at:
            return (at[east], at[north]), wanted or crs
    return None, WGS84


def _row(number: int, cells: list[str], columns: Sequence[_Column], pair: tuple[int, int] | None, crs: Crs) -> Given:
    given = Given(number)
    by_name = {column.name: cell for column, cell in zip(columns, cells, strict=False)}
    given.id, given.type, given.parent = (by_name.get(member, "").strip() for member in _MEMBERS)
    if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
        given.wrong(None, f"The row has {len(cells)} cells, the headings are {len(columns)}.")
    for index, (column, cell) in enumerate(zip(columns, cells, strict=False)):
        if column.name in _MEMBERS or index in (pair or ()) or not cell.strip():
            continue
        if len(cell) > LONGEST_CELL:
            given.wrong(column.heading, f"The cell has more than {LONGEST_CELL} characters.")
            continue
        try:
            _place(given.attributes, column, _KINDS[column.kind](cell))
        except ValueError as error:
            given.wrong(column.heading, f"'{cell[:60]}' {error}.")
    if pair is not None:
        _locate(given, [cells[index] if index < len(cells) else "" for index in pair], columns[pair[0]].heading, crs)
    return given


def _place(attributes: dict[str, Any], column: _Column, value: Any) -> None:
    if column.kind == "relationship":
        attributes[column.name] = {"type": "Relationship", "object": value}
    elif column.unit is not None:
        attributes[column.name] = {"type": "Property", "value": value, "unitCode": column.unit}
    elif len(column.path) == 1:
        attributes[column.name] = value
    else:
        within = attributes.setdefault(column.path[0], {"type": "Property", "value": {}})["value"]
        for member in column.path[1:-1]:
            within = within.setdefault(member, {})
        within[column.path[-1]] = value


def _locate(given: Given, cells: Sequence[str], heading: str, crs: Crs) -> None:
    if not any(cell.strip() for cell in cells):
        return
    try:
        position = READ[crs](*map(_number, cells))
    except ValueError:
        given.wrong(heading, f"'{cells[0][:30]}' and '{cells[1][:30]}' must be two numbers, or both empty.")
    except BadRequestData as error:
        given.wrong(heading, error.detail)
    else:
        given.attributes["location"] = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [*position]}}


def _number(cell: str) -> int | float:
    text = cell.strip()
    if _NUMBER.fullmatch(text) is None:
        raise ValueError("must be a number, such as 12, 12.5 or 12,5")
    if text.lstrip("+-").isdigit():
        if len(text) > 19 or not -(1 << 63) <= int(text) < 1 << 63:
            raise ValueError("is too large a number")
        return int(text)
    made = float(text.replace(",", "."))
    if not isfinite(made):
        raise ValueError("is too large a number")
    return made


def _boolean(cell: str) -> bool:
    text = cell.strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("must be true or false (yes, no, ja, nej, 1 and 0 are understood)")


def _relationship(cell: str) -> str | list[str]:
    targets = cell.split()
    return targets[0] if len(targets) == 1 else targets


def _json(cell: str) -> Any:
    try:
        value = loads(cell)
    except ValueError:
        raise ValueError("is not valid JSON") from None
    if value is None:
        raise ValueError("must not be null: an empty cell says nothing")
    return value


_KINDS: Final[Mapping[str, Callable[[str], Any]]] = {
    "text": str,
    "number": _number,
    "boolean": _boolean,
    "relationship": _relationship,
    "json": _json,
}
