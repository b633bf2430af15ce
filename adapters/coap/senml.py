"""SenML packs in JSON and CBOR -> resolved values (RFC 8428). Pure.

Taken: base name, time, unit, value, sum and version, names, units, numbers, strings, booleans, data values (as base64url
text), sums, times relative to the reception (RFC 8428, 4.5.3: below 2^28 seconds). Members that are not known are passed
over, unless their label ends in '_': those must be understood (4.4). An update time ('ut') changes no value.

A sum is a value of its own under the record's name and ';sum': ';' is in no SenML name. Its unit is the record's times
seconds (4.2): 'm3/s' sums to 'm3'.

LwM2M's names, paths such as '/3303/0/5700', begin with a '/' that RFC 8428 does not allow; they are taken (OMA LwM2M 1.1,
7.4.4), and its object links ('vlo') as texts.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from adapters.coap.cbor import cbor_item
from adapters.members import NotUnderstood, shown
from broker.clock import SECOND, Micros
from broker.config import Limits
from broker.errors import InvalidRequest
from broker.jsonio import parse_json
from broker.pipeline.intake import SensedValue

VERSION = 10
"""The newest version that is read (4.4, 'bver')."""
RELATIVE_SECONDS = 2**28
"""Times below are relative to now, times from here on are seconds since 1970 (4.5.3)."""
RECORDS = 10_000
"""Records in one pack at most: each becomes an observation."""
# 4.5.1: what a resolved name consists of, and how it starts. Or a path of LwM2M.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*|/[0-9]{1,5}(/[0-9]{1,5}){1,3}", re.ASCII)
# 6, table 4: the labels' numbers in CBOR.
_LABELS = {
    -1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
_VALUES = ("v", "vs", "vb", "vd", "vlo")
SUM = ";sum"
"""What a sum's name ends in."""
# Units times seconds, where that is a unit of SenML (12.1 and RFC 8798).
_SUMMED = {"W": "J", "A": "C", "m3/s": "m3", "l/s": "l", "m/s": "m", "kg/s": "kg", "Hz": "count", "B/s": "B"}
# Whole seconds that stay within year 1 to 9999 once added to anything believable.
_FURTHEST_SECONDS = 250_000_000_000


def read_json(body: bytes, *, received_at: Micros, limits: Limits) -> list[SensedValue]:
    """The values of a pack in `application/senml+json`. Raises NotUnderstood."""
    try:
        pack = parse_json(body, max_depth=limits.json_depth)
    except InvalidRequest as error:
        raise NotUnderstood(error.detail) from None
    return _resolve(pack, received_at)


def read_cbor(body: bytes, *, received_at: Micros, limits: Limits) -> list[SensedValue]:
    """The values of a pack in `application/senml+cbor`. Raises NotUnderstood."""
    pack = cbor_item(body)
    if isinstance(pack, (list, tuple)):
        pack = [_named(record) for record in pack]
    return _resolve(pack, received_at)


def _named(record: object) -> object:
    if not isinstance(record, Mapping):
        return record
    return {_LABELS.get(label, label) if isinstance(label, int) else label: value for label, value in record.items()}


def _resolve(pack: object, received_at: Micros) -> list[SensedValue]:
    if not isinstance(pack, list) or not pack:
        raise NotUnderstood(f"A SenML pack must be an array of at least one record, got {shown(pack)}.")
    if len(pack) > RECORDS:
        raise NotUnderstood(f"A SenML pack may have at most {RECORDS} records, got {len(pack)}.")
    base = _Base()
    values: list[SensedValue] = []
    for index, record in enumerate(pack):
        if not isinstance(record, Mapping):
            raise NotUnderstood(f"Record {index}: must be an object, got {shown(record)}.")
        try:
            values += base.take(record, received_at)
        except NotUnderstood as error:
            raise NotUnderstood(f"Record {index}: {error}") from None
    return values


