"""Members of a network's message, taken with their type and range checked: shared by every network's reader."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any


class NotUnderstood(ValueError):
    """A message is not what its network documents. The text is for people: it names the member and the rule."""


def shown(value: object) -> str:
    """`value` as it is quoted in a reason: short, whatever was sent."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "…'"


def text(of: Mapping[str, Any], name: str, default: str = "") -> str:
    """A string member, `default` when it is absent or null. Raises NotUnderstood."""
    value = of.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise NotUnderstood(f"'{name}' must be a string, got {shown(value)}.")
    return value


def flag(of: Mapping[str, Any], name: str) -> bool:
    """A boolean member, false when it is absent or null. Raises NotUnderstood."""
    value = of.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise NotUnderstood(f"'{name}' must be true or false, got {shown(value)}.")
    return value


def integer(of: Mapping[str, Any], name: str, lowest: int, highest: int) -> int | None:
    """An integer member between `lowest` and `highest`, None when it is absent or null. Raises NotUnderstood."""
    value = of.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise NotUnderstood(f"'{name}' must be an integer from {lowest} to {highest}, got {shown(value)}.")
    return value


def number(of: Mapping[str, Any], name: str, lowest: float, highest: float) -> float | None:
    """A number member between `lowest` and `highest`, None when it is absent or null. Raises NotUnderstood."""
    value = of.get(name)
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or math.isnan(value):
        raise NotUnderstood(f"'{name}' must be a number, got {shown(value)}.")
    if not lowest <= value <= highest:
        raise NotUnderstood(f"'{name}' must be from {lowest:g} to {highest:g}, got {shown(value)}.")
    return float(value)


def members(of: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """An object member, None when it is absent or null. Raises NotUnderstood."""
    value = of.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise NotUnderstood(f"'{name}' must be an object, got {shown(value)}.")
    return value


def objects(of: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """An array of objects, empty when it is absent or null. Raises NotUnderstood."""
    value = of.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
        raise NotUnderstood(f"'{name}' must be an array of objects, got {shown(value)}.")
    return value


def numeric(of: Mapping[str, Any], name: str, lowest: float, highest: float) -> float | None:
    """A number member that may be written as a text ('-87.5'), None when it is absent, null or ''. Raises NotUnderstood."""
    return number({name: _unquoted(of, name)}, name, lowest, highest)


def whole(of: Mapping[str, Any], name: str, lowest: int, highest: int) -> int | None:
    """An integer member that may be written as a text ('12'), None when it is absent, null or ''. Raises NotUnderstood."""
    return integer({name: _unquoted(of, name)}, name, lowest, highest)


_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{1,20})?", re.ASCII)


def _unquoted(of: Mapping[str, Any], name: str) -> Any:
    value = of.get(name)
    if value == "":
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value) if "." in value else int(value)
    return value
