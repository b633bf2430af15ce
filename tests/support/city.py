"""A few sensors for tests: registered over the management API, and uplinks as ChirpStack sends them."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

from broker.clock import SECOND, iso
from tests.support.broker import BrokerProcess

START = 1_780_000_000 * SECOND
"""A moment in 2026, before which nothing in the tests was observed."""

ELSYS = {
    "vendor": "Elsys",
    "name": "ERS",
    "codec": "elsys",
    "fPorts": [5],
    "expectedIntervalSeconds": 600,
    "quantities": [{"quantity": "temperature", "unit": "CEL"}, {"quantity": "humidity", "unit": "P1"}],
}


def dev_eui(number: int) -> str:
    """A DevEUI."""
    return f"a81758fffe{number:06x}"


def room(number: int) -> str:
    """The URN of the entity that device `number` observes."""
    return f"urn:ngsi-ld:IndoorEnvironmentObserved:room-{number}"


async def register(broker: BrokerProcess, count: int) -> None:
    """A device model, and `count` devices bound to as many virtual sensors since START."""
    await broker.ask("PUT", "/api/v1/device-models/elsys-ers", ELSYS)
    for number in range(count):
        await broker.ask(
            "PUT",
            f"/api/v1/virtual-sensors/room-{number}",
            {
                "name": f"Room {number}",
                "entity": room(number),
                "entityType": "IndoorEnvironmentObserved",
                "outputs": [
                    {"quantity": "temperature", "attribute": "temperature"},
                    {"quantity": "humidity", "attribute": "relativeHumidity"},
                ],
            },
        )
        await broker.ask("PUT", f"/api/v1/devices/{dev_eui(number)}", {"model": "elsys-ers"})
        await broker.ask(
            "POST",
            "/api/v1/swaps",
            {"virtualSensor": f"room-{number}", "device": dev_eui(number), "at": iso(START - SECOND)},
        )


def elsys_temperature(celsius: float) -> bytes:
    """Elsys: type 1, tenths of a degree, signed, big endian."""
    return b"\x01" + round(celsius * 10).to_bytes(2, "big", signed=True)


def uplink(number: int, payload: bytes, at: int, *, f_cnt: int = 0, f_port: int = 5, **members: Any) -> bytes:
    """A ChirpStack v4 `up` event of device `number`, observed at `at` (microseconds)."""
    event = {
        "deduplicationId": str(uuid.uuid4()),
        "time": iso(at),
        "deviceInfo": {"applicationId": "1", "devEui": dev_eui(number), "deviceName": f"room {number}"},
        "devAddr": "00189440",
        "adr": True,
        "dr": 5,
        "fCnt": f_cnt,
        "fPort": f_port,
        "confirmed": False,
        "data": base64.b64encode(payload).decode(),
        "rxInfo": [{"gatewayId": "0016c001f153a14c", "rssi": -97, "snr": 7.5}],
        "txInfo": {"frequency": 868100000},
    }
    return json.dumps({**event, **members}).encode()


def topic(number: int, event: str = "up") -> str:
    """Where ChirpStack publishes it."""
    return f"application/1/device/{dev_eui(number)}/event/{event}"
