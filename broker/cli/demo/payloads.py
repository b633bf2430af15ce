"""Payload bytes as the demo city's devices would send them, made from values. Pure; the codecs' inverse.

Values are rounded to the format's resolution. A value that the format cannot hold is a ValueError.
"""

from __future__ import annotations

import struct

import orjson

from broker.clock import SECOND, Micros

ELSYS_PORT = 5
MILESIGHT_PORT = 85
AXIOMA_PORT = 100

_HOUR = 3600


def elsys_ers_co2(
    *, temperature: float, humidity: float, light: int, motion: int, co2: int, battery_volts: float
) -> bytes:
    """Elsys ERS CO2: °C (0.1), % (1), lx, movements, ppm and V (0.001)."""
    return _packed(
        ">BhBBBHBBBHBH",
        0x01, round(temperature * 10), 0x02, round(humidity), 0x04, light, 0x05, motion, 0x06, co2,
        0x07, round(battery_volts * 1000),
    )  # fmt: skip


def elsys_water_temperature(*, temperature: float, battery_volts: float) -> bytes:
    """Elsys ELT-2 with a probe in the water: °C (0.1) as external temperature, and V (0.001)."""
    return _packed(">BhBH", 0x0C, round(temperature * 10), 0x07, round(battery_volts * 1000))


def milesight_em300_th(*, temperature: float, humidity: float, battery: int | None = None) -> bytes:
    """Milesight EM300-TH: °C (0.1), % (0.5), and the battery in % where it is due."""
    return _battery(battery) + _packed("<BBhBBB", 0x03, 0x67, round(temperature * 10), 0x04, 0x68, round(humidity * 2))


def milesight_em310_udl(*, distance: float, tilted: bool = False, battery: int | None = None) -> bytes:
    """Milesight EM310-UDL, in the lid of a waste container: m (0.001) down to the waste."""
    return _battery(battery) + _packed("<BBHBBB", 0x03, 0x82, round(distance * 1000), 0x04, 0x00, tilted)


def milesight_em500_udl(*, distance: float, battery: int | None = None) -> bytes:
    """Milesight EM500-UDL: m (0.001) to what is below it."""
    return _battery(battery) + _packed("<BBH", 0x03, 0x82, round(distance * 1000))


def milesight_em500_swl(*, water_level: float, battery: int | None = None) -> bytes:
    """Milesight EM500-SWL, on the bottom of a sewer: m (0.01) of water above it."""
    return _battery(battery) + _packed("<BBH", 0x03, 0x77, round(water_level * 100))


def axioma_w1(*, at: Micros, litres: int, hourly_litres: list[int], litres_since: int = 0, status: int = 0) -> bytes:
    """Axioma Qalcosonic W1, Extended: the meter's total at `at`, and its log on the full hours before.

    `hourly_litres` are the log's increments, oldest first, at most 15; the last ends at the last full hour, and
    `litres_since` have passed after it.
    """
    if len(hourly_litres) > 15:
        raise ValueError(f"'hourly_litres' must be at most 15, got {len(hourly_litres)}.")
    now = at // SECOND
    log_time = now - now % _HOUR - len(hourly_litres) * _HOUR
    return _packed(
        f"<IBIII{len(hourly_litres)}H",
        now, status, litres, log_time, litres - litres_since - sum(hourly_litres), *hourly_litres,
    )  # fmt: skip


def senml_water_meter(*, at: Micros, litres: int, temperature: float, battery: int, leak: bool = False) -> bytes:
    """An NB-IoT water meter's report as SenML JSON (RFC 8428), for model 'axioma-qalcosonic-w1-nbiot'."""
    return orjson.dumps(
        [
            {"bt": at / SECOND, "n": "volume", "u": "m3", "v": litres / 1000},
            {"n": "temperature", "u": "Cel", "v": temperature},
            {"n": "battery", "u": "%EL", "v": battery},
            {"n": "leak", "vb": leak},
        ]
    )


def _battery(percent: int | None) -> bytes:
    return b"" if percent is None else _packed("<BBB", 0x01, 0x75, percent)


def _packed(layout: str, *values: int) -> bytes:
    try:
        return struct.pack(layout, *values)
    except struct.error as error:
        raise ValueError(f"A value does not fit its payload: {error}.") from None
