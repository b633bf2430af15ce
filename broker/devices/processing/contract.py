"""What a virtual sensor's contract may say about processing: calibration, counters, checks, derived values.

Parts of `Output` and `VirtualSensor` (JSON, camelCase). Plain numbers are in the unit that the output is kept in. The
rules beyond shape are in `broker/devices/processing/rules.py`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Calibration(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A correction of numbers, after the conversion into the output's unit. One of: scale and offset, polynomial, table."""

    name: str = ""
    """Stands in the lineage of values: a certificate's number, say. By default the kind."""
    unit: str | None = None
    """Of what is true, where that is another than of what is measured: MTQ for pulses that are made m³ (UN/CEFACT)."""
    scale: float | None = None
    """value * scale + offset."""
    offset: float | None = None
    polynomial: tuple[float, ...] = ()
    """Coefficients, the constant first: 1, 2, 3 is 1 + 2 x + 3 x²."""
    table: tuple[tuple[float, float], ...] = ()
    """[measured, true] in rising order of measured; between two of them on the straight line."""
    beyond: Literal["end", "extrapolate"] = "end"
    """What is beyond the table's ends: the end's value, or on with the slope of the last two."""


class Counter(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The output is a meter that only counts up; its attribute goes on over swaps, resets and roll-overs."""

    rolls_over_at: float | None = None
    """The value that the register never shows: after 99999.999 comes 0 where this is 100000."""
    resolution: float | None = None
    """Readings are rounded to multiples of it: 0.001 for litres in m³. None: as they are, to the last decimal."""
    resets: Literal["count", "implausible"] = "count"
    """A register that is lower than half of what it was was reset to 0; 'implausible': it is not believed."""


class Checks(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """When a value is not plausible."""

    physical: bool = True
    """What the device sends must be possible for the quantity (schemas/quantities.json)."""
    minimum: float | None = None
    maximum: float | None = None
    max_change_per_hour: float | None = None
    """From the last plausible value, up or down, in proportion to the time between."""
    stuck_after_seconds: float | None = None
    """The same value for longer than this."""
    stuck_after_values: int | None = None
    """The same value more often than this."""
    duplicates: bool = False
    """Each time is observed once: another value of the same time (of the last 64) is a duplicate."""
    clock_ahead_seconds: float | None = None
    """The device's own time may be this much later than when its network received it."""
    clock_behind_seconds: float | None = None
    """… and this much earlier."""


class Container(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A container that a sensor looks into from above. Distances are in the unit of the output that gives them."""

    distance_empty: float
    """From the sensor to the bottom."""
    distance_full: float
    """From the sensor to the content when it is full: that and `distanceEmpty` give the height."""
    shape: Literal["upright", "horizontalCylinder", "table"] = "upright"
    """upright: a box or a standing cylinder. horizontalCylinder: lying, its diameter is the height."""
    table: tuple[tuple[float, float], ...] = ()
    """For shape table: [level, part of the full volume 0..1] in rising order."""
    capacity: float | None = None
    """The full volume, in the unit of the derived value."""


class _Derived(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    attribute: str
    """Expanded name (IRI)."""
    name: str = ""
    """By which other derived values refer to this one."""
    entity: str | None = None
    """Another entity than the virtual sensor's own."""


class Filling(_Derived, frozen=True, tag_field="kind", tag="filling"):
    """How full a container is, from a distance."""

    of: str
    container: Container
    gives: Literal["level", "fraction", "percentage", "volume"] = "percentage"
    """level: above the bottom, in the distance's unit. fraction: 0..1 of the volume."""
    unit: str | None = None
    """Of a volume: MTQ by default."""


class Difference(_Derived, frozen=True, tag_field="kind", tag="difference"):
    """What was consumed: differences of a cumulative value."""

    of: str
    per: Literal["observation", "hour", "day"] = "observation"
    """observation: since the last. hour, day: when one is over, what was consumed in it; observedAt is its end."""
    time_zone: str = "UTC"
    """In which days begin and end: Europe/Stockholm."""


class DewPoint(_Derived, frozen=True, tag_field="kind", tag="dewPoint"):
    """The dew point (Magnus)."""

    temperature: str = "temperature"
    humidity: str = "humidity"
    max_age_seconds: float = 3600
    """What the other of the two may be older."""


class Mean(_Derived, frozen=True, tag_field="kind", tag="mean"):
    """The mean of the values of the last while."""

    of: str
    window_seconds: float


class Duration(_Derived, frozen=True, tag_field="kind", tag="duration"):
    """For how long a boolean has been true, seconds; the first false says how long it was, the next ones 0."""

    of: str


class Formula(_Derived, frozen=True, tag_field="kind", tag="formula"):
    """A small expression over values of the same virtual sensor, by their names."""

    expression: str
    unit: str = ""
    max_age_seconds: float = 3600
    """What other values that it uses may be older than the one that came."""


Derived = Filling | Difference | DewPoint | Mean | Duration | Formula
