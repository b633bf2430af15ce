"""What is remembered of a reprocessing. Records: 'reprocessing' (who, why, which, how far) and 'reprocessing_part'.

A *part* is what must be done in one order: devices that were the same virtual sensors, and these. A virtual sensor that
remembers (a meter, a running mean) has a state of its own in its part, as of the uplink that was done last; the live one
goes on meanwhile and is replaced at the end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from broker.clock import Micros
from broker.devices.model import Binding
from broker.devices.processing.state import SensorState
from broker.stores.base import Record, RecordWrite

OPEN: Final = "open"
"""The key of reprocessings that wait or run."""
MOST_REASONS: Final = 20
"""Reasons that are told apart, count."""
OTHER_REASONS: Final = "(other reasons)"

State = Literal["waiting", "running", "done", "failed", "cancelled"]
OPEN_STATES: Final[frozenset[State]] = frozenset({"waiting", "running"})


class Selection(Struct, frozen=True, rename={"virtual_sensor": "virtualSensor", "since": "from", "until": "to"}):
    """Which uplinks: those of all that is said at once, observed (by their network) with since <= time < until."""

    since: Micros
    until: Micros
    model: str | None = None
    device: str | None = None
    virtual_sensor: str | None = None


class Counts(Struct, frozen=True, rename="camel"):
    """What became of uplinks that were looked at, count."""

    uplinks: int = 0
    """Selected ones; each is one of the next five."""
    changed: int = 0
    """Some of their values are others."""
    same: int = 0
    accepted: int = 0
    """Rejected when they came, and understood now."""
    rejected: int = 0
    """Applied when they came, and not understood now: their values do not hold any more."""
    unreadable: int = 0
    """Left as they are: their bytes are not kept any more, or their network is not known any more."""
    following: int = 0
    """Not selected, but what they became builds on those that are: later readings of a meter."""
    following_changed: int = 0
    superseded: int = 0
    """Values that do not hold any more."""
    added: int = 0
    """Values that hold instead."""
    reasons: dict[str, int] = {}
    """Why uplinks are rejected or unreadable."""

    def plus(self, other: Counts) -> Counts:
        """Both together."""
        reasons = dict(self.reasons)
        for reason, count in other.reasons.items():
            known = reason if reason in reasons or len(reasons) < MOST_REASONS else OTHER_REASONS
            reasons[known] = reasons.get(known, 0) + count
        numbers = {
            name: getattr(self, name) + getattr(other, name) for name in Counts.__struct_fields__ if name != "reasons"
        }
        return Counts(**numbers, reasons=reasons)


class Reprocessing(Struct, frozen=True, rename="camel", kw_only=True):
    """Who wants what to be decoded again, and how far that is."""

    id: str
    state: State
    selection: Selection
    created_at: Micros
    by: str = ""
    note: str = ""
    notify: bool = False
    """Whether subscribers are told of current values that change."""
    granted: bool = True
    """Whether whoever asked for it may see personal data: without, what is personal is left as it is."""
    started_at: Micros | None = None
    ended_at: Micros | None = None
    reason: str = ""
    """Why it failed, or who cancelled it."""
    counts: Counts = Counts()
    """Once it has ended; until then its parts have them."""

    @property
    def is_open(self) -> bool:
        """Whether it waits or runs."""
        return self.state in OPEN_STATES


class Part(Struct, frozen=True, rename="camel", kw_only=True):
    """How far one part of a reprocessing is."""

    job: str
    bindings: str
    """Of its virtual sensors, to notice that they have changed meanwhile."""
    states: dict[str, SensorState] = {}
    """Of its virtual sensors that remember."""
    last: str = ""
    """The id of the uplink that was done last; '' before the first."""
    counts: Counts = Counts()
    done: bool = False


def as_reprocessing(record: Record) -> Reprocessing:
    """The reprocessing of a record of kind 'reprocessing'."""
    return msgspec.convert(record.body, Reprocessing)


def as_part(record: Record) -> Part:
    """The part of a record of kind 'reprocessing_part'."""
    return msgspec.convert(record.body, Part)


def part_id(job: str, key: str) -> str:
    """The id of a part's record; `key`: the first device that is selected in it."""
    return f"{job}:{key}"


def part_key(job: str) -> str:
    """The key of all parts of a reprocessing."""
    return f"reprocessing:{job}"


def job_write(job: Reprocessing, version: int, expected: int) -> RecordWrite:
    """A reprocessing's record."""
    return RecordWrite("reprocessing", job.id, _body(job), version, expected, (OPEN,) if job.is_open else ())


def part_write(part: Part, record_id: str, version: int, expected: int) -> RecordWrite:
    """A part's record."""
    return RecordWrite("reprocessing_part", record_id, _body(part), version, expected, (part_key(part.job),))


def summed(parts: Iterable[Record]) -> Counts:
    """The counts of parts together."""
    whole = Counts()
    for record in parts:
        whole = whole.plus(as_part(record).counts)
    return whole


def digest(bindings: Iterable[Binding]) -> str:
    """What is another text when any binding that says something is another."""
    said = sorted(f"{one.id} {one.valid_from} {one.valid_to}" for one in bindings if not one.empty)
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]


def _body(struct: Struct) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(struct)
    return made
