"""Squares of the map with names, so that a database can find what may touch a box by looking up names.

Longitude and latitude are cut into 4 × 4 squares, each of those again, and so on; a square's name is its path from the
whole world (''), one hexadecimal digit a level. A square lies in another exactly when the other's name begins its own.
Plain arithmetic on degrees, as in `broker.query.geomatch`: no great circles, so a box that touches is never missed.
"""

from __future__ import annotations

from broker.query.geometry import Box

LEVELS = 9
"""Depth: the smallest squares are 360° / 4^9 wide, 150 m at the equator."""

STORED_CELLS = 4
"""Squares that cover one stored geometry at most, count: few, as each is some ten index entries."""

ASKED_CELLS = 32
"""Squares that cover a query's box at most, count: more, as they fit closer."""

COVER = "!"
"""Behind the name of a square that covers (a part of) a geometry itself, rather than something within the square."""


def stored(box: Box) -> set[str]:
    """The names under which a geometry with this box is found: its squares, all squares around them, and marks."""
    cells = _covering(box, STORED_CELLS)
    return {cell[:length] for cell in cells for length in range(len(cell) + 1)} | {cell + COVER for cell in cells}


def asked(box: Box | None) -> list[str]:
    """The names to look up for all that may touch `box` (None: anywhere): what lies in its squares, what covers them."""
    if box is None:
        return [""]
    cells = _covering(box, ASKED_CELLS)
    around = {cell[:length] + COVER for cell in cells for length in range(len(cell))}
    return sorted(cells | around)


def _covering(box: Box, most: int) -> set[str]:
    west, south, east, north = box
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        return {""}
    for level in range(LEVELS, 0, -1):
        left, right = _index(west + 180, 360, level), _index(east + 180, 360, level)
        bottom, top = _index(south + 90, 180, level), _index(north + 90, 180, level)
        if (right - left + 1) * (top - bottom + 1) <= most:
            return {_name(x, y, level) for x in range(left, right + 1) for y in range(bottom, top + 1)}
    return {""}


def _index(offset: float, span: float, level: int) -> int:
    squares: int = 4**level
    return min(int(offset / span * squares), squares - 1)


def _name(x: int, y: int, level: int) -> str:
    digits = ("0123456789abcdef"[(x >> shift & 3) * 4 + (y >> shift & 3)] for shift in range(2 * level - 2, -1, -2))
    return "".join(digits)
