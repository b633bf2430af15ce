"""What a device of the city sends at a moment: payload bytes, and the ChirpStack v4 event around them. Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import orjson

from broker.cli.demo import payloads
from broker.cli.demo.city import Signal
from broker.cli.demo.values import HOUR_SECONDS, Values, litres, values
from broker.clock import SECOND, Micros, iso

APPLICATION = "52f14cd4-c6f1-4fbd-8f87-4025e1d49242"
TENANT = "Sörälva kommun"
GATEWAYS = ("24e124fffed00001", "24e124fffed00002")
SENML_JSON = 110
"""CoAP Content-Format of SenML JSON (RFC 8428, 12.3.1)."""
_LOG_HOURS = 15


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of a device."""

    device: str
    network: str
    """lorawan or nb-iot."""
    payload: bytes
    f_port: int = 0
    count: int = 0


def frame(device: str, model: str, signal: Signal, place: str, at: Micros, count: int) -> Frame:
    """What the device sends for the `count`th time; KeyError when the demo has no such device model."""
    network, f_port, encode = _ENCODERS[model]
    return Frame(device, network, encode(values(signal, place, at), signal, at, count), f_port, count)


def chirpstack_topic(sent: Frame) -> str:
    """Where ChirpStack publishes it."""
    return f"application/{APPLICATION}/device/{sent.device}/event/up"


def chirpstack_event(sent: Frame, name: str, at: Micros, event_id: str) -> bytes:
    """The `up` event as ChirpStack v4 writes it in JSON."""
    # Each device is always heard by the same gateway, at its own strength.
    distance = int(sent.device[-4:], 16)
    return orjson.dumps(
        {
            "deduplicationId": event_id,
            "time": iso(at),
            "deviceInfo": {
                "tenantName": TENANT,
                "applicationId": APPLICATION,
                "applicationName": "City sensors",
                "deviceProfileName": "",
                "deviceName": name,
                "devEui": sent.device,
            },
            "devAddr": f"01{distance:06x}",
            "adr": True,
            "dr": 5,
            "fCnt": sent.count,
            "fPort": sent.f_port,
            "confirmed": False,
            "data": base64.b64encode(sent.payload).decode(),
            "rxInfo": [
                {
                    "gatewayId": GATEWAYS[distance % len(GATEWAYS)],
                    "rssi": -70 - distance * 7 % 45,
                    "snr": 9.5 - distance * 3 % 14,
                }
            ],
            "txInfo": {"frequency": 868_100_000 + 200_000 * (sent.count % 3)},
        }
    )


def _elsys(now: Values, signal: Signal, at: Micros, count: int) -> bytes:
    return payloads.elsys_ers_co2(
        temperature=now.temperature, humidity=now.humidity, light=now.light, motion=now.motion, co2=now.co2,
        battery_volts=3.61,
    )  # fmt: skip


def _elsys_water(now: Values, signal: Signal, at: Micros, count: int) -> bytes:
    return payloads.elsys_water_temperature(temperature=now.temperature, battery_volts=3.58)


def _em300_th(now: Values, signal: Signal, at: Micros, count: int) -> bytes:
    return payloads.milesight_em300_th(
        temperature=now.temperature, humidity=now.humidity, battery=_sometimes(96, count)
    )


def _em310_udl(now: Values, signal: Signal, at: Micros, count: int) -> bytes:
    return payloads.milesight_em310_udl(distance=now.distance, battery=_sometimes(91, count))


def _em500_swl(now: Values, signal: Signal, at: Micros, count: int) -> bytes:
    return payloads.milesight_em500_swl(water_level=now.water_level, battery=_sometimes(88, count))


def _axioma(now: Values, signal: Signal, at: Micros, count: int) -> bytes:
    """The first time with the log of the hours before."""
    full_hour = at // SECOND // HOUR_SECONDS * HOUR_SECONDS * SECOND
    hours = _LOG_HOURS if count == 0 else 0
    marks = [litres(signal, full_hour - back * HOUR_SECONDS * SECOND) for back in range(hours, -1, -1)]
    return payloads.axioma_w1(
        at=at,
        litres=now.litres,
        hourly_litres=[after - before for before, after in pairwise(marks)],
        litres_since=now.litres - marks[-1],
    )


def _nbiot_meter(now: Values, signal: Signal, at: Micros, count: int) -> bytes:
    return payloads.senml_water_meter(at=at, litres=now.litres, temperature=round(now.temperature, 1), battery=94)


def _sometimes(battery: int, count: int) -> int | None:
    """Milesight's devices tell the battery now and then."""
    return battery if count % 10 == 0 else None


Encoder = Callable[[Values, Signal, Micros, int], bytes]

_ENCODERS: dict[str, tuple[str, int, Encoder]] = {
    "elsys-ers-co2": ("lorawan", payloads.ELSYS_PORT, _elsys),
    "elsys-elt-2": ("lorawan", payloads.ELSYS_PORT, _elsys_water),
    "milesight-em300-th": ("lorawan", payloads.MILESIGHT_PORT, _em300_th),
    "milesight-em310-udl": ("lorawan", payloads.MILESIGHT_PORT, _em310_udl),
    "milesight-em500-swl": ("lorawan", payloads.MILESIGHT_PORT, _em500_swl),
    "axioma-qalcosonic-w1": ("lorawan", payloads.AXIOMA_PORT, _axioma),
    "axioma-qalcosonic-w1-nbiot": ("nb-iot", 0, _nbiot_meter),
}
