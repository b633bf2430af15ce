"""The command that applies one uplink, whole or not at all.

    known frame? -> known device? -> its state -> measurements of a plausible time -> bindings -> entities and history

What cannot go on says so by where the uplink ends up: the quarantine (nobody claims the device) or among the rejected
(it cannot be understood). Either way it is kept, and the receipt says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from broker.clock import SECOND, Stamp, iso
from broker.codecs.base import CodecError, Measurement
from broker.config import Limits
from broker.devices.alarms.heard import judge_uplink, uplink_needs
from broker.devices.alarms.rules import Radio
from broker.devices.model import Binding, DeviceModel, VirtualSensor
from broker.devices.observe import observe
from broker.devices.registry import as_binding, as_device, as_sensor, as_state, to_body
from broker.devices.resolve import Resolution, Resolved, resolve
from broker.devices.state import heard
from broker.pipeline.intake import Outcome, Receipt, Uplink
from broker.stores.base import Needs, RecordWrite, Snapshot, UplinkRow, UplinkStatus, UplinkUpdate
from broker.stores.command import Effects, View

_STATUS: dict[Outcome, UplinkStatus] = {
    "applied": "applied",
    "quarantined": "quarantined",
    "rejected": "rejected",
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the uplink's payload said, by the device model that was current when it was decoded."""

    model: DeviceModel | None = None
    """None: the device is not known."""
    model_version: int = 0
    measurements: Sequence[Measurement] = ()
    problem: str = ""
    """Why it could not be decoded, for people."""


@dataclass(frozen=True, slots=True)
class Stale:
    """Instead of a receipt: the device or its model changed since the uplink was decoded; decode it again."""


@dataclass(frozen=True, slots=True)
class ApplyUplink:
    """Apply one decoded uplink. With `replay_of` it is a kept one, out of quarantine. Result: the receipt, or Stale."""

    uplink: Uplink
    uplink_id: str
    decoded: Decoded
    limits: Limits
    replay: bool = False

    def needs(self, seen: Snapshot) -> Needs:
        """The device and its state, then its bindings' virtual sensors, then their entities."""
        uplink = self.uplink
        needs = Needs(
            records={("device", uplink.device_id), ("device_state", uplink.device_id)},
            found={("binding", f"device:{uplink.device_id}")},
        )
        if uplink.frame_key is not None and not self.replay:
            needs.frames = {uplink.frame_key, *uplink.earlier_frame_keys}
        device = seen.records.get(("device", uplink.device_id))
        if device is not None:
            needs.records.add(("device_model", as_device(device).model))
        for record in seen.found.get(("binding", f"device:{uplink.device_id}"), ()):
            sensor_id = as_binding(record).virtual_sensor
            needs.records.add(("virtual_sensor", sensor_id))
            sensor = seen.records.get(("virtual_sensor", sensor_id))
            if sensor is not None:
                needs.entities |= as_sensor(sensor).entities
        needs.add(uplink_needs(seen.found.get(("binding", f"device:{uplink.device_id}"), ()), uplink.observed_at, seen))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Receipt | Stale]:
        """All that the uplink does."""
        uplink = self.uplink
        if not self.replay and any(
            view.frame_applied(key) for key in (uplink.frame_key, *uplink.earlier_frame_keys) if key is not None
        ):
            return Effects(Receipt(self.uplink_id, "duplicate", "The frame was applied before."))
        device_record = view.record("device", uplink.device_id)
        if device_record is None:
            return self._ended(view, stamp, "quarantined", f"Device {uplink.device_id} is not registered.")
        if self._is_stale(view, as_device(device_record).model):
            return Effects(Stale())
        if uplink.kind != "up" or (uplink.payload is None and uplink.decoded is None and not uplink.values):
            return self._ended(view, stamp, "applied", "", at=uplink.observed_at)
        if self.decoded.problem:
            return self._ended(view, stamp, "rejected", self.decoded.problem, at=uplink.observed_at)
        return self._observed(view, stamp)

    def _is_stale(self, view: View, model_id: str) -> bool:
        model, record = self.decoded.model, view.record("device_model", model_id)
        if model is None:
            return record is not None or not self.decoded.problem
        return record is None or model.id != model_id or record.version != self.decoded.model_version

    def _observed(self, view: View, stamp: Stamp) -> Effects[Receipt | Stale]:
        plausible, odd = _by_time(self.decoded.measurements, stamp, self.limits)
        bindings, sensors = self._registry(view)
        resolution = resolve(plausible, bindings, sensors)
        at = self.uplink.observed_at
        if plausible and not resolution.resolved and not resolution.unused:
            reason = f"No virtual sensor is bound to device {self.uplink.device_id} at {iso(at)}."
            return self._ended(view, stamp, "quarantined", reason, at=at, measurements=plausible)
        try:
            effects = self._entity_effects(view, resolution, stamp)
        except CodecError as error:
            return self._ended(view, stamp, "rejected", str(error), at=at)
        left_out = _left_out(odd, resolution, self.limits)
        return self._ended(view, stamp, "applied", left_out, at=at, measurements=plausible, observed=effects)

    def _registry(self, view: View) -> tuple[list[Binding], dict[str, VirtualSensor]]:
        bindings = [as_binding(record) for record in view.found("binding", f"device:{self.uplink.device_id}")]
        sensors = {
            binding.virtual_sensor: as_sensor(record)
            for binding in bindings
            if (record := view.record("virtual_sensor", binding.virtual_sensor)) is not None
        }
        return bindings, sensors

    def _entity_effects(self, view: View, resolution: Resolution, stamp: Stamp) -> Effects[None]:
        effects: Effects[None] = Effects(None)
        by_entity: dict[str, list[Resolved]] = {}
        for resolved in resolution.resolved:
            by_entity.setdefault(resolved.entity_id, []).append(resolved)
        for entity_id, observations in by_entity.items():
            change, history = observe(
                view.entity(entity_id),
                observations,
                device_id=self.uplink.device_id,
                uplink_id=self.uplink_id,
                stamp=stamp,
            )
            effects.history += history
            if change is not None:
                effects.changes.append(change)
        return effects

    def _ended(
        self,
        view: View,
        stamp: Stamp,
        outcome: Outcome,
        reason: str,
        *,
        at: int | None = None,
        measurements: Sequence[Measurement] = (),
        observed: Effects[None] | None = None,
    ) -> Effects[Receipt | Stale]:
        """The uplink's row, its device's state and alarms (where the device is known: `at` is given), and the receipt.

        `observed`: what it did to entities.
        """
        uplink = self.uplink
        effects: Effects[Receipt | Stale] = Effects(Receipt(self.uplink_id, outcome, reason))
        if observed is not None:
            effects.changes, effects.history = observed.changes, observed.history
        if not self.replay:
            effects.uplinks.append(_row(uplink, self.uplink_id, _STATUS[outcome], reason))
        elif outcome != "quarantined":
            effects.uplink_updates.append(UplinkUpdate(self.uplink_id, _STATUS[outcome], reason))
        if at is not None:
            record = view.record("device_state", uplink.device_id)
            radio = uplink.radio
            before = as_state(record)
            state = heard(
                before,
                uplink_id=self.uplink_id,
                at=at,
                joined=uplink.kind == "join",
                f_cnt=uplink.f_cnt,
                rssi=radio.rssi if radio else None,
                snr=radio.snr if radio else None,
                gateway=radio.gateway_id if radio else None,
                battery_percent=uplink.battery_percent,
                location=uplink.location,
                measurements=measurements,
                problem=reason or None,
            )
            keys = judge_uplink(
                effects,
                view,
                stamp,
                at=at,
                bindings=view.found("binding", f"device:{uplink.device_id}"),
                model=self.decoded.model,
                before=before,
                state=state,
                state_keys=record.keys if record is not None else (),
                radio=Radio(radio.rssi, radio.snr) if radio else None,
                values=bool(measurements),
            )
            version, expected = (record.version + 1, record.version) if record is not None else (1, 0)
            effects.records.append(
                RecordWrite("device_state", uplink.device_id, to_body(state), version, expected, keys)
            )
        return effects


