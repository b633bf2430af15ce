"""The command that applies one uplink, whole or not at all.

    known frame? -> known device? -> its state -> measurements of a plausible time -> bindings -> entities and history

What cannot go on says so by where the uplink ends up: the quarantine (nobody claims the device) or among the rejected
(it cannot be understood). Either way it is kept, and the receipt says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from broker.clock import Micros, Stamp
from broker.codecs.base import CodecError, Measurement
from broker.config import Limits
from broker.devices.alarms.heard import judge_uplink, uplink_needs
from broker.devices.alarms.rules import Radio
from broker.devices.located import located, places_needed
from broker.devices.model import Binding, DeviceModel, VirtualSensor
from broker.devices.observe import observe
from broker.devices.processing.observation import Observation, Source
from broker.devices.processing.plan import plan_of
from broker.devices.processing.process import Processed, process
from broker.devices.processing.state import as_sensor_state
from broker.devices.registry import as_binding, as_device, as_sensor, as_state
from broker.devices.resolve import Resolution, resolve
from broker.devices.revisions import revision_key
from broker.devices.state import brought_before, frame_of
from broker.devices.take_back import written_by
from broker.pipeline.follow import follow, follow_needs
from broker.pipeline.intake import Outcome, Receipt, Uplink
from broker.pipeline.uplink_parts import by_time, heard_again, left_out, state_writes, unbound
from broker.stores.base import BYTES_DROPPED, Needs, Snapshot, Superseded, UplinkRow, UplinkStatus, UplinkUpdate
from broker.stores.command import Effects, View

UNHEARD: Final = "unheard"
"""In a kept uplink's meta: its device was not registered when it came in."""

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
    """Apply one decoded uplink. Result: the receipt, or Stale."""

    uplink: Uplink
    uplink_id: str
    decoded: Decoded
    limits: Limits
    was: UplinkStatus | None = None
    """What became of it the first time, when it is a kept one that is looked at again; None: it is new."""
    heard: bool = False
    """Whether its device was known then, so that it counted as heard."""
    since: Micros | None = None
    """What was applied and tells of nothing from this time on is left as it is."""
    keep_bytes: bool = True
    """Whether a new uplink's bytes are kept when it is applied."""

    def needs(self, seen: Snapshot) -> Needs:
        """The device and its state, then its bindings' virtual sensors, then their entities."""
        uplink = self.uplink
        needs = Needs(
            records={("device", uplink.device_id), ("device_state", uplink.device_id)},
            found={("binding", f"device:{uplink.device_id}")},
        )
        if uplink.frame_key is not None and self.was is None:
            needs.frames = {uplink.frame_key, *uplink.earlier_frame_keys}
        needs.add(follow_needs(uplink))
        device = seen.records.get(("device", uplink.device_id))
        if device is not None:
            needs.records.add(("device_model", as_device(device).model))
        for record in seen.found.get(("binding", f"device:{uplink.device_id}"), ()):
            sensor_id = as_binding(record).virtual_sensor
            needs.records.add(("virtual_sensor", sensor_id))
            sensor = seen.records.get(("virtual_sensor", sensor_id))
            if sensor is not None:
                needs.entities |= as_sensor(sensor).entities
                needs.entities |= places_needed(as_sensor(sensor), seen.entity)
                plan = plan_of(as_sensor(sensor))
                if plan.remembers:
                    needs.records.add(("sensor_state", sensor_id))
                if plan.counts:
                    needs.found.add(("binding", f"sensor:{sensor_id}"))
            if self.was == "applied":
                needs.found.add(("revision", revision_key("virtual_sensor", sensor_id)))
        needs.add(uplink_needs(seen.found.get(("binding", f"device:{uplink.device_id}"), ()), uplink.observed_at, seen))
        return needs

    def apply(self, view: View, stamp: Stamp) -> Effects[Receipt | Stale]:
        """All that the uplink does, and what that means for alarms."""
        effects = self._applied(view, stamp)
        uplink = self.uplink
        judge_uplink(
            effects,
            view,
            stamp,
            device=uplink.device_id,
            at=uplink.observed_at,
            model=self.decoded.model,
            radio=Radio(uplink.radio.rssi, uplink.radio.snr) if uplink.radio else None,
        )
        return effects

    def _applied(self, view: View, stamp: Stamp) -> Effects[Receipt | Stale]:
        uplink = self.uplink
        if self.was is None and any(
            view.frame_applied(key) for key in (uplink.frame_key, *uplink.earlier_frame_keys) if key is not None
        ):
            return Effects(Receipt(self.uplink_id, "duplicate", "The frame was applied before."))
        device_record = view.record("device", uplink.device_id)
        if device_record is None:
            return self._ended(view, "quarantined", f"Device {uplink.device_id} is not registered.")
        if self._is_stale(view, as_device(device_record).model):
            return Effects(Stale())
        if self.was == "applied" and not self._concerned():
            return Effects(Receipt(self.uplink_id, "applied"))
        other = brought_before(as_state(view.record("device_state", uplink.device_id)), *self._frame)
        if other and self.was is None:
            return Effects(
                Receipt(self.uplink_id, "duplicate", f"The frame was applied before, as '{other}' brought it.")
            )
        if uplink.kind != "up" or (uplink.payload is None and uplink.decoded is None and not uplink.values):
            return self._ended(view, "applied", "", at=uplink.observed_at)
        if self.decoded.problem:
            return self._refused(view, self.decoded.problem)
        return self._observed(view, stamp)

    @property
    def _frame(self) -> tuple[str | None, str, Micros]:
        """What tells it apart on all networks, and who brought it when."""
        uplink = self.uplink
        payload = uplink.payload if uplink.kind == "up" else None
        return frame_of(uplink.f_cnt, uplink.f_port, payload), uplink.source, uplink.observed_at

    def _refused(self, view: View, problem: str) -> Effects[Receipt | Stale]:
        """It cannot be understood; what was understood once is left as it is."""
        if self.was == "applied":
            return Effects(Receipt(self.uplink_id, "applied", f"Left as it was: {problem}"))
        return self._ended(view, "rejected", problem, at=self.uplink.observed_at)

    def _concerned(self) -> bool:
        """Whether a kept uplink tells of the time that is looked at again."""
        since = self.since
        return since is None or any(measurement.observed_at >= since for measurement in self.decoded.measurements)

    def _is_stale(self, view: View, model_id: str) -> bool:
        model, record = self.decoded.model, view.record("device_model", model_id)
        if model is None:
            return record is not None or not self.decoded.problem
        return record is None or model.id != model_id or record.version != self.decoded.model_version

    def _observed(self, view: View, stamp: Stamp) -> Effects[Receipt | Stale]:
        plausible, odd = by_time(self.decoded.measurements, stamp.now, self.limits)
        bindings, sensors = self._registry(view)
        resolution = resolve(plausible, bindings, sensors)
        at = self.uplink.observed_at
        if plausible and not resolution.resolved and not resolution.unused:
            reason = unbound(self.uplink.device_id, bindings, plausible[0].observed_at)
            ended = self._ended(view, "quarantined", reason, at=at, measurements=plausible)
        else:
            try:
                processed = self._processed(view, resolution)
            except CodecError as error:
                return self._refused(view, str(error))
            effects = self._entity_effects(view, processed.observations, stamp)
            failed = [one for one in processed.observations if one.failed]
            reason = left_out(odd, resolution, failed, self.limits)
            ended = self._ended(view, "applied", reason, at=at, measurements=plausible)
            if failed and isinstance(ended.result, Receipt):
                checks = tuple(check for one in failed for check in one.failed)
                ended.result = msgspec.structs.replace(ended.result, implausible=checks)
            ended.changes, ended.history = effects.changes, effects.history
            ended.records += state_writes(view, processed)
        if self.was == "applied":
            ended.superseded = self._superseded(view, stamp)
        return ended

    def _processed(self, view: View, resolution: Resolution) -> Processed:
        """The resolved measurements, calibrated, counted and checked, with what is derived of them."""
        assert self.decoded.model is not None
        versions = {
            one.sensor.id: record.version
            for one in resolution.resolved
            if (record := view.record("virtual_sensor", one.sensor.id)) is not None
        }
        source = Source(self.decoded.model.id, self.decoded.model_version, self.uplink.observed_at, versions)
        # What a kept uplink told of an earlier time holds as it was made then.
        held = self.since if self.was == "applied" and self.since is not None else None
        return process(
            [one for one in resolution.resolved if held is None or one.measurement.observed_at >= held],
            source,
            lambda sensor_id: as_sensor_state(view.record("sensor_state", sensor_id)),
            lambda sensor_id: [as_binding(record) for record in view.found("binding", f"sensor:{sensor_id}")],
        )

    def _registry(self, view: View) -> tuple[list[Binding], dict[str, VirtualSensor]]:
        bindings = [as_binding(record) for record in view.found("binding", f"device:{self.uplink.device_id}")]
        sensors = {
            binding.virtual_sensor: as_sensor(record)
            for binding in bindings
            if (record := view.record("virtual_sensor", binding.virtual_sensor)) is not None
        }
        return bindings, sensors

    def _entity_effects(self, view: View, observations: Sequence[Observation], stamp: Stamp) -> Effects[None]:
        effects: Effects[None] = Effects(None)
        by_entity: dict[str, list[Observation]] = {}
        for observation in observations:
            by_entity.setdefault(observation.entity_id, []).append(observation)
        for entity_id, observed in by_entity.items():
            sensor = observed[0].sensor
            change, history = observe(
                view.entity(entity_id),
                observed,
                device_id=self.uplink.device_id,
                uplink_id=self.uplink_id,
                stamp=stamp,
                location=located(sensor, view.entity, stamp) if entity_id == sensor.entity else None,
            )
            effects.history += history
            if change is not None:
                effects.changes.append(change)
        return effects

    def _superseded(self, view: View, stamp: Stamp) -> list[Superseded]:
        """What the uplink brought the first time: what it brings now stands in its place."""
        times = [measurement.observed_at for measurement in self.decoded.measurements]
        if self.since is not None:
            times = [time for time in times if time >= self.since]
        entities: set[str] = set()
        for record in view.found("binding", f"device:{self.uplink.device_id}"):
            sensor_id = as_binding(record).virtual_sensor
            revisions = view.found("revision", revision_key("virtual_sensor", sensor_id))
            entities |= {entity for entity, _ in written_by(view.record("virtual_sensor", sensor_id), revisions)}
        return [
            Superseded(entity, stamp.version, uplink_id=self.uplink_id, since=min(times), until=max(times) + 1)
            for entity in sorted(entities)
            if times
        ]

    def _ended(
        self,
        view: View,
        outcome: Outcome,
        reason: str,
        *,
        at: int | None = None,
        measurements: Sequence[Measurement] = (),
    ) -> Effects[Receipt | Stale]:
        """The uplink's row, its device's state (where the device is known: `at` is given) and the receipt."""
        uplink = self.uplink
        effects: Effects[Receipt | Stale] = Effects(Receipt(self.uplink_id, outcome, reason))
        if self.was is None:
            row = _row(uplink, self.uplink_id, _STATUS[outcome], reason, heard=at is not None)
            if outcome == "applied" and not self.keep_bytes:
                row = msgspec.structs.replace(row, raw=b"", meta={**row.meta, BYTES_DROPPED: True})
            effects.uplinks.append(row)
        elif outcome != self.was or outcome == "applied":
            effects.uplink_updates.append(UplinkUpdate(self.uplink_id, _STATUS[outcome], reason, expected=self.was))
        if at is not None:
            effects.records += heard_again(
                view,
                uplink,
                self.uplink_id,
                at,
                measurements=measurements,
                problem=reason or None,
                again=self.heard,
                model=self.decoded.model,
                frame=self._frame[0],
            )
            followed, status = follow(view, uplink)
            effects.records += followed
            effects.result = Receipt(self.uplink_id, outcome, reason, command=status)
        return effects


def _row(uplink: Uplink, uplink_id: str, status: UplinkStatus, reason: str, *, heard: bool) -> UplinkRow:
    known = {
        "fCnt": uplink.f_cnt,
        "fPort": uplink.f_port,
        "deviceName": uplink.device_name,
        "deviceProfile": uplink.device_profile,
        "radio": msgspec.to_builtins(uplink.radio) if uplink.radio else None,
    }
    meta = {**uplink.meta, "kind": uplink.kind, "observedAt": uplink.observed_at}
    meta |= {name: value for name, value in known.items() if value is not None}
    if not heard:
        meta[UNHEARD] = True
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
