"""What codec tests share: decode by codec name, and look at the result simply."""

from __future__ import annotations

from broker.clock import SECOND, Micros
from broker.codecs.base import Measurement, Value
from broker.codecs.registry import codec

AT: Micros = 1_750_000_000 * SECOND


def decode(name: str, payload: str, f_port: int = 1, at: Micros = AT) -> list[Measurement]:
    return codec(name).decode(bytes.fromhex(payload), f_port, at)


def values(measurements: list[Measurement]) -> dict[str, Value]:
    """'quantity' or 'quantity/channel' -> value."""
    return {f"{one.quantity}/{one.channel}" if one.channel else one.quantity: one.value for one in measurements}
