"""What a virtual sensor's watching must hold beyond its shape. Pure."""

from __future__ import annotations

import re
from typing import Final

from broker.devices.model import Threshold, VirtualSensor
from broker.errors import BadRequestData

MOST_THRESHOLDS: Final = 20
"""Of one virtual sensor, count: each is held against every uplink."""
LONGEST: Final = 366 * 24 * 3600
"""Of intervals and delays, seconds."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


def check_watching(sensor: VirtualSensor) -> None:
    """Its intervals, limits and thresholds make sense. Raises BadRequestData."""
    for name, seconds, least in (
        ("expectedIntervalSeconds", sensor.expected_interval_seconds, 1),
        ("silentAfterSeconds", sensor.silent_after_seconds, 0),
    ):
        if seconds is not None and not least <= seconds <= LONGEST:
            raise BadRequestData(f"'{name}' must be from {least} to {LONGEST}, got {seconds}.")
    watch = sensor.watch
    for name, value, low, high in (
        ("batteryPercent", watch.battery_percent, 0, 100),
        ("batteryVolts", watch.battery_volts, 0, 1000),
        ("rssi", watch.rssi, -200, 0),
        ("snr", watch.snr, -50, 50),
        ("lostShare", watch.lost_share, 0.01, 1),
        ("implausibleInARow", watch.implausible_in_a_row, 1, 1000),
    ):
        if value is not None and not low <= value <= high:
            raise BadRequestData(f"'watch': '{name}' must be from {low} to {high}, got {value:g}.")
    if len(sensor.thresholds) > MOST_THRESHOLDS:
        raise BadRequestData(f"'thresholds' must be at most {MOST_THRESHOLDS}, got {len(sensor.thresholds)}.")
    seen: set[str] = set()
    for rule in sensor.thresholds:
        if _ID.fullmatch(rule.id) is None or rule.id in seen:
            raise BadRequestData(
                f"'thresholds': 'id' must be letters, digits, '.', '_' or '-', each once, got '{rule.id[:80]}'."
            )
        seen.add(rule.id)
        _check_threshold(sensor, rule)


def _check_threshold(sensor: VirtualSensor, rule: Threshold) -> None:
    where = f"Threshold '{rule.id}'"
    if (rule.quantity is None) == (rule.attribute is None):
        raise BadRequestData(f"{where} must have either 'quantity' or 'attribute'.")
    if rule.quantity is not None:
        of_it = {output.attribute for output in sensor.outputs if output.quantity == rule.quantity}
        if len(of_it) != 1:
            raise BadRequestData(
                f"{where}: {'no output is' if not of_it else 'several outputs are'} of the quantity "
                f"'{rule.quantity[:60]}'; 'attribute' can name what is watched."
            )
    if rule.above is None and rule.below is None:
        raise BadRequestData(f"{where} must have 'above' or 'below'.")
    if rule.above is not None and rule.below is not None and rule.below >= rule.above:
        raise BadRequestData(f"{where}: 'below' must be less than 'above', got {rule.below:g} and {rule.above:g}.")
    if rule.hysteresis < 0:
        raise BadRequestData(f"{where}: 'hysteresis' must not be negative, got {rule.hysteresis:g}.")
    if rule.above is not None and rule.below is not None and rule.hysteresis * 2 > rule.above - rule.below:
        raise BadRequestData(f"{where}: 'hysteresis' must leave room between 'below' and 'above'.")
    if not 0 <= rule.delay_seconds <= LONGEST:
        raise BadRequestData(f"{where}: 'delaySeconds' must be from 0 to {LONGEST}, got {rule.delay_seconds}.")
