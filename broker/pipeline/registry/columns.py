"""The registry as tables: which columns a kind has, and what a cell means. Pure.

A column is a member of the thing, by the member's name. What is no text, number or boolean stands in its cell as JSON, but
for `outputs`, which may be words: `temperature co2 humidity=relativeHumidity`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

import msgspec
from msgspec import inspect

from broker.devices.defaults import default_attribute
from broker.devices.model import Binding, Device, DeviceModel, Output, VirtualSensor
from broker.devices.registry import to_body
from broker.errors import BadRequestData
from broker.pipeline.registry.rows import RowKind

Cell = Literal["text", "required text", "integer", "number", "boolean", "json", "required json", "outputs", "moment"]

_STRUCTS: Final[dict[RowKind, type[msgspec.Struct]]] = {
    "models": DeviceModel,
    "virtual-sensors": VirtualSensor,
    "devices": Device,
    "bindings": Binding,
}
_MORE: Final[dict[RowKind, dict[str, Cell]]] = {
    "models": {},
    "virtual-sensors": {},
    "devices": {
        "virtualSensor": "text",
        "channel": "text",
        "virtualSensorName": "text",
        "entity": "text",
        "entityType": "text",
        "outputs": "outputs",
        "place": "text",
        "since": "moment",
    },
    "bindings": {},
}
_SPECIAL: Final[dict[str, Cell]] = {"outputs": "outputs", "validFrom": "moment", "validTo": "moment"}
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "1", "yes", "ja", "sant"), True),
    **dict.fromkeys(("false", "0", "no", "nej", "falskt"), False),
}
"""English, Swedish, and what Excel writes."""
_NUMBER: Final = re.compile(r"[+-]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_MANGLED: Final = re.compile(r"\d[.,]?\d*E\+\d+", re.ASCII)
_WORD: Final = re.compile(r"([A-Za-z][A-Za-z0-9]*)(?::([A-Z0-9]{1,3}))?(?:@([^=\s]+))?(?:=(\S+))?", re.ASCII)


@cache
def columns(kind: RowKind) -> Mapping[str, Cell]:
    """The columns of a kind's table, in order."""
    fields = inspect.type_info(_STRUCTS[kind])
    assert isinstance(fields, inspect.StructType)
    made = {field.encode_name: _SPECIAL.get(field.encode_name) or _cell(field) for field in fields.fields}
    return made | _MORE[kind]


def _cell(field: inspect.Field) -> Cell:
    kinds = {type(kind) for kind in _alternatives(field.type)} - {inspect.NoneType}
    if kinds <= {inspect.StrType, inspect.LiteralType}:
        return "required text" if field.required else "text"
    if kinds == {inspect.BoolType}:
        return "boolean"
    if kinds == {inspect.IntType}:
        return "integer"
    if kinds <= {inspect.IntType, inspect.FloatType}:
        return "number"
    return "required json" if field.required else "json"


def _alternatives(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def from_cell(name: str, cell: Cell, text: str) -> Any:
    """The value that a cell stands for; None for an empty one. Raises BadRequestData that names the member."""
    if cell == "required text":
        return _not_mangled(name, text)
    if cell == "text":
        return _not_mangled(name, text) if text else None
    text = text.strip()
    if not text:
        return [] if cell == "required json" else None
    if cell in ("integer", "number"):
        return _number(name, cell, text)
    if cell == "boolean":
        if text.lower() not in _BOOLEANS:
            raise BadRequestData(f"'{name}' must be true or false, got '{text[:60]}'.")
        return _BOOLEANS[text.lower()]
    if cell == "moment":
        return text
    if cell == "outputs" and text[0] != "[":
        return [_output(name, word) for word in text.split()]
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequestData(f"'{name}' must be JSON, got '{text[:60]}'.") from None


def to_cell(cell: Cell, value: Any, *, comma: bool = False) -> str:
    """The text of a cell; `comma`: numbers have a decimal comma."""
    if value is None:
        return ""
    if cell == "outputs":
        return _as_words(value)
    if cell in ("json", "required json"):
        return json.dumps(value, ensure_ascii=False) if value else ""
    if cell == "boolean":
        return "true" if value else "false"
    if cell in ("integer", "number"):
        text = repr(value)
        return text.replace(".", ",") if comma else text
    return str(value)


def _number(name: str, cell: Cell, text: str) -> float:
    if _NUMBER.fullmatch(text) is None:
        raise BadRequestData(f"'{name}' must be a number, got '{text[:60]}'.")
    value = float(text.replace(",", "."))
    if not math.isfinite(value):
        raise BadRequestData(f"'{name}' must be a number that a double holds, got '{text[:60]}'.")
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if cell == "integer":
        if not value.is_integer():
            raise BadRequestData(f"'{name}' must be a whole number, got '{text[:60]}'.")
        return int(value)
    return value


def _not_mangled(name: str, text: str) -> str:
    """An id of digits alone that a spreadsheet took for a number is lost, and had better not be taken for an id."""
    if name in ("id", "device", "virtualSensor") and _MANGLED.fullmatch(text):
        raise BadRequestData(
            f"'{name}' is '{text}': the spreadsheet made a number of it. Let the column be text there, and enter it again."
        )
    return text


def _output(name: str, word: str) -> dict[str, Any]:
    found = _WORD.fullmatch(word)
    if found is None:
        raise BadRequestData(
            f"'{name}' must be words like temperature or humidity:C62=relativeHumidity, or JSON; got '{word[:60]}'."
        )
    quantity, unit, channel, attribute = found.groups()
    made = {"quantity": quantity, "attribute": attribute or default_attribute(quantity) or quantity}
    return made | ({"channel": channel} if channel else {}) | ({"unit": unit} if unit else {})


def _as_words(outputs: list[dict[str, Any]]) -> str:
    """Words where they say all there is to say."""
    words: list[str] = []
    for output in outputs:
        quantity, attribute, channel = output["quantity"], output["attribute"], output["channel"]
        unit = output.get("unit")
        word = f"{quantity}{f':{unit}' if unit else ''}{f'@{channel}' if channel else ''}={attribute}"
        found = _WORD.fullmatch(word)
        plain = to_body(Output(quantity=quantity, attribute=attribute, channel=channel, unit=unit))
        if (
            found is None
            or found.groups() != (quantity, unit, channel or None, attribute)
            or output != plain
            or word.split() != [word]
        ):
            return json.dumps(outputs, ensure_ascii=False)
        words.append(word)
    return " ".join(words) or "[]"


def _no_constant(text: str) -> Any:
    raise ValueError(text)
