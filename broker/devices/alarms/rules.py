"""What is wrong with a virtual sensor, as signals: bad, good, or in between (behind the limit, within the hysteresis). Pure.

Defaults, and where they are from:

- battery: low at 15 %. LoRaWAN devices tell percent of a flat discharge curve: below that the end is weeks away. Percent that
  are made of volts by the model's curve are only approximate: a limit in volts goes before them.
- radio: weak below -120 dBm or -15 dB. A LoRaWAN gateway still demodulates SF12 at -137 dBm and -20 dB, so there is room
  left. Of three uplinks in a row: one is weather or a lorry. Only LoRaWAN: other networks' figures mean other things.
- frame loss: a third of the last frames, of 20 at least. Networks are planned for a tenth.
- implausible values: in three uplinks in a row. A single one is what plausibility is there to hold back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from broker.clock import SECOND, Micros
from broker.devices.alarms.frames import lost_share
from broker.devices.alarms.model import alarm_key
from broker.devices.model import AlarmKind, DeviceModel, DeviceState, Severity, Threshold, VirtualSensor

Level = Literal["bad", "between", "good"]

BATTERY_PERCENT: Final = 15.0
BATTERY_PERCENT_BACK: Final = 5.0
"""How far above the limit a battery is well again, percentage points: a warm day is no new battery."""
BATTERY_VOLTS_BACK: Final = 0.1
RSSI: Final = -120.0
RSSI_BACK: Final = 5.0
SNR: Final = -15.0
SNR_BACK: Final = 3.0
RADIO_IN_A_ROW: Final = 3
LOST_SHARE: Final = 1 / 3
LOST_SHARE_BACK: Final = 0.1
LOST_OF_AT_LEAST: Final = 20
IMPLAUSIBLE_IN_A_ROW: Final = 3

SEVERITY: Final[Mapping[AlarmKind, Severity]] = {
    "silence": "high",
    "battery": "medium",
    "radio": "low",
    "frameLoss": "low",
    "implausible": "medium",
    "threshold": "medium",
}

Implausible = Sequence[tuple[str, str]]
"""(attribute, check) of values that were held to be implausible."""


@dataclass(frozen=True, slots=True)
class Signal:
    """What one rule says of one uplink."""

    kind: AlarmKind
    level: Level
    severity: Severity = "medium"
    text: str = ""
    rule: str = ""
    delay: Micros = 0
    count: int = 1
    """Bad uplinks in a row that make an alarm."""
    data: dict[str, Any] = field(default_factory=dict)
    since: Micros | None = None
    """When it began, where that is not the moment of the signal."""

    @property
    def key(self) -> str:
        """Of the alarm that it may become."""
        return alarm_key(self.kind, self.rule)


@dataclass(frozen=True, slots=True)
class Radio:
    """How well this uplink was heard."""

    rssi: float | None
    snr: float | None


def device_signals(
    sensor: VirtualSensor, model: DeviceModel | None, state: DeviceState, radio: Radio | None
) -> Iterable[Signal]:
    """What an uplink says of the device: its battery, its radio, its frames. Figures that are not there say nothing."""
    watch = sensor.watch
    off = watch.off
    volts_alone = state.battery_derived and watch.battery_volts is not None and watch.battery_percent is None
    if state.battery_percent is not None and not volts_alone and "battery" not in off:
        limit = watch.battery_percent if watch.battery_percent is not None else BATTERY_PERCENT
        level = _below(state.battery_percent, limit, BATTERY_PERCENT_BACK, inclusive=True)
        # A device that tells percent and volts is low when one of them is.
        if level != "bad" and watch.battery_volts is not None and state.battery_volts is not None:
            yield _volts(sensor, state.battery_volts, watch.battery_volts)
        elif level == "bad":
            about = (
                f"about {state.battery_percent:.0f} %" if state.battery_derived else f"{state.battery_percent:.0f} %"
            )
            at = f", {state.battery_volts:.2f} V" if state.battery_derived and state.battery_volts is not None else ""
            text = f"The battery is at {about}{at} (low at {limit:g} %)."
            yield _signal(sensor, "battery", level, text, percent=state.battery_percent, limit=limit)
        else:
            yield Signal("battery", level)
    elif state.battery_volts is not None and watch.battery_volts is not None and "battery" not in off:
        yield _volts(sensor, state.battery_volts, watch.battery_volts)
    if radio is not None and "radio" not in off and (model is None or model.network == "lorawan"):
        yield from _radio(sensor, radio)
    if state.frames_known >= LOST_OF_AT_LEAST and "frameLoss" not in off:
        yield _loss(sensor, state)


def _volts(sensor: VirtualSensor, volts: float, limit: float) -> Signal:
    level = _below(volts, limit, BATTERY_VOLTS_BACK, inclusive=True)
    if level != "bad":
        return Signal("battery", level)
    return _signal(
        sensor, "battery", level, f"The battery is at {volts:.2f} V (low at {limit:g} V).", volts=volts, limit=limit
    )


def _radio(sensor: VirtualSensor, radio: Radio) -> Iterable[Signal]:
    weakest: Level | None = None
    for value, chosen, default, back in (
        (radio.rssi, sensor.watch.rssi, RSSI, RSSI_BACK),
        (radio.snr, sensor.watch.snr, SNR, SNR_BACK),
    ):
        if value is not None:
            level = _below(value, chosen if chosen is not None else default, back)
            weakest = level if weakest is None else _worse(weakest, level)
    if weakest is None:
        return
    if weakest != "bad":
        yield Signal("radio", weakest)
        return
    figures = {"rssi": radio.rssi, "snr": radio.snr}
    heard = ", ".join(
        f"{name} {value:g} {unit}"
        for name, value, unit in (("rssi", radio.rssi, "dBm"), ("snr", radio.snr, "dB"))
        if value is not None
    )
    text = f"The radio is weak: {heard}, {RADIO_IN_A_ROW} uplinks in a row."
    yield _signal(sensor, "radio", "bad", text, RADIO_IN_A_ROW, **{k: v for k, v in figures.items() if v is not None})


def _loss(sensor: VirtualSensor, state: DeviceState) -> Signal:
    share = lost_share(state)
    assert share is not None
    limit = sensor.watch.lost_share if sensor.watch.lost_share is not None else LOST_SHARE
    if share < limit:
        return Signal("frameLoss", "good" if share <= max(limit - LOST_SHARE_BACK, limit / 2) else "between")
    lost = state.frames_known - state.frames.bit_count()
    text = f"{lost} of the last {state.frames_known} frames were lost."
    return _signal(sensor, "frameLoss", "bad", text, lost=lost, frames=state.frames_known, limit=round(limit, 3))


def implausible_signals(sensor: VirtualSensor, implausible: Implausible) -> Iterable[Signal]:
    """What an uplink with values says of their plausibility."""
    if "implausible" in sensor.watch.off:
        return
    if not implausible:
        yield Signal("implausible", "good")
        return
    chosen = sensor.watch.implausible_in_a_row
    said = ", ".join(f"{_short(attribute)} ({check})" for attribute, check in implausible[:5])
    yield _signal(
        sensor,
        "implausible",
        "bad",
        f"Implausible values: {said}.",
        chosen if chosen is not None else IMPLAUSIBLE_IN_A_ROW,
        values=[{"attribute": _short(attribute), "check": check} for attribute, check in implausible[:5]],
    )


def threshold_signals(sensor: VirtualSensor, values: Mapping[str, Any]) -> Iterable[Signal]:
    """What the new current values (by attribute IRI) say to the virtual sensor's thresholds."""
    for rule in sensor.thresholds:
        attribute = threshold_attribute(sensor, rule)
        value = values.get(attribute) if attribute is not None else None
        if attribute is None or isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        yield _threshold(sensor, rule, attribute, float(value))


