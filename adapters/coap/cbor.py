"""One CBOR item, whole, and as JSON would have it (RFC 8949). Pure."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NoReturn

import cbor2

from adapters.members import NotUnderstood, shown

DEPTH: Final = 64
"""Nesting of arrays and maps, levels."""
_TAKEN = frozenset((2, 3, 4, 55799))
"""Tags that have a meaning here: long integers, decimal fractions, 'this is CBOR'."""


def _refuse(value: object, immutable: bool) -> NoReturn:
    raise NotUnderstood("its tag has no meaning here")


# Of all that the decoder would make of tagged items: shared values can grow exponentially in a few bytes, patterns are
# compiled, and none of it is a measurement.
_REFUSED = {tag: _refuse for tag in (*range(64), *range(256, 300), 43000, 1000, 1004) if tag not in _TAKEN}


def cbor_item(body: bytes) -> object:
    """The one CBOR item that `body` is. Raises NotUnderstood."""
    rest = io.BytesIO(body)
    try:
        item = cbor2.CBORDecoder(
            rest, semantic_decoders=_REFUSED, max_depth=DEPTH, strict_hashable_types=False
        ).decode()
    except Exception as error:
        # Beside its own errors the decoder lets through those of what it makes of tagged items.
        raise NotUnderstood(f"The body must be CBOR: {shown(str(error))}.") from None
    if rest.tell() < len(body) or rest.read(1):
        raise NotUnderstood("The body must be one CBOR item, got more bytes after it.")
    return item


def plain(value: object, depth: int) -> Any:
    """A CBOR item as JSON has it: names are texts, bytes are hexadecimal. Raises NotUnderstood."""
    if depth == 0:
        raise NotUnderstood("The body is nested too deeply.")
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise NotUnderstood(f"A number must fit in 64 bits, got {shown(value)}.")
        return value
    if isinstance(value, (float, Decimal)):
        number = float(value) if isinstance(value, float) or value.is_finite() else math.nan
        if not math.isfinite(number):
            raise NotUnderstood(f"A number must be finite, got {shown(value)}.")
        return number
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        if not all(isinstance(name, (str, int)) for name in value):
            raise NotUnderstood("Names in a CBOR map must be texts or integers.")
        return {str(name): plain(member, depth - 1) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(member, depth - 1) for member in value]
    raise NotUnderstood(f"A CBOR item of this kind has no meaning here: {shown(value)}.")
