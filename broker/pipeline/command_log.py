"""What becomes of commands, for those who watch: a counter and a line of the log. And a command as it goes to a network."""

from __future__ import annotations

import structlog

from broker import metrics
from broker.clock import Micros
from broker.devices.actuation import DeviceCommand
from broker.pipeline.intake import Downlink

log = structlog.get_logger(__name__)


def tell(command: DeviceCommand) -> None:
    """Count and log a command's new status."""
    metrics.device_commands.labels(command.status).inc()
    log.info(
        "command." + command.status,
        command=command.id,
        sensor=command.virtual_sensor,
        device=command.device,
        **({"reason": command.reason} if command.reason else {}),
    )


def since(command: DeviceCommand) -> Micros:
    """What commands of one virtual sensor are sorted by: their ids are in order to the millisecond only."""
    return command.queued_at


def as_downlink(command: DeviceCommand, topic: str = "") -> Downlink:
    """A command that was encoded, for a device that was heard on `topic`."""
    assert command.device is not None and command.payload is not None
    return Downlink(
        id=command.id,
        device_id=command.device,
        topic=topic,
        payload=bytes.fromhex(command.payload),
        f_port=command.f_port,
        confirmed=command.confirmed,
        expires_at=command.expires_at,
        source=command.network or "",
    )
