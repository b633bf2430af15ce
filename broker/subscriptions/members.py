"""Single members of a subscription document, checked: each returns the value or says what was wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from broker.clock import Micros, parse_iso
from broker.errors import BadRequestData

TEXT_CHARACTERS = 4096
"""Length of names, descriptions and header values."""
LIST_ENTRIES = 1000
"""Entries of a list: selectors, watched attributes, ids."""


def known_members(document: Mapping[str, Any], where: str, served: Collection[str]) -> None:
    """Raises BadRequestData for a member that is not the standard's."""
    for name in document:
        if name not in served:
            raise BadRequestData(f"{where}: there is no member '{name}'; the members are {', '.join(sorted(served))}.")


def mapping(value: Any, where: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise BadRequestData(f"{where} must be a JSON object, got {_shown(value)}.")
    return value


def text(value: Any, where: str) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value or len(value) > TEXT_CHARACTERS:
        raise BadRequestData(f"{where} must be a string of 1 to {TEXT_CHARACTERS} characters, got {_shown(value)}.")
    return value


def texts(value: Any, where: str) -> list[str]:
    """A list of strings that is not empty."""
    if not isinstance(value, list) or not 0 < len(value) <= LIST_ENTRIES:
        raise BadRequestData(f"{where} must be a list of 1 to {LIST_ENTRIES} strings, got {_shown(value)}.")
    return [text(entry, where) for entry in value]


def flag(value: Any, where: str) -> bool:
    """A boolean."""
    if not isinstance(value, bool):
        raise BadRequestData(f"{where} must be true or false, got {_shown(value)}.")
    return value


def positive(value: Any, where: str) -> float:
    """A number greater than 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e12:
        raise BadRequestData(f"{where} must be a number greater than 0, got {_shown(value)}.")
    return float(value)


def level(value: Any, where: str, most: int) -> int:
    """A whole number from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or not 1 <= value <= most:
        raise BadRequestData(f"{where} must be a whole number from 1 to {most}, got {_shown(value)}.")
    return int(value)


def one_of(value: Any, where: str, choices: Collection[str]) -> str:
    """One of some strings."""
    if not isinstance(value, str) or value not in choices:
        raise BadRequestData(f"{where} must be one of {', '.join(choices)}; got {_shown(value)}.")
    return value


def date_time(value: Any, where: str) -> Micros:
    """A DateTime (4.6.3)."""
    at = parse_iso(value) if isinstance(value, str) else None
    if at is None:
        raise BadRequestData(f"{where} must be an ISO 8601 date-time with 'Z', got {_shown(value)}.")
    return at


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "…'"
