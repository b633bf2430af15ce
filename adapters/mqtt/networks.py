"""Which networks are known, by the name that settings use. A network is one module here and its lines in the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from adapters.mqtt import chirpstack, chirpstack_down, things_stack_down
from broker.clock import Micros
from broker.config import InvalidSetting, Limits
from broker.pipeline.intake import Downlink, Uplink


class Read(Protocol):
    """A message from MQTT -> the uplink it is. Pure; raises NotUnderstood."""

    def __call__(self, topic: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> Uplink:  # noqa: D102
        ...


class ReadHttp(Protocol):
    """A message that a network pushed over HTTP, with the kind of event it named -> the uplink. Raises NotUnderstood."""

    def __call__(self, event: str, body: bytes, *, source: str, received_at: Micros, limits: Limits) -> Uplink:  # noqa: D102
        ...


READERS: Mapping[str, Read] = {"chirpstack": chirpstack.read}
HTTP_READERS: Mapping[str, ReadHttp] = {"chirpstack": chirpstack.read_http}
DOWNLINK_WRITERS: Mapping[str, Callable[[Downlink], tuple[str, bytes]]] = {
    "chirpstack": chirpstack_down.down,
    "the-things-stack": things_stack_down.push,
}
"""A downlink -> the topic and body to publish."""


def reader(network: str) -> Read:
    """How messages of `network` are read. Raises InvalidSetting."""
    try:
        return READERS[network]
    except KeyError:
        raise InvalidSetting(
            f"mqtt.network: must be one of {', '.join(sorted(READERS))}, got '{network[:60]}'."
        ) from None


def downlink_writer(network: str) -> Callable[[Downlink], tuple[str, bytes]]:
    """How downlinks of `network` are written. Raises InvalidSetting."""
    try:
        return DOWNLINK_WRITERS[network]
    except KeyError:
        raise InvalidSetting(
            f"mqtt.network: must be one of {', '.join(sorted(DOWNLINK_WRITERS))}, got '{network[:60]}'."
        ) from None
