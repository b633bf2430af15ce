"""The registry's words as types. They are the bodies of the records of the same kinds (JSON, camelCase).

What finds their records is in `broker.devices.keys`. A revision carries `<kind>:<id>`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from broker.clock import Micros
from broker.codecs.downlink import CommandTemplate
from broker.devices.battery import Battery
from broker.devices.processing.contract import Calibration, Checks, Counter, Derived


class Quantity(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One quantity that a device model sends."""

    quantity: str
    """Its name in `schemas/quantities.json`."""
    unit: str = ""
    """UN/CEFACT common code of what the codec gives."""
    channel: str = ""
    source: str = ""
    """Where it is in an object or a list of named values: a dotted path ('em.temp'), or a SenML name. '' when a codec
    names it itself."""


class DeviceModel(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """What a make of device sends."""

    id: str
    vendor: str
    name: str
    codec: str
    """A name known to `broker.codecs.registry`: elsys, milesight, axioma-w1, cayenne-lpp, …; 'object' takes what the
    network decoded, 'senml' takes named values, 'javascript' is `script`; all three by `quantities[].source`."""
    script: str = ""
    """The source of codec 'javascript', as the vendor publishes it (docs/codecs.md)."""
    network: Literal["lorawan", "nb-iot"] = "lorawan"
    f_ports: tuple[int, ...] = ()
    """The fPorts that carry measurements; empty: any but 0."""
    expected_interval_seconds: int | None = None
    quantities: tuple[Quantity, ...] = ()
    battery: Battery | None = None
    """What is left of it at which voltage; None: unknown, or the device says percent."""
    commands: dict[str, CommandTemplate] = {}
    """What it can be told, by name."""
    managed_by: str = ""
    """The owner mark of `knutpunkt apply --owner`: whose files keep it; '' when nobody's do."""


class Device(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A physical thing."""

    id: str
    """DevEUI in lower-case hex, IMEI, or another hardware id."""
    model: str
    name: str = ""
    note: str = ""
    managed_by: str = ""
    """As of a device model."""


class DeviceState(Struct, frozen=True, rename="camel", kw_only=True):
    """What was last heard of a device; written with every uplink."""

    last_seen: Micros | None = None
    last_uplink: str | None = None
    uplinks: int = 0
    f_cnt: int | None = None
    rssi: float | None = None
    snr: float | None = None
    gateway: str | None = None
    gateway_location: tuple[float, float] | None = None
    """Longitude, latitude of the gateway that heard best."""
    margin: int | None = None
    """Signal-to-noise ratio of the last request for its status, as the device heard it, dB above what it needs."""
    battery_percent: float | None = None
    battery_volts: float | None = None
    battery_derived: bool = False
    """The percent are made of the volts by the model's curve: the device does not say them."""
    joined_at: Micros | None = None
    location: tuple[float, float] | None = None
    """Longitude, latitude."""
    last_problem: str | None = None
    frames: int = 0
    """Which of the last frames came, a bit each, the newest the lowest (`broker.devices.alarms.frames`)."""
    frames_known: int = 0
    """How many of those bits mean something, count."""
    frame: str | None = None
    """What tells the last uplink's frame apart whichever network brings it (`broker.devices.state.frame_of`)."""
    source: str | None = None
    """Adapter and network of the last uplink, e.g. 'mqtt:chirpstack', 'coap': where a command to it is sent."""
    broker: str | None = None
    """Name of the MQTT broker that brought it."""
    topic: str | None = None
    """The topic it came on; the network's address of the device is in it."""


class Output(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One line of a virtual sensor's contract: this quantity becomes that attribute."""

    quantity: str
    attribute: str
    """Expanded name (IRI)."""
    channel: str = ""
    unit: str | None = None
    """The unit the attribute is kept in; None: as the table of quantities has it. Converted where the device's differs."""
    entity: str | None = None
    """Another entity than the virtual sensor's own."""
    name: str = ""
    """By which derived values refer to it; '': the quantity."""
    calibration: Calibration | None = None
    counter: Counter | None = None
    values: dict[str, str | int | float | bool] = {}
    """What the attribute says for a value of the quantity: {"true": "occupied"}. Keys are texts, 'true', 'false', or numbers
    as JSON has them; a value that is none of them stays what it is. Checks and derived values see the quantity's own."""
    checks: Checks | None = None
    """None: only what is physically possible."""
    implausible: Literal["history", "current"] = "history"
    """Whether a value that fails a check may become the entity's current one; marked it is in both."""


Severity = Literal["informational", "low", "medium", "high", "critical"]
"""As the Smart Data Models' Alert has it."""
AlarmKind = Literal["silence", "battery", "radio", "frameLoss", "implausible", "threshold"]


class Threshold(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A limit on one value of a virtual sensor: beyond it for so long is an alarm, back behind the hysteresis ends it."""

    id: str
    """Unique within the virtual sensor."""
    quantity: str | None = None
    """What is watched: the output of this quantity, or with `attribute` that attribute. In the attribute's unit."""
    attribute: str | None = None
    """Expanded name (IRI)."""
    above: float | None = None
    below: float | None = None
    hysteresis: float = 0.0
    """How far back behind the limit the value must be for the alarm to end, in the attribute's unit."""
    delay_seconds: int = 0
    """How long the value must be beyond the limit."""
    severity: Severity = "medium"
    text: str = ""
    """For people; '' makes one of the value and the limit."""


class Watch(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """When a virtual sensor's device is unwell; None: as `broker.devices.alarms.rules` has it."""

    battery_percent: float | None = None
    """Low at or below."""
    battery_volts: float | None = None
    """Low at or below. There is no default: cells differ."""
    rssi: float | None = None
    """Weak below, dBm."""
    snr: float | None = None
    """Weak below, dB."""
    lost_share: float | None = None
    """Too many frames lost from this share on, 0 to 1."""
    implausible_in_a_row: int | None = None
    """Uplinks with implausible values, one after the other, count."""
    off: tuple[AlarmKind, ...] = ()
    """Kinds of alarm that are not wanted."""
    severity: dict[AlarmKind, Severity] = {}
    """Of kinds of alarm, where it shall not be the default."""


class Personal(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """That a virtual sensor's values are personal data (home care): how long they are kept, and what for."""

    retention_days: int
    """Days from the observation, at least 1; then history and raw uplinks go for good."""
    purpose: str
    """What for they are collected, for people (GDPR, article 5.1 b)."""


class VirtualSensor(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The lasting identity that the city knows."""

    id: str
    name: str
    entity: str
    """URN of the entity it writes."""
    entity_type: str
    """Expanded name (IRI), used when the entity is not there yet."""
    outputs: tuple[Output, ...]
    derived: tuple[Derived, ...] = ()
    """What is made of the outputs; each may use those before it."""
    place: str | None = None
    """URN of the place that its entity is tied to, or of the entity itself; None: not said here."""
    note: str = ""
    expected_interval_seconds: int | None = None
    """How often a value is expected; None: as the device's model has it."""
    silent_after_seconds: int | None = None
    """Silent when nothing was heard for so long; None: after three intervals, at least 15 minutes; 0: never."""
    watch: Watch = Watch()
    thresholds: tuple[Threshold, ...] = ()
    managed_by: str = ""
    """As of a device model."""
    personal: Personal | None = None
    """None: what it observes is no personal data. Once it is, it stays so."""

    @property
    def entities(self) -> set[str]:
        """The entities it writes."""
        others = [*self.outputs, *self.derived]
        return {self.entity, *(other.entity for other in others if other.entity)}

    @property
    def written(self) -> set[tuple[str, str]]:
        """What it writes: entity, attribute (IRI)."""
        return {(one.entity or self.entity, one.attribute) for one in (*self.outputs, *self.derived)}


class Binding(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """This device was this virtual sensor in [from, to). Never overwritten, only closed."""

    id: str
    device: str
    virtual_sensor: str
    channel: str = ""
    """The device's channel that is the virtual sensor; '' when the whole device is."""
    valid_from: Micros
    valid_to: Micros | None = None
    start_readings: dict[str, float] = {}
    """What the meter showed when it was put up, by quantity or attribute (IRI), in the virtual sensor's units."""
    end_readings: dict[str, float] = {}
    """What it showed when it was taken down."""

    def covers(self, at: Micros) -> bool:
        """Whether the binding holds at `at`."""
        return self.valid_from <= at and (self.valid_to is None or at < self.valid_to)

    @property
    def empty(self) -> bool:
        """Whether it never holds: the swap that opened it was undone."""
        return self.valid_to is not None and self.valid_to <= self.valid_from


class SwapRecord(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Who put which device where, when and why: one for each swap and each unbinding, kept for ever."""

    id: str
    kind: Literal["swap", "unbind"]
    virtual_sensor: str
    at: Micros
    """From when on it holds."""
    recorded_at: Micros
    """When it was said."""
    by: str = ""
    why: str = ""
    device: str | None = None
    """That is the virtual sensor from then on; None: none is."""
    replaced: str | None = None
    """That was it before."""
    opened: str | None = None
    """The binding that begins."""
    closed: str | None = None
    """The binding that ends."""
    planned: bool = False
    """It lies in the future still."""
    undone_at: Micros | None = None
    undone_by: str = ""
    undone_why: str = ""
