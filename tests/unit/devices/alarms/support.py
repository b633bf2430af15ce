"""A room with a sensor, without a store: uplinks, scans and people, at times that the test sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from broker.clock import SECOND, Micros
from broker.codecs.base import Measurement
from broker.config import Limits
from broker.devices.alarms.due import due_of
from broker.devices.alarms.look import LookAt
from broker.devices.alarms.model import Alarm, Health, as_alarm, as_health
from broker.devices.model import Binding, Device, DeviceModel, Output, Quantity, VirtualSensor
from broker.devices.registry import to_body
from broker.pipeline.apply_uplink import ApplyUplink, Decoded
from broker.pipeline.intake import Radio, Receipt, Uplink
from broker.stores.base import RecordWrite
from broker.stores.command import Effects
from tests.support.pure import Pure

T0: Micros = 1_790_000_000 * SECOND
MINUTE = 60 * SECOND
TEMPERATURE = "https://example.org/temperature"
MODEL = DeviceModel(
    id="climate", vendor="V", name="C", codec="elsys", expected_interval_seconds=600,
    quantities=(Quantity(quantity="temperature"),),
)  # fmt: skip


def sensor(name: str = "room", **members: Any) -> VirtualSensor:
    return VirtualSensor(
        id=name,
        name=name,
        entity=f"urn:{name}",
        entity_type="https://example.org/T",
        outputs=(Output(quantity="temperature", attribute=TEMPERATURE),),
        **members,
    )


class Room:
    """One virtual sensor 'room' and the devices that were it."""

    def __init__(self, **members: Any) -> None:
        self.store = Pure(T0)
        self.device = "dev-1"
        self._binding: Binding | None = None
        self._f_cnt = 0
        self.put(sensor(**members))
        self.store.put(RecordWrite("device_model", MODEL.id, to_body(MODEL), 1))
        self.bind("dev-1")

    def put(self, changed: VirtualSensor) -> None:
        self.store.put(RecordWrite("virtual_sensor", changed.id, to_body(changed), self.store.now))

    def bind(self, device: str) -> None:
        """From now on it is this device; what follows for alarms is not done here."""
        store = self.store
        if self._binding is not None:
            self._write(msgspec.structs.replace(self._binding, valid_to=store.now))
        store.put(RecordWrite("device", device, to_body(Device(id=device, model=MODEL.id)), 1))
        self._binding = Binding(id=store.new_id(), device=device, virtual_sensor="room", valid_from=store.now)
        self._write(self._binding)
        self.device, self._f_cnt = device, 0

    def unbind(self) -> None:
        assert self._binding is not None
        self._write(msgspec.structs.replace(self._binding, valid_to=self.store.now))
        self._binding = None

    def _write(self, binding: Binding) -> None:
        keys = (f"device:{binding.device}", f"sensor:{binding.virtual_sensor}")
        self.store.put(RecordWrite("binding", binding.id, to_body(binding), self.store.now, None, keys))

    def hear(
        self,
        celsius: float = 20.0,
        *,
        at: Micros | None = None,
        rssi: float = -90.0,
        battery: float | None = None,
        f_cnt: int | None = None,
        device: str | None = None,
    ) -> Effects[Any]:
        """An uplink."""
        at = at if at is not None else self.store.now
        self._f_cnt = f_cnt if f_cnt is not None else self._f_cnt + 1
        uplink = Uplink(
            source="test",
            kind="up",
            device_id=device or self.device,
            received_at=self.store.now,
            observed_at=at,
            raw=b"",
            payload=b"\x01",
            f_cnt=self._f_cnt,
            radio=Radio(rssi=rssi),
            battery_percent=battery,
        )
        measured = [Measurement(quantity="temperature", value=celsius, unit="CEL", observed_at=at)]
        decoded = Decoded(MODEL, 1, measured)
        effects = self.store.run(ApplyUplink(uplink, self.store.new_id(), decoded, Limits()))
        assert isinstance(effects.result, Receipt)
        return effects

    def later(self, span: Micros) -> None:
        self.store.now += span

    def scan(self) -> None:
        """What the scan finds by its keys: nothing else."""
        due = {
            kind: [one.id for one in self.store.all(kind) if (at := due_of(one.keys)) is not None and at <= self.now]
            for kind in ("sensor_health", "device_state")
        }
        if any(due.values()):
            self.store.run(LookAt(sensors=frozenset(due["sensor_health"]), devices=frozenset(due["device_state"])))

    def adopt(self) -> None:
        """What the scan does with a binding that it has not seen before."""
        self.store.run(LookAt(sensors=frozenset(("room",))))

    @property
    def now(self) -> Micros:
        return self.store.now

    @property
    def health(self) -> Health:
        return as_health(self.store.records.get(("sensor_health", "room")))

    def alarms(self) -> list[Alarm]:
        return sorted((as_alarm(one) for one in self.store.all("alarm")), key=lambda alarm: alarm.id)

    def open(self) -> list[Alarm]:
        return [alarm for alarm in self.alarms() if alarm.state != "closed"]

    def kinds(self, alarms: Sequence[Alarm] | None = None) -> list[str]:
        return [alarm.key for alarm in (self.open() if alarms is None else alarms)]
