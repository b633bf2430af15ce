"""Steps of an uplink that stand by themselves: what its times, its device's state and its reasons are. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from broker.clock import SECOND, Micros, iso
from broker.codecs.base import Measurement
from broker.config import Limits
from broker.devices.model import Binding, DeviceModel
from broker.devices.processing.observation import Observation
from broker.devices.processing.process import Processed
from broker.devices.processing.state import state_body
from broker.devices.registry import as_state, to_body
from broker.devices.resolve import Resolution
from broker.devices.state import heard
from broker.pipeline.intake import Uplink
from broker.stores.base import RecordWrite
from broker.stores.command import View


def heard_again(
    view: View,
    uplink: Uplink,
    uplink_id: str,
    at: Micros,
    *,
    measurements: Sequence[Measurement],
    problem: str | None,
    again: bool,
    model: DeviceModel | None,
    frame: str | None,
) -> list[RecordWrite]:
    """The next state of the uplink's device, where it differs. `again`: it was heard before; `frame`: see `frame_of`."""
    record, radio = view.record("device_state", uplink.device_id), uplink.radio
    before = as_state(record)
    state = heard(
        before,
        uplink_id=uplink_id,
        at=at,
        joined=uplink.kind == "join",
        f_cnt=uplink.f_cnt,
        rssi=radio.rssi if radio else None,
        snr=radio.snr if radio else None,
        gateway=radio.gateway_id if radio else None,
        gateway_location=radio.gateway_location if radio else None,
        margin=uplink.meta.get("margin"),
        battery_percent=uplink.battery_percent,
        battery=model.battery if model is not None else None,
        location=uplink.location,
        measurements=measurements,
        problem=problem,
        frame=frame,
        source=uplink.source,
        broker=uplink.meta.get("broker"),
        topic=uplink.meta.get("topic"),
        again=again,
    )
    if state == before:
        return []
    version, expected = (record.version + 1, record.version) if record is not None else (1, 0)
    return [RecordWrite("device_state", uplink.device_id, to_body(state), version, expected)]


def by_time(
    measurements: Sequence[Measurement], now: Micros, limits: Limits
) -> tuple[list[Measurement], list[Measurement]]:
    """Measurements of a plausible time, and those whose own time is not: a device's wrong clock must change nothing."""
    newest = now + limits.clock_ahead_seconds * SECOND
    oldest = now - limits.clock_behind_days * 24 * 3600 * SECOND
    plausible: list[Measurement] = []
    odd: list[Measurement] = []
    for measurement in measurements:
        (plausible if oldest <= measurement.observed_at <= newest else odd).append(measurement)
    return plausible, odd


def state_writes(view: View, processed: Processed) -> list[RecordWrite]:
    """The next states of virtual sensors."""
    writes = []
    for sensor_id, state in processed.states.items():
        record = view.record("sensor_state", sensor_id)
        version, expected = (record.version + 1, record.version) if record is not None else (1, 0)
        writes.append(RecordWrite("sensor_state", sensor_id, state_body(state), version, expected))
    return writes


def unbound(device_id: str, bindings: Sequence[Binding], at: Micros) -> str:
    """Why the quarantine has it, for people: a device that was something once is told from one that never was."""
    ended = [
        binding for binding in bindings if binding.valid_to is not None and not binding.empty and binding.valid_to <= at
    ]
    if not ended:
        return f"No virtual sensor is bound to device {device_id} at {iso(at)}."
    last = max(ended, key=lambda binding: binding.valid_to or 0)
    return (
        f"Device {device_id} was '{last.virtual_sensor}' until {iso(last.valid_to or 0)}; nothing is bound to it since."
    )


def left_out(odd: Sequence[Measurement], resolution: Resolution, failed: Sequence[Observation], limits: Limits) -> str:
    """What of an applied uplink did not become a value, for people; '' when all that has a place did."""
    said = []
    if odd:
        said.append(
            f"{len(odd)} measurements left out: their time, e.g. {iso(odd[0].observed_at)}, is more than "
            f"{limits.clock_ahead_seconds} s ahead of ours or older than {limits.clock_behind_days} days."
        )
    if resolution.unbound:
        said.append(f"{len(resolution.unbound)} measurements left out: no virtual sensor was bound at their time.")
    if failed:
        examples = ", ".join(f"{one.lineage['quantity']} {one.value} ({', '.join(one.failed)})" for one in failed[:3])
        said.append(f"{len(failed)} implausible: {examples}{', …' if len(failed) > 3 else ''}.")
    return " ".join(said)
