"""CSV in and out: RFC 4180, and as spreadsheets write it: a BOM, ';' or tabs between cells, a 'sep=' line. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from broker.errors import InvalidRequest

BOM: Final = "\ufeff"
_SEPARATORS: Final = (",", ";", "\t")


def read_csv(data: bytes, known: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    """(number as a spreadsheet counts rows, cells) of each row that is not empty, the headings first.

    What stands between cells is seen from the headings: with which more of them are `known`. Raises InvalidRequest.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"The file is not UTF-8 (byte {error.start + 1}); in a spreadsheet, save it as 'CSV UTF-8'."
        ) from None
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        separator, text, skipped = first.strip()[4], rest, 1
    else:
        separator = max(_SEPARATORS, key=lambda each: _headings_known(text, each, known))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    number = skipped
    try:
        for cells in reader:
            number += 1
            if any(cells):
                yield number, cells
    except csv.Error as error:
        raise InvalidRequest(f"The file is not valid CSV in row {number + 1}: {error}.") from None


def _headings_known(text: str, separator: str, known: Collection[str]) -> int:
    try:
        headings = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    except csv.Error:
        return 0
    wanted = {name.lower() for name in known}
    return sum(heading.strip().lower() in wanted for heading in headings)


def write_csv(rows: Iterable[Sequence[str]], *, separator: str = ",") -> str:
    """The rows as lines that end with CR LF (RFC 4180, 2)."""
    made = io.StringIO(newline="")
    csv.writer(made, delimiter=separator, lineterminator="\r\n").writerows(rows)
    return made.getvalue()
