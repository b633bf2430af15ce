"""What changes, as lines to read: + what comes, - what goes, ~ what is another."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Change:
    """One thing's."""

    sign: str
    kind: str
    id: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    """Of a thing that changes, those that are another."""


def lines(change: Change) -> Iterator[str]:
    """The thing, then its members."""
    yield f"{change.sign} {change.kind} {change.id}"
    if change.sign == "+" and not change.members:
        for name, value in change.after.items():
            if name != "id":
                yield from _marked("+", name, value)
    for name in change.members:
        yield from _member(name, change.before.get(name), change.after.get(name))


def _member(name: str, before: Any, after: Any) -> Iterator[str]:
    if before in (None, "", []):
        yield from _marked("+", name, after)
    elif after in (None, "", []):
        yield from _marked("-", name, before)
    elif isinstance(before, dict | list) or isinstance(after, dict | list):
        yield f"  ~ {name}:"
        old, new = _rows(before), _rows(after)
        for line in difflib.ndiff(old, new):
            if line[0] in "+-":
                yield f"      {line}"
    else:
        yield f"  ~ {name}: {_short(before)} -> {_short(after)}"


def _marked(sign: str, name: str, value: Any) -> Iterator[str]:
    if isinstance(value, list) and value:
        yield f"  {sign} {name}:"
        for row in _rows(value):
            yield f"      {sign} {row}"
    else:
        yield f"  {sign} {name}: {_short(value)}"


def _rows(value: Any) -> list[str]:
    """The elements of a list, a line each, without their empty members."""
    return [_short(_bare(each)) for each in (value if isinstance(value, list) else [value])]


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bare(each) for name, each in sorted(value.items()) if each not in (None, "", [])}
    return value


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
