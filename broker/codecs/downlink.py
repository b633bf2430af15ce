"""What a device can be told: a command's parameters and its bytes, as a declarative template. Pure.

    {"fPort": 85, "confirmed": true,
     "parameters": {"seconds": {"type": "integer", "minimum": 60, "maximum": 64800, "unit": "SEC"}},
     "payload": ["ff03", {"parameter": "seconds", "size": 2, "order": "little"}]}

    {"encoder": "script", "parameters": {"seconds": {…}}, "data": {"report_interval": {"parameter": "seconds"}}}

A payload is constants (hexadecimal texts) and numbers: a parameter's value times `scale`, in `size` bytes; or a checksum of
what stands before it. Or the model's script makes the bytes, of `data` with the parameters' values in it (without `data`: of
the values by their parameters' names); it is not run here. What a parameter may be is said once, in `parameters`, and an error names it and the rule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

import orjson
from msgspec import Struct

from broker.errors import BadRequestData

MOST_VALUES = 50
"""Parameters of a command, count."""
MOST_CHARACTERS = 200
"""Of a parameter's name and of a text given for it."""
MOST_BYTES = 242
"""The longest application payload of LoRaWAN (regional parameters, EU868 at DR5)."""
MOST_DATA = 8_192
"""Of `data` as JSON, bytes."""
_PARAMETER = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)
Value = bool | int | float | str