class _Base:
    """The base members that hold from one record on until they are given again (4.1)."""

    def __init__(self) -> None:
        self.name = ""
        self.time = 0.0
        self.unit = ""
        self.value: float | int = 0
        self.sum: float | int = 0
        self.sums = False
        """Whether a base sum was given: then each record has a sum (4.1)."""
        self.version: float | int | None = None

    def take(self, record: Mapping[Any, Any], received_at: Micros) -> list[SensedValue]:
        """The record resolved: its value and its sum; nothing for one that only sets base members."""
        for label in record:
            if isinstance(label, str) and label.endswith("_"):
                raise NotUnderstood(f"'{label[:40]}' must be understood (its label ends in '_'), and is not.")
        self._set(record)
        given = [label for label in _VALUES if label in record]
        if not given and "s" not in record:
            if "n" in record:
                raise NotUnderstood("one of 'v', 'vs', 'vb', 'vd' or a sum 's' must be there, got none.")
            return []
        if len(given) > 1:
            raise NotUnderstood(f"only one of 'v', 'vs', 'vb', 'vd' may be there, got {', '.join(given)}.")
        name = self.name + _string(record, "n")
        if _NAME.fullmatch(name) is None:
            raise NotUnderstood(
                "'n' after 'bn' must start with a letter or digit and have only letters, digits and -:./_,"
                f" got {shown(name)}."
            )
        unit, at = _string(record, "u") or self.unit, self._at(record, received_at)
        values = [SensedValue(name, self._value(given[0], record), unit, at)] if given else []
        if "s" in record or self.sums:
            total = _added("s", _number(record, "s") if "s" in record else 0, self.sum)
            values.append(SensedValue(name + SUM, total, _SUMMED.get(unit, ""), at))
        return values

    def _set(self, record: Mapping[Any, Any]) -> None:
        if "bver" in record:
            version = _number(record, "bver")
            if version > VERSION or version < 1:
                raise NotUnderstood(f"'bver' must be from 1 to {VERSION}, got {shown(version)}.")
            if self.version not in (None, version):
                raise NotUnderstood(f"'bver' must be the same in all records, got {shown(version)}.")
            self.version = version
        if "bn" in record:
            self.name = _string(record, "bn")
        if "bt" in record:
            self.time = _number(record, "bt")
        if "bu" in record:
            self.unit = _string(record, "bu")
        if "bv" in record:
            self.value = _number(record, "bv")
        if "bs" in record:
            self.sum, self.sums = _number(record, "bs"), True

    def _value(self, label: str, record: Mapping[Any, Any]) -> float | int | bool | str:
        if label == "v":
            return _added("v", _number(record, "v"), self.value)
        if label in ("vs", "vlo"):
            return _string(record, label)
        if label == "vb":
            if not isinstance(record["vb"], bool):
                raise NotUnderstood(f"'vb' must be true or false, got {shown(record['vb'])}.")
            return bool(record["vb"])
        return _data(record["vd"])

    def _at(self, record: Mapping[Any, Any], received_at: Micros) -> Micros | None:
        seconds = self.time + (_number(record, "t") if "t" in record else 0)
        if not -_FURTHEST_SECONDS < seconds < _FURTHEST_SECONDS:
            raise NotUnderstood(f"'t' after 'bt' must be seconds of this era, got {shown(seconds)}.")
        if seconds == 0:
            return None
        micros = round(seconds * SECOND)
        return micros if seconds >= RELATIVE_SECONDS else received_at + micros


def _added(label: str, own: float | int, base: float | int) -> float | int:
    total = own + base
    if not math.isfinite(total):
        raise NotUnderstood(f"'{label}' plus 'b{label}' must be a number, got {total}.")
    return total


def _string(record: Mapping[Any, Any], label: str) -> str:
    value = record.get(label, "")
    if not isinstance(value, str):
        raise NotUnderstood(f"'{label}' must be a string, got {shown(value)}.")
    return value


def _number(record: Mapping[Any, Any], label: str) -> float | int:
    value = record[label]
    if isinstance(value, Decimal) and value.is_finite():
        value = float(value)  # CBOR's decimal fractions
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not -1e308 < value < 1e308:
        raise NotUnderstood(f"'{label}' must be a number, got {shown(value)}.")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise NotUnderstood(f"'{label}' must fit in 64 bits, got {shown(value)}.")
    return value


def _data(value: object) -> str:
    """'vd' as base64url without padding, as JSON has it (5); CBOR has bytes."""
    if isinstance(value, bytes):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    if isinstance(value, str) and "=" not in value:
        try:
            # Strict about the alphabet, which urlsafe_b64decode is not.
            plain = value.translate({ord("-"): "+", ord("_"): "/", ord("+"): "!", ord("/"): "!"})
            binascii.a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)
        except (binascii.Error, ValueError):
            pass
        else:
            return value
    raise NotUnderstood(f"'vd' must be base64url without padding, got {shown(value)}.")
