"""What one uplink costs between its decoding and its entity: 50,000 virtual sensors, CPU of one thread, no I/O.

Resolving its measurements to virtual sensors by device and time, then units, calibration, checks, derived values and the
state that they need. All registry records are there, parsed, as a broker that runs has them; states come as JSON bodies and
go as such. What is measured is `time.thread_time`, medians of rounds over different sensors.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.figures import Figure
from broker.clock import SECOND, iso
from broker.codecs.base import Measurement
from broker.devices.check import check_sensor
from broker.devices.model import Binding, VirtualSensor
from broker.devices.processing.observation import Source
from broker.devices.processing.plan import plan_of
from broker.devices.processing.process import process
from broker.devices.processing.state import as_sensor_state, state_body
from broker.devices.registry import as_binding, as_sensor, from_user, to_body
from broker.devices.resolve import resolve
from broker.stores.base import Record

SENSORS = 50_000
ROUNDS = 7
UPLINKS = 5_000
"""Of a round, each of another sensor."""
BEGIN = 1_780_000_000 * SECOND
AIM = "under 100 µs"

Kind = tuple[dict[str, Any], Callable[[int, int], list[Measurement]]]


def _climate(number: int, at: int) -> list[Measurement]:
    wave = (number * 7 + at // SECOND) % 50 / 10
    return [
        Measurement("temperature", 18.0 + wave, "CEL", at),
        Measurement("humidity", 40.0 + wave, "P1", at),
        Measurement("co2", 500 + 10 * wave, "59", at),
        Measurement("batteryVoltage", 3.6, "VLT", at),
    ]


def _meter(number: int, at: int) -> list[Measurement]:
    litres = number + (at - BEGIN) // (60 * SECOND)
    return [Measurement("volume", litres / 1000, "MTQ", at)]


_PLAIN: list[dict[str, Any]] = [
    {"quantity": quantity, "attribute": quantity} for quantity in ("temperature", "humidity", "co2")
]
_CHECKED: list[dict[str, Any]] = [
    {
        **output,
        "calibration": {"offset": 0.2},
        "checks": {"minimum": -30, "maximum": 5000, "clockAheadSeconds": 300},
    }
    for output in _PLAIN
]
_KINDS: dict[str, Kind] = {
    "three quantities": ({"outputs": _PLAIN}, _climate),
    "three, calibrated, range and clock checked": ({"outputs": _CHECKED}, _climate),
    "three, also rate and stuck checked, dew point": (
        {
            "outputs": [
                {**one, "checks": {**one["checks"], "maxChangePerHour": 100000, "stuckAfterSeconds": 86400}}
                for one in _CHECKED
            ],
            "derived": [{"kind": "dewPoint", "attribute": "dewPoint"}],
        },
        _climate,
    ),
    "a cumulative meter, rate checked, consumption a day": (
        {
            "outputs": [
                {"quantity": "volume", "attribute": "v", "counter": {}, "checks": {"maxChangePerHour": 100}},
            ],
            "derived": [{"kind": "difference", "of": "volume", "per": "day", "attribute": "d"}],
        },
        _meter,
    ),
}


async def run(store: str, folder: Path) -> list[Figure]:
    """Microseconds of CPU an uplink, for each kind of virtual sensor."""
    return [_figure(name, *kind) for name, kind in _KINDS.items()]


def _figure(name: str, contract: dict[str, Any], measure: Callable[[int, int], list[Measurement]]) -> Figure:
    city = _City(contract)
    order = random.Random(1).sample(range(SENSORS), SENSORS)
    times: list[float] = []
    for round_number in range(ROUNDS):
        numbers = order[round_number * UPLINKS : (round_number + 1) * UPLINKS]
        for step in range(2):  # the first uplink of a sensor finds no state
            at = BEGIN + (round_number * 2 + step + 1) * 600 * SECOND
            uplinks = [(number, measure(number, at)) for number in numbers]
            began = time.thread_time()
            made = sum(city.apply(number, measurements, at) for number, measurements in uplinks)
            took = time.thread_time() - began
            if made < UPLINKS:
                raise AssertionError(f"{made} observations of {UPLINKS} uplinks")
        times.append(took / UPLINKS * 1e6)
    typical, worst = statistics.median(times), max(times)
    return Figure(
        f"resolve and check an uplink: {name}",
        f"{typical:.1f} µs of CPU (slowest round {worst:.1f}), {SENSORS:,} virtual sensors",
        AIM,
        {"median_us": typical, "slowest_us": worst},
    )


class _City:
    """The registry and the states, as the broker's memory and store have them."""

    def __init__(self, contract: dict[str, Any]) -> None:
        self.sensors: list[Record] = []
        self.bindings: list[Record] = []
        self.states: dict[str, Record] = {}
        for number in range(SENSORS):
            sensor = from_user(
                {
                    "id": f"s{number}",
                    "name": f"Sensor {number}",
                    "entity": f"urn:ngsi-ld:Thing:{number}",
                    "entityType": "https://example.org/Thing",
                    **contract,
                },
                VirtualSensor,
                "virtual sensor",
            )
            if number == 0:
                check_sensor(sensor)
            binding = Binding(id=f"b{number}", device=f"d{number}", virtual_sensor=sensor.id, valid_from=BEGIN)
            self.sensors.append(Record("virtual_sensor", sensor.id, to_body(sensor), 1))
            self.bindings.append(Record("binding", binding.id, to_body(binding), 1))
            plan_of(as_sensor(self.sensors[-1]))
            as_binding(self.bindings[-1])

    def apply(self, number: int, measurements: list[Measurement], at: int) -> int:
        """As the uplink's command does; how many observations there are."""
        sensor = as_sensor(self.sensors[number])
        bindings = [as_binding(self.bindings[number])]
        resolution = resolve(measurements, bindings, {sensor.id: sensor})
        processed = process(
            resolution.resolved,
            Source("model", 1, at, {sensor.id: 1}),
            lambda sensor_id: as_sensor_state(self.states.get(sensor_id)),
            lambda _: bindings,
        )
        for sensor_id, state in processed.states.items():
            self.states[sensor_id] = Record("sensor_state", sensor_id, state_body(state), 1)
        if any(one.failed for one in processed.observations):
            raise AssertionError(f"implausible at {iso(at)}: {processed.observations}")
        return len(processed.observations)
