"""The codecs by name, and `decode`: what a device model makes of an uplink."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from broker.clock import Micros
from broker.codecs import decentlab, dragino, milesight, milesight_rooms, talkpool
from broker.codecs.adeunis import Adeunis, AdeunisFieldTest
from broker.codecs.axioma import AxiomaW1
from broker.codecs.base import Codec, CodecError, Measurement
from broker.codecs.cayenne import CayenneLpp
from broker.codecs.elsys import Elsys
from broker.codecs.javascript.codec import decode_script, normalize_script
from broker.codecs.lwm2m import decode_lwm2m
from broker.codecs.mbus import ElvacoCmi
from broker.codecs.mcf88 import Mcf88
from broker.codecs.netvox import Netvox
from broker.codecs.object import Mapped, MappedObject, Named, decode_named
from broker.codecs.quantities import UnitError
from broker.codecs.reading import MAX_MEASUREMENTS
from broker.codecs.sensative import SensativeStrips
from broker.codecs.sensoneo import Sensoneo
from broker.codecs.vegapuls import VegapulsAir

OBJECT, NAMED_VALUES, LWM2M = "object", "senml", "lwm2m"
"""The names that are no codec of bytes: what the network decoded, named values, and LwM2M's named values."""
JAVASCRIPT = "javascript"
"""The model's own script makes an object of the bytes."""
_NORMALIZED = "normalized"
"""Where a source begins that is in what the script's `normalizeUplink` answers."""

_CODECS: dict[str, Codec] = {
    "elsys": Elsys(),
    "axioma-w1": AxiomaW1(),
    "cayenne-lpp": CayenneLpp(),
    "sensative-strips": SensativeStrips(),
    "adeunis": Adeunis(),
    "adeunis-ftd": AdeunisFieldTest(),
    "elvaco-cmi": ElvacoCmi(),
    "mcf88": Mcf88(),
    "netvox": Netvox(),
    "sensoneo": Sensoneo(),
    "vegapuls-air": VegapulsAir(),
    **milesight.product_codecs(),
    **milesight_rooms.product_codecs(),
    **decentlab.product_codecs(),
    **dragino.product_codecs(),
    **talkpool.product_codecs(),
}


class DeviceModelLike(Protocol):
    """What decoding needs of `broker.devices.model.DeviceModel`."""

    @property
    def id(self) -> str:
        """The model's id, for texts."""

    @property
    def codec(self) -> str:
        """A name of `codec_names()`."""

    @property
    def f_ports(self) -> tuple[int, ...]:
        """The fPorts with measurements; empty: any but 0."""

    @property
    def script(self) -> str:
        """The source of codec 'javascript'."""

    @property
    def quantities(self) -> Sequence[Mapped]:
        """The mapping."""


def codec_names() -> list[str]:
    """Every name a device model's `codec` may have."""
    return [*_CODECS, OBJECT, NAMED_VALUES, LWM2M, JAVASCRIPT]


def codec(name: str) -> Codec:
    """The codec of bytes of that name. Raises CodecError when there is none."""
    found = _CODECS.get(name)
    if found is None:
        raise CodecError(f"Codec '{name}' is not known; known are {', '.join(_CODECS)}.")
    return found


def decode(
    model: DeviceModelLike,
    *,
    payload: bytes | None,
    f_port: int | None,
    decoded: dict[str, Any] | None,
    values: Sequence[Named],
    at: Micros,
) -> list[Measurement]:
    """The measurements of one uplink of a device of `model`; `at`: when the network received it.

    An empty list: understood, and there is nothing measured in it. Raises CodecError, and nothing of the uplink is to be
    used, when it cannot be understood. Every number is finite and fits 64 bits; at most MAX_MEASUREMENTS are returned.
    A script may take as long as its bounds allow: with codec 'javascript' not for an event loop.
    """
    if f_port is not None and (f_port == 0 or (model.f_ports and f_port not in model.f_ports)):
        raise CodecError(f"fPort {f_port} carries no measurements of model '{model.id}'{_expected(model)}.")
    try:
        measurements = _decode(model, payload=payload, f_port=f_port, decoded=decoded, values=values, at=at)
    except UnitError as error:
        raise CodecError(f"Model '{model.id}': {error}") from None
    if len(measurements) > MAX_MEASUREMENTS:
        raise CodecError(f"The uplink holds more than {MAX_MEASUREMENTS} measurements.")
    for measurement in measurements:
        value = measurement.value
        if isinstance(value, float):
            if not math.isfinite(value):
                raise CodecError(f"{measurement.quantity} must be a finite number, got {value}.")
        elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise CodecError(f"{measurement.quantity} must fit in 64 bits.")
    return measurements


def _decode(
    model: DeviceModelLike,
    *,
    payload: bytes | None,
    f_port: int | None,
    decoded: dict[str, Any] | None,
    values: Sequence[Named],
    at: Micros,
) -> list[Measurement]:
    if model.codec == NAMED_VALUES:
        if not values:
            raise CodecError(f"Model '{model.id}' needs named values (SenML), and the uplink has none.")
        return decode_named(model.quantities, values, at)
    if model.codec == LWM2M:
        if not values:
            raise CodecError(f"Model '{model.id}' needs LwM2M's values, and the uplink has none.")
        return decode_lwm2m(model.quantities, values, at)
    if model.codec == OBJECT:
        if decoded is None:
            raise CodecError(f"Model '{model.id}' needs what the network decoded ('object'), and the uplink has none.")
        return MappedObject(model.quantities).decode_object(decoded, at)
    if payload is None:
        raise CodecError(f"Model '{model.id}' needs payload bytes, and the uplink has none.")
    if f_port is None:  # not LoRaWAN
        f_port = model.f_ports[0] if model.f_ports else 1
    if model.codec == JAVASCRIPT:
        return MappedObject(model.quantities).decode_object(_scripted(model, payload, f_port, at), at)
    return codec(model.codec).decode(payload, f_port, at)


def _scripted(model: DeviceModelLike, payload: bytes, f_port: int, at: Micros) -> Any:
    decoded = decode_script(model.script, payload, f_port, at)
    if any(row.source.startswith(_NORMALIZED + ".") for row in model.quantities):
        normalized = normalize_script(model.script, decoded)
        return {**(decoded if isinstance(decoded, dict) else {}), _NORMALIZED: normalized}
    return decoded


def _expected(model: DeviceModelLike) -> str:
    if not model.f_ports:
        return ""
    return f" (those of {', '.join(str(port) for port in model.f_ports)} do)"
