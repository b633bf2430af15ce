"""Milesight's TS, GS, WS, WTS and VS series: the channel format of `milesight`, with other channels (user guides of each)."""

from __future__ import annotations

from broker.clock import Micros
from broker.codecs.base import Codec
from broker.codecs.milesight import (
    DISTANCE,
    FAMILY,
    HUMIDITY,
    PRESSURE,
    TEMPERATURE,
    Milesight,
    Rows,
    alarmed,
    boolean,
    nothing,
    number,
    with_stored,
)
from broker.codecs.reading import Findings

_GAS = (("ammonia", 0x04), ("hydrogenSulphide", 0x05))


def _sound(found: Findings, data: bytes, at: Micros) -> None:
    # How it is weighted, then the level now, its average and its maximum, in tenths.
    now, average, most = (int.from_bytes(data[start : start + 2], "little") / 10 for start in (1, 3, 5))
    found.put("soundLevel", average, at=at)
    found.put("soundLevel", now, "now", at)
    found.put("soundLevelPeak", most, at=at)


def _rain(found: Findings, data: bytes, at: Micros) -> None:
    found.put("precipitationTotal", int.from_bytes(data[:2], "little") / 100, at=at)


def _people(found: Findings, data: bytes, at: Micros) -> None:
    # Then how many regions there are, and which of them somebody is in.
    found.put("peopleCount", data[0], at=at)


def _share(found: Findings, data: bytes, at: Micros) -> None:
    found.put("percentage", data[0], "remaining", at)


_STATION: Rows = {
    **FAMILY,
    (0x05, 0x84): ("wind direction", 2, number("direction", "DD", divide=10)),
    (0x06, 0x73): ("air pressure", 2, PRESSURE),
    (0x07, 0x92): ("wind speed", 2, number("windSpeed", "MTS", divide=10)),
    (0x08, 0x77): ("rain", 3, _rain),
}
_METERED: Rows = {
    **FAMILY,
    (0x03, 0x74): ("voltage", 2, number("voltage", "VLT", divide=10)),
    (0x04, 0x80): ("power", 4, number("power", "WTT")),
    (0x05, 0x81): ("power factor", 1, number("powerFactor", "P1")),
    (0x06, 0x83): ("energy", 4, number("energy", "KWH", divide=1000)),
    (0x07, 0xC9): ("current", 2, number("current", "AMP", divide=1000)),
    (0x08, 0x70): ("switch", 1, boolean("switch")),
}
_SEAT: Rows = {**FAMILY, (0x03, 0x00): ("occupancy", 1, boolean("presence"))}

_PRODUCTS: dict[str, Rows] = {
    "milesight-ts101": {
        **with_stored((2, TEMPERATURE)),
        (0x93, 0xD7): ("temperature, change and alarm", 5, alarmed(TEMPERATURE, 2, "temperature")),
    },
    "milesight-gs301": {
        **FAMILY,
        (0x02, 0x67): ("temperature", 2, TEMPERATURE),
        (0x03, 0x68): ("humidity", 1, HUMIDITY),
        **{(channel, 0x7D): (name, 2, number(name, "59", divide=100)) for name, channel in _GAS},
    },
    "milesight-ws101": {**FAMILY, (0xFF, 0x2E): ("button", 1, number("buttonPress"))},
    "milesight-ws201": {
        **FAMILY,
        (0x03, 0x82): ("distance", 2, DISTANCE),
        (0x04, 0xD6): ("what remains", 1, _share),
    },
    "milesight-ws202": {
        **FAMILY,
        (0x03, 0x00): ("presence", 1, boolean("presence")),
        (0x04, 0x00): ("light", 1, number("lightLevel")),
    },
    "milesight-ws203": with_stored(
        (1, nothing),
        (1, boolean("presence")),
        (2, TEMPERATURE),
        (1, HUMIDITY),
        rows={(0x05, 0x00): ("presence", 1, boolean("presence"))},
    ),
    "milesight-ws301": {
        **FAMILY,
        (0x03, 0x00): ("magnet", 1, boolean("open")),
        (0x04, 0x00): ("taken down", 1, boolean("tamper")),
    },
    "milesight-ws302": {**FAMILY, (0x05, 0x5B): ("sound", 7, _sound)},
    "milesight-ws303": {**FAMILY, (0x03, 0x00): ("water leak", 1, boolean("waterLeak"))},
    "milesight-ws52x": _METERED,
    "milesight-wts": _STATION,
    "milesight-vs121": {**FAMILY, (0x04, 0xC9): ("people", 4, _people)},
    "milesight-vs330": {
        **FAMILY,
        (0x02, 0x82): ("distance", 2, DISTANCE),
        (0x03, 0x8E): ("occupancy", 1, boolean("presence")),
        (0x04, 0x8E): ("calibration", 1, nothing),
    },
    "milesight-vs340": _SEAT,
}


def product_codecs() -> dict[str, Codec]:
    """The codecs of these series by name."""
    return {name: Milesight(name, rows) for name, rows in _PRODUCTS.items()}
