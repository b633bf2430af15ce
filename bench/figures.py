"""What a benchmark found: numbers for the JSON file, a line for people, and what was aimed at."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. The names in `values` end with their unit where it is not a count or a ratio."""

    name: str
    text: str
    aim: str = ""
    values: dict[str, float] = field(default_factory=dict)
