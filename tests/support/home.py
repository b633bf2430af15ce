"""A city with one sensor in somebody's home: everything that could tell of it, over HTTP."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from broker.clock import SECOND, iso
from tests.support.api import Api
from tests.support.city import ELSYS, dev_eui, elsys_temperature, uplink

PLAIN, GRANTED = "Bearer plain-token", "Bearer granted-token"
HOME, ROOM = "urn:ngsi-ld:IndoorEnvironmentObserved:anna-4711", "urn:ngsi-ld:IndoorEnvironmentObserved:room-1"
SCHOOL = "urn:ngsi-ld:Building:school"
DEVICE = dev_eui(0)
VALUE = -17.9
"""Below zero, so that no time of day looks like it."""
PAYLOAD = elsys_temperature(VALUE)
TEMPERATURE = "https://uri.etsi.org/ngsi-ld/default-context/temperature"
PERSONAL = {"retentionDays": 30, "purpose": "Whether the bedroom is warm enough, by the resident's consent."}
FROST = {"id": "frost", "quantity": "temperature", "below": 5, "severity": "critical"}
SECRETS = (
    "anna-4711",
    "home-1",
    "Annas bedroom",
    DEVICE,
    str(VALUE),
    PAYLOAD.hex(),
    base64.b64encode(PAYLOAD).decode(),
)
"""Of which nothing may be told without the grant."""


def sensor(number: int, entity: str, name: str, **members: Any) -> dict[str, Any]:
    """The body of a virtual sensor."""
    return {
        "name": name,
        "entity": entity,
        "entityType": "IndoorEnvironmentObserved",
        "outputs": [{"quantity": "temperature", "attribute": "temperature"}],
        "thresholds": [FROST],
        "place": SCHOOL,
        **members,
    }


HOME_SENSOR = sensor(0, HOME, "Annas bedroom", personal=PERSONAL)


def subscription(to: str, kind: str) -> dict[str, Any]:
    """Told of every change of a type's entities."""
    return {
        "type": "Subscription",
        "entities": [{"type": kind}],
        "notificationTrigger": ["entityCreated", "attributeCreated", "attributeUpdated", "attributeDeleted"],
        "notification": {"endpoint": {"uri": to, "accept": "application/json"}},
    }


async def build(api: Api) -> None:
    """The registry, by whom the plain token is given; the personal part by whom the other is."""
    start = iso(time.time_ns() // 1000 - 3600 * SECOND)
    model = {**ELSYS, "commands": {"reboot": {"fPort": 6, "payload": ["ff"]}}}
    await api.ask("PUT", "/api/v1/device-models/elsys-ers", model, status=201, Authorization=PLAIN)
    building = {"id": SCHOOL, "type": "Building", "name": {"type": "Property", "value": "The school"}}
    await api.ask("POST", "/entities", building, status=201, Authorization=PLAIN)
    room = sensor(1, ROOM, "Room 1")
    await api.ask("PUT", "/api/v1/virtual-sensors/home-1", HOME_SENSOR, status=201, Authorization=GRANTED)
    await api.ask("PUT", "/api/v1/virtual-sensors/room-1", room, status=201, Authorization=PLAIN)
    for number, name, token in ((0, "home-1", GRANTED), (1, "room-1", PLAIN)):
        device = {"model": "elsys-ers", "name": name}
        await api.ask("PUT", f"/api/v1/devices/{dev_eui(number)}", device, status=201, Authorization=token)
        swap = {"virtualSensor": name, "device": dev_eui(number), "at": start, "by": "Mia"}
        await api.ask("POST", "/api/v1/swaps", swap, status=201, Authorization=token)


async def hear(api: Api, number: int, payload: bytes, at: int | None = None, **members: Any) -> Any:
    """An uplink, as its network delivers it with the plain token."""
    observed = at if at is not None else time.time_ns() // 1000
    message = json.loads(uplink(number, payload, observed, **members))
    answer = await api.ask("POST", "/api/v1/uplinks/chirpstack?event=up", message, status=None, Authorization=PLAIN)
    assert answer.status in (200, 201, 202, 204), answer
    return answer