class CommandParameter(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What may be given with a command, by its name."""

    type: Literal["integer", "number", "boolean", "choice"] = "integer"
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    """UN/CEFACT common code; for people and programs that ask, nothing is converted."""
    choices: dict[str, int | str] = {}
    """Of type 'choice': what may be said, and the number that is sent for it; a script may get a text instead."""
    default: Value | None = None
    """What is sent when it is not given; None: it must be given."""
    description: str = ""


class PayloadPart(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A number in the payload: a parameter, or a checksum."""

    parameter: str = ""
    checksum: Literal["", "crc16-modbus"] = ""
    """Of all bytes before it."""
    size: int = 1
    """Bytes, 1 to 8."""
    order: Literal["big", "little"] = "big"
    signed: bool = False
    scale: float = 1.0
    """What is sent is the value times this, which must be a whole number."""


class CommandTemplate(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One thing that a make of device can be told."""

    payload: tuple[str | PayloadPart, ...] = ()
    encoder: Literal["", "script"] = ""
    """'script': the model's script makes the payload."""
    data: dict[str, Any] | None = None
    """What the script is given; `{"parameter": NAME}` in it stands for that value. None: the values by name."""
    f_port: int | None = None
    """1 to 223, for LoRaWAN; what a script answers outweighs it."""
    confirmed: bool = True
    """Ask the device to acknowledge it. False suits what ends with the device not answering, such as a reboot."""
    parameters: dict[str, CommandParameter] = {}
    description: str = ""


def encode(name: str, template: CommandTemplate, given: Mapping[str, Any]) -> bytes:
    """The bytes of command `name` that has a payload. Raises BadRequestData that names the parameter and the rule."""
    values = {parameter: _number_of(value) for parameter, value in _values(name, template, given).items()}
    made = bytearray()
    for part in template.payload:
        if isinstance(part, str):
            made += bytes.fromhex(part)
        elif part.checksum:
            made += crc16_modbus(bytes(made)).to_bytes(part.size, part.order)
        else:
            made += _number(name, part, template.parameters[part.parameter], values[part.parameter])
    return bytes(made)


def script_data(name: str, template: CommandTemplate, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the model's script is to encode for command `name`. Raises BadRequestData as `encode` does."""
    values = _values(name, template, given)
    if template.data is None:
        return dict(values)
    return {member: _filled(value, values) for member, value in template.data.items()}


def _values(name: str, template: CommandTemplate, given: Mapping[str, Any]) -> dict[str, Value]:
    for parameter in given:
        if parameter not in template.parameters:
            known = ", ".join(sorted(template.parameters)) or "none"
            raise BadRequestData(f"'{name}' has no parameter '{parameter[:60]}'; it has: {known}.")
    return {
        parameter: _value(name, parameter, rule, given.get(parameter, rule.default))
        for parameter, rule in template.parameters.items()
    }


def _parameter_of(part: Any) -> str | None:
    """The parameter that a value in `data` stands for."""
    if isinstance(part, dict) and part.keys() == {"parameter"} and isinstance(part["parameter"], str):
        return part["parameter"]
    return None


def _filled(part: Any, values: Mapping[str, Value]) -> Any:
    parameter = _parameter_of(part)
    if parameter is not None:
        return values[parameter]
    if isinstance(part, dict):
        return {member: _filled(value, values) for member, value in part.items()}
    return [_filled(value, values) for value in part] if isinstance(part, list) else part


def _named_in(part: Any) -> set[str]:
    """The parameters that stand in `data`."""
    parameter = _parameter_of(part)
    if parameter is not None:
        return {parameter}
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return {name for each in inner for name in _named_in(each)}


def check_values(name: str, given: Mapping[str, Any]) -> None:
    """What is given for command `name` is such that it can be kept, whatever its template says. Raises BadRequestData."""
    if len(given) > MOST_VALUES:
        raise BadRequestData(f"'{name}': 'parameters' must be at most {MOST_VALUES}, got {len(given)}.")
    for parameter, value in given.items():
        if _PARAMETER.fullmatch(parameter) is None:
            raise BadRequestData(
                f"'{name}': a parameter's name must be letters, digits, '_' and '-', got {_shown(parameter)}."
            )
        if isinstance(value, str) and len(value) <= MOST_CHARACTERS:
            continue
        if not isinstance(value, bool) and not (_is_number(value) and abs(value) < 1 << 63):
            raise BadRequestData(
                f"'{name}': '{parameter}' must be a number below 2^63, true, false or a text of at most "
                f"{MOST_CHARACTERS} characters, got {_shown(value)}."
            )


def check_template(name: str, template: CommandTemplate, network: str) -> None:
    """A template holds together: whatever its parameters allow can be sent. Raises BadRequestData."""
    where = f"'commands', '{name}'"
    if network == "lorawan" and template.f_port is None and not template.encoder:
        raise BadRequestData(f"{where}: 'fPort' is needed by a LoRaWAN device.")
    if template.f_port is not None and not 1 <= template.f_port <= 223:
        raise BadRequestData(f"{where}: 'fPort' must be a whole number from 1 to 223, got {template.f_port}.")
    used = _check_data(where, template) if template.encoder else _check_payload(where, template)
    for parameter, rule in template.parameters.items():
        if _PARAMETER.fullmatch(parameter) is None:
            raise BadRequestData(
                f"{where}: a parameter's name must be letters, digits, '_' and '-', got {_shown(parameter)}."
            )
        if parameter not in used:
            part = "data" if template.encoder else "payload"
            raise BadRequestData(f"{where}: the parameter '{parameter}' must stand in '{part}', which it does not.")
        _check_rule(where, name, parameter, rule)


def _check_payload(where: str, template: CommandTemplate) -> set[str]:
    """The parameters that stand in it."""
    if template.data is not None:
        raise BadRequestData(f'{where}: \'data\' is for "encoder": "script" only.')
    length, used = 0, set()
    for part in template.payload:
        length += _check_constant(where, part) if isinstance(part, str) else _check_part(where, part, template)
        if isinstance(part, PayloadPart) and part.parameter:
            used.add(part.parameter)
    if not 1 <= length <= MOST_BYTES:
        raise BadRequestData(f"{where}: 'payload' must be of 1 to {MOST_BYTES} bytes, got {length}.")
    return used


def _check_data(where: str, template: CommandTemplate) -> set[str]:
    """The parameters that stand in it."""
    if template.payload:
        raise BadRequestData(f"{where}: there must be 'payload' or 'encoder', one of them.")
    if template.data is None:
        return set(template.parameters)
    try:
        size = len(orjson.dumps(template.data))
    except TypeError:
        raise BadRequestData(f"{where}: a number in 'data' must fit in 64 bits.") from None
    if size > MOST_DATA:
        raise BadRequestData(f"{where}: 'data' must have at most {MOST_DATA} bytes as JSON.")
    used = _named_in(template.data)
    missing = sorted(used - template.parameters.keys())
    if missing:
        raise BadRequestData(f"{where}: 'data' names '{missing[0][:60]}', which is not in 'parameters'.")
    return used


def crc16_modbus(content: bytes) -> int:
    """CRC-16 with the polynomial 0x8005 reflected, from 0xFFFF (Modbus over Serial Line 1.02, 6.2.2)."""
    crc = 0xFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def _value(name: str, parameter: str, rule: CommandParameter, given: Any) -> Value:
    """What a parameter's value stands for: a choice for its number or text."""
    what = f"'{name}': '{parameter}'"
    if given is None:
        raise BadRequestData(f"{what} is needed: {_expected(rule)}.")
    if rule.type == "choice":
        if not isinstance(given, str) or given not in rule.choices:
            raise BadRequestData(f"{what} must be {_expected(rule)}, got {_shown(given)}.")
        return rule.choices[given]
    if rule.type == "boolean":
        if not isinstance(given, bool):
            raise BadRequestData(f"{what} must be {_expected(rule)}, got {_shown(given)}.")
        return given
    number = _number_of(given) if _is_number(given) else None
    if (
        number is None
        or (rule.type == "integer" and number.denominator != 1)
        or (rule.minimum is not None and number < Fraction(repr(rule.minimum)))
        or (rule.maximum is not None and number > Fraction(repr(rule.maximum)))
    ):
        raise BadRequestData(f"{what} must be {_expected(rule)}, got {_shown(given)}.")
    return int(number) if number.denominator == 1 else float(given)


def _number_of(value: Value) -> Fraction:
    """A float is meant as the decimal it is written as: 21.3 is 213 tenths."""
    return Fraction(int(value) if isinstance(value, bool) else repr(value) if isinstance(value, float) else value)


def _is_number(given: Any) -> bool:
    if isinstance(given, bool) or not isinstance(given, int | float):
        return False
    # Beyond what any payload can hold; also no infinity, and not what is no number.
    return abs(given) < 1 << 64


def _number(name: str, part: PayloadPart, rule: CommandParameter, value: Fraction) -> bytes:
    """A parameter's bytes."""
    sent = value * Fraction(repr(part.scale))
    what = f"'{name}': '{part.parameter}'"
    if sent.denominator != 1:
        raise BadRequestData(f"{what} can be told in steps of {_text(1 / part.scale)}, got {_text(float(value))}.")
    least, most = _range(part)
    if not least <= sent <= most:
        bounds = f"{_text(least / part.scale)} to {_text(most / part.scale)}"
        raise BadRequestData(f"{what} must be from {bounds} to fit its {part.size} bytes, got {_text(float(value))}.")
    return int(sent).to_bytes(part.size, part.order, signed=part.signed)


def _range(part: PayloadPart) -> tuple[int, int]:
    bits = 8 * part.size
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if part.signed else (0, (1 << bits) - 1)


def _expected(rule: CommandParameter) -> str:
    if rule.type == "choice":
        return "one of " + ", ".join(rule.choices)
    if rule.type == "boolean":
        return "true or false"
    kind = "a whole number" if rule.type == "integer" else "a number"
    unit = f" ({rule.unit})" if rule.unit else ""
    if rule.minimum is not None and rule.maximum is not None:
        return f"{kind} from {_text(rule.minimum)} to {_text(rule.maximum)}{unit}"
    if rule.minimum is not None:
        return f"{kind} from {_text(rule.minimum)}{unit}"
    return f"{kind} up to {_text(rule.maximum)}{unit}" if rule.maximum is not None else kind + unit


def _text(number: float) -> str:
    return f"{number:.12g}"


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _check_constant(where: str, constant: str) -> int:
    try:
        return len(bytes.fromhex(constant))
    except ValueError:
        raise BadRequestData(
            f"{where}: a constant in 'payload' must be hexadecimal digits, two a byte, got {_shown(constant)}."
        ) from None


def _check_part(where: str, part: PayloadPart, template: CommandTemplate) -> int:
    if bool(part.parameter) == bool(part.checksum):
        raise BadRequestData(f"{where}: an object in 'payload' must have 'parameter' or 'checksum', one of them.")
    if not 1 <= part.size <= 8 or (part.checksum and part.size != 2):
        raise BadRequestData(f"{where}: 'size' must be from 1 to 8 bytes, of a checksum 2, got {part.size}.")
    if part.parameter and part.parameter not in template.parameters:
        raise BadRequestData(f"{where}: 'payload' names '{part.parameter[:60]}', which is not in 'parameters'.")
    if not 1e-9 <= abs(part.scale) <= 1e9:
        raise BadRequestData(f"{where}: 'scale' must be a number other than 0, up to 1e9, got {part.scale}.")
    if part.parameter:
        rule = template.parameters[part.parameter]
        least, most = _range(part)
        for number in [rule.minimum, rule.maximum, *rule.choices.values()]:
            if isinstance(number, str):
                raise BadRequestData(
                    f"{where}: a choice of '{part.parameter}' must be a number, got {_shown(number)}: only a script gets texts."
                )
            if number is not None and not least <= number * part.scale <= most:
                raise BadRequestData(
                    f"{where}: '{part.parameter}' may be {_text(number)}, which does not fit {part.size} bytes."
                )
    return part.size


def _check_rule(where: str, name: str, parameter: str, rule: CommandParameter) -> None:
    if (rule.type == "choice") != bool(rule.choices):
        raise BadRequestData(f"{where}: '{parameter}' must have 'choices' if it is a choice, and only then.")
    if rule.minimum is not None and rule.maximum is not None and rule.minimum > rule.maximum:
        raise BadRequestData(f"{where}: the 'minimum' of '{parameter}' must not be above its 'maximum'.")
    if rule.default is not None:
        _value(name, parameter, rule, rule.default)
