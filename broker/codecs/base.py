"""What a codec is: payload bytes, fPort and time in, measurements out. Pure; no device state.

Quantity names and their units are those of `schemas/quantities.json`; units are UN/CEFACT common codes (as NGSI-LD's
unitCode), '' for what has none.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct

from broker.clock import Micros

Value = float | int | bool | str


class Measurement(Struct, frozen=True):
    """One quantity, unit, value and time of observation, on one channel of a device."""

    quantity: str
    value: Value
    unit: str
    observed_at: Micros
    channel: str = ""
    """Tells several of one quantity apart ('1', '2', 'external'); '' when the device has one."""


class CodecError(ValueError):
    """The payload cannot be understood; the text says at which byte and why. Nothing of it is used."""


class Codec(Protocol):
    """Turns one uplink's payload into measurements."""

    def decode(self, payload: bytes, f_port: int, at: Micros) -> list[Measurement]:
        """All of the payload or CodecError. `at` is when the network received it; a codec with history gives older times."""
        ...


class ObjectCodec(Protocol):
    """Turns what the network server decoded itself (its `object`) into measurements, by a device model's mapping."""

    def decode_object(self, decoded: dict[str, Any], at: Micros) -> list[Measurement]:
        """All that the mapping knows and the object holds; CodecError when a mapped value has the wrong type."""
        ...