def threshold_attribute(sensor: VirtualSensor, rule: Threshold) -> str | None:
    """The attribute that a threshold watches; None: none of the virtual sensor's outputs is of its quantity any more."""
    if rule.attribute is not None:
        return rule.attribute
    return next((output.attribute for output in sensor.outputs if output.quantity == rule.quantity), None)


def _threshold(sensor: VirtualSensor, rule: Threshold, attribute: str, value: float) -> Signal:
    level: Level = "good"
    limit = 0.0
    for bound, is_above in ((rule.above, True), (rule.below, False)):
        if bound is None:
            continue
        found = _below(-value, -bound, rule.hysteresis) if is_above else _below(value, bound, rule.hysteresis)
        if _worse(level, found) == found and found != level:
            level, limit = found, bound
    delay = rule.delay_seconds * SECOND
    if level != "bad":
        return Signal("threshold", level, rule=rule.id, delay=delay)
    side = "above" if value > limit else "below"
    what = rule.quantity or _short(attribute)
    return Signal(
        "threshold",
        level,
        rule.severity,
        rule.text or f"{what} is {value:g}, {side} {limit:g}.",
        rule.id,
        delay,
        data={"attribute": _short(attribute), "value": value, "limit": limit},
    )


def _signal(sensor: VirtualSensor, kind: AlarmKind, level: Level, text: str, count: int = 1, **data: Any) -> Signal:
    return Signal(kind, level, severity(sensor, kind), text, count=count, data=data)


def severity(sensor: VirtualSensor, kind: AlarmKind) -> Severity:
    """Of an alarm of this kind that is not a threshold's."""
    return sensor.watch.severity.get(kind, SEVERITY[kind])


def rules_of(sensor: VirtualSensor) -> frozenset[str]:
    """Keys of the alarms that the virtual sensor may have."""
    kinds = {kind for kind in SEVERITY if kind != "threshold" and kind not in sensor.watch.off}
    if "threshold" in sensor.watch.off:
        return frozenset(kinds)
    return frozenset(kinds | {alarm_key("threshold", rule.id) for rule in sensor.thresholds})


def _below(value: float, limit: float, back: float, *, inclusive: bool = False) -> Level:
    if value < limit or (inclusive and value == limit):
        return "bad"
    return "good" if value >= limit + back else "between"


def _worse(one: Level, other: Level) -> Level:
    order: tuple[Level, ...] = ("good", "between", "bad")
    return max(one, other, key=order.index)


def _short(attribute: str) -> str:
    """The last part of an IRI, for people."""
    return attribute.rstrip("/#").replace("#", "/").rpartition("/")[2]
