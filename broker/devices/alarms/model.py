"""An alarm, and a virtual sensor's health, as types: the bodies of the records `alarm` and `sensor_health`.

Keys of an alarm: `sensor:<id>`, `entity:<urn>`, `device:<id>`, `open` and `open:<virtual sensor>` until it is closed, and
every combination of state, severity and kind, so that no list of alarms is looked through (`list_key`). A `sensor_health` is there only while there is
something to remember; its key is when it must be looked at (`broker.devices.alarms.due`).
"""

from __future__ import annotations

from itertools import product
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from broker.clock import Micros, Stamp
from broker.devices.alarms.due import due_key
from broker.devices.model import AlarmKind, Severity
from broker.stores.base import Record, RecordWrite

AlarmState = Literal["open", "acknowledged", "closed"]
Because = Literal["recovered", "swap", "unbound", "by hand", "rule removed", "sensor removed"]

ACTIVE: Final = "active"
"""Stands for open or acknowledged in lists."""

FOLLOW_DEVICE: Final[frozenset[str]] = frozenset({"silence", "battery", "radio", "frameLoss"})
"""Kinds that are about the device: another device cures them. The others wait for the next value."""


class Step(Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """One step of an alarm's life."""

    at: Micros
    state: AlarmState
    by: str = ""
    comment: str = ""
    because: str = ""


class Alarm(Struct, frozen=True, rename="camel", kw_only=True):
    """One alarm of one virtual sensor."""

    id: str
    virtual_sensor: str
    kind: AlarmKind
    rule: str = ""
    """The threshold's id."""
    severity: Severity
    state: AlarmState = "open"
    text: str
    entity: str
    """What the virtual sensor observes."""
    device: str | None = None
    """That was the virtual sensor when it opened."""
    since: Micros
    """When what is wrong began."""
    opened_at: Micros
    acknowledged_at: Micros | None = None
    acknowledged_by: str | None = None
    comment: str | None = None
    """Of who acknowledged or closed it."""
    closed_at: Micros | None = None
    closed_because: Because | None = None
    data: dict[str, Any] = {}
    """What was measured, and the limit."""
    steps: tuple[Step, ...] = ()

    @property
    def key(self) -> str:
        """What there is at most one open alarm of, in a virtual sensor."""
        return alarm_key(self.kind, self.rule)


class Pending(Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """Something is wrong and not yet an alarm: not for long enough, not often enough, or it is shelved."""

    kind: AlarmKind
    rule: str = ""
    since: Micros
    count: int = 1
    """Uplinks in a row that say so."""
    due: Micros | None = None
    """From when on it is an alarm; None: not before further uplinks say so."""
    severity: Severity
    text: str
    data: dict[str, Any] = {}


class Shelf(Struct, frozen=True, rename="camel", kw_only=True):
    """Planned work: no alarm opens until then."""

    until: Micros
    by: str
    reason: str = ""
    at: Micros
    """Since when."""


class Health(Struct, frozen=True, rename="camel", kw_only=True, omit_defaults=True):
    """What is pending and open at a virtual sensor. Dictionaries are by alarm key."""

    pending: dict[str, Pending] = {}
    open: dict[str, str] = {}
    """Ids of alarms, acknowledged ones too."""
    dismissed: tuple[str, ...] = ()
    """Closed by hand while it was still wrong: does not open again before it was right once."""
    device: str = ""
    """Whose silence, battery, radio or frame loss is pending, open or dismissed; '' where none is."""
    shelf: Shelf | None = None
    look_at: Micros | None = None
    """When it must be looked whether the device is silent, where the device's own state does not say it."""

    @property
    def due(self) -> Micros | None:
        """When time alone changes something."""
        held = self.shelf.until if self.shelf is not None else 0
        times = [max(one.due, held) for one in self.pending.values() if one.due is not None]
        times += [time for time in (self.look_at, held or None) if time is not None]
        return min(times, default=None)

    @property
    def follows_device(self) -> bool:
        """Whether something of it is about the device, and not about what is measured."""
        return any(key in FOLLOW_DEVICE for key in (*self.pending, *self.open, *self.dismissed))

    @property
    def empty(self) -> bool:
        """Nothing to remember."""
        return self == _NOTHING


_NOTHING: Final = Health()


def alarm_key(kind: AlarmKind, rule: str = "") -> str:
    """'battery', 'threshold:frost'."""
    return f"{kind}:{rule}" if rule else kind


def as_alarm(record: Record) -> Alarm:
    """The alarm of a record of kind 'alarm'."""
    return msgspec.convert(record.body, Alarm)


def as_health(record: Record | None) -> Health:
    """The health of a record of kind 'sensor_health'; a good one when there is none."""
    return msgspec.convert(record.body, Health) if record is not None else _NOTHING


def alarm_write(alarm: Alarm, stamp: Stamp, expected: int) -> RecordWrite:
    """The alarm's next state. `expected`: the version it was read at; 0 for a new one."""
    return RecordWrite("alarm", alarm.id, msgspec.to_builtins(alarm), stamp.version, expected, alarm_keys(alarm))


def health_write(sensor_id: str, health: Health, before: Record | None, stamp: Stamp) -> RecordWrite | None:
    """The health's next state; None when nothing changes. Nothing to remember takes the record away."""
    if before is None and health.empty:
        return None
    expected = before.version if before is not None else 0
    if health.empty:
        return RecordWrite("sensor_health", sensor_id, None, stamp.version, expected)
    keys = (due_key(health.due, stamp.now),) if health.due is not None else ()
    return RecordWrite("sensor_health", sensor_id, msgspec.to_builtins(health), stamp.version, expected, keys)


def alarm_keys(alarm: Alarm) -> tuple[str, ...]:
    """The keys of an alarm's record."""
    states = ("", alarm.state) if alarm.state == "closed" else ("", alarm.state, ACTIVE)
    listed = (list_key(*chosen) for chosen in product(states, ("", alarm.severity), ("", alarm.kind)) if any(chosen))
    keys = [f"sensor:{alarm.virtual_sensor}", f"entity:{alarm.entity}", *listed]
    if alarm.device is not None:
        keys.append(f"device:{alarm.device}")
    if alarm.state != "closed":
        keys += ["open", open_key(alarm.virtual_sensor)]
    return tuple(keys)


def open_key(sensor_id: str) -> str:
    """The key of a virtual sensor's alarms that are not closed."""
    return f"open:{sensor_id}"


def list_key(state: str, severity: str, kind: str) -> str:
    """The key of the alarms with this state, severity and kind; '' for any. Not for none of them."""
    return f"list:{state}:{severity}:{kind}"