def _by_time(
    measurements: Sequence[Measurement], stamp: Stamp, limits: Limits
) -> tuple[list[Measurement], list[Measurement]]:
    """Measurements of a plausible time, and those whose own time is not: a device's wrong clock must change nothing."""
    newest = stamp.now + limits.clock_ahead_seconds * SECOND
    oldest = stamp.now - limits.clock_behind_days * 24 * 3600 * SECOND
    plausible: list[Measurement] = []
    odd: list[Measurement] = []
    for measurement in measurements:
        (plausible if oldest <= measurement.observed_at <= newest else odd).append(measurement)
    return plausible, odd


def _left_out(odd: Sequence[Measurement], resolution: Resolution, limits: Limits) -> str:
    """What of an applied uplink did not become a value, for people; '' when all that has a place did."""
    said = []
    if odd:
        said.append(
            f"{len(odd)} measurements left out: their time, e.g. {iso(odd[0].observed_at)}, is more than "
            f"{limits.clock_ahead_seconds} s ahead of ours or older than {limits.clock_behind_days} days."
        )
    if resolution.unbound:
        said.append(f"{len(resolution.unbound)} measurements left out: no virtual sensor was bound at their time.")
    return " ".join(said)


def _row(uplink: Uplink, uplink_id: str, status: UplinkStatus, reason: str) -> UplinkRow:
    known = {
        "fCnt": uplink.f_cnt,
        "fPort": uplink.f_port,
        "deviceName": uplink.device_name,
        "deviceProfile": uplink.device_profile,
        "radio": msgspec.to_builtins(uplink.radio) if uplink.radio else None,
    }
    meta = {**uplink.meta, "kind": uplink.kind, "observedAt": uplink.observed_at}
    meta |= {name: value for name, value in known.items() if value is not None}
    return UplinkRow(
        id=uplink_id,
        status=status,
        reason=reason,
        source=uplink.source,
        received_at=uplink.received_at,
        device_id=uplink.device_id,
        frame_key=uplink.frame_key,
        raw=uplink.raw,
        meta=meta,
    )
