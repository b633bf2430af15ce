"""Answers as text tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]], empty: str) -> None:
    """Columns as wide as they need; `empty` when there are no rows."""
    if not rows:
        click.echo(empty)
        return
    cells = [[("-" if cell in (None, "") else str(cell)) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(headings), *cells]) for column in range(len(headings))]
    for line in [list(headings), *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def as_json(value: Any) -> None:
    """For scripts."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def when(text: str | None) -> str:
    """A time for people, to the second, still UTC."""
    return f"{text[:10]} {text[11:19]}Z" if text else "never"
