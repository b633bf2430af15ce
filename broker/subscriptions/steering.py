"""An operator's hand on the delivery of a subscription: pause, resume, and word that its outbox was changed.

Kept as a record of kind 'steering'. Every process looks at it within a second: its epoch tells of a change.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from broker.clock import Micros, Stamp
from broker.errors import ResourceNotFound
from broker.stores.base import Needs, Record, RecordKind, RecordWrite, Snapshot
from broker.stores.command import Effects, View


@dataclass(frozen=True, slots=True)
class Steering:
    """Times are microseconds since the epoch, 0 where it has not happened."""

    paused_at: Micros = 0
    """Since when the operator's pause holds."""
    by: str = ""
    reason: str = ""
    fresh_at: Micros = 0
    """What is owed since before counts as owed since then: it waited for a pause, or comes from the dead letters."""

    @property
    def paused(self) -> bool:
        """Whether nothing may be sent."""
        return self.paused_at != 0


_KINDS: Final[tuple[RecordKind, ...]] = ("subscription", "steering", "replay")
_NAMES = frozenset(each.name for each in fields(Steering))


def read_steering(record: Record | None) -> Steering:
    """What a record says; nothing where there is none."""
    body: dict[str, Any] = record.body if record is not None else {}
    return Steering(**{name: value for name, value in body.items() if name in _NAMES})


@dataclass(frozen=True, slots=True)
class _Steer:
    """A command on a subscription's steering. Raises ResourceNotFound where there is no such subscription."""

    subscription_id: str

    def needs(self, seen: Snapshot) -> Needs:
        """The subscription and its steering."""
        return Needs(records={("subscription", self.subscription_id), ("steering", self.subscription_id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[Steering]:
        """The next steering. It is written even where nothing changes: whoever delivers looks again."""
        if view.record("subscription", self.subscription_id) is None:
            raise ResourceNotFound(f"There is no subscription '{self.subscription_id}'.")
        present = view.record("steering", self.subscription_id)
        steering = self.next(read_steering(present), stamp.now)
        expected = present.version if present is not None else 0
        write = RecordWrite("steering", self.subscription_id, asdict(steering), stamp.version, expected)
        return Effects(steering, records=[write])

    def next(self, steering: Steering, now: Micros) -> Steering:
        """What becomes of it."""
        return steering


@dataclass(frozen=True, slots=True)
class PauseDelivery(_Steer):
    """Nothing more is sent; the outbox gathers, and nothing in it is given up. A second pause says who and why anew."""

    by: str = ""
    reason: str = ""

    def next(self, steering: Steering, now: Micros) -> Steering:
        """Paused, since the first pause."""
        return replace(steering, paused_at=steering.paused_at or now, by=self.by, reason=self.reason)


@dataclass(frozen=True, slots=True)
class ResumeDelivery(_Steer):
    """It goes on. What waited is tried for as long as what is new."""

    def next(self, steering: Steering, now: Micros) -> Steering:
        """Not paused."""
        return Steering(fresh_at=now) if steering.paused else steering


@dataclass(frozen=True, slots=True)
class OutboxChanged(_Steer):
    """Rows were taken out of the outbox, or put back: whoever delivers must read it again."""

    revived: bool = field(default=False)
    """Rows came back that were given up: they are tried for as long as what is new."""

    def next(self, steering: Steering, now: Micros) -> Steering:
        """The same, said again."""
        return replace(steering, fresh_at=now) if self.revived else steering


@dataclass(frozen=True, slots=True)
class DeleteSubscription:
    """5.8.5 Delete Subscription, and what is known of its delivery beside. Raises ResourceNotFound."""

    subscription_id: str

    def needs(self, seen: Snapshot) -> Needs:
        """Both records, and a replay that may run."""
        return Needs(records={(kind, self.subscription_id) for kind in _KINDS})

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """All of them go."""
        if view.record("subscription", self.subscription_id) is None:
            raise ResourceNotFound(f"There is no subscription '{self.subscription_id}'.")
        present = [record for kind in _KINDS if (record := view.record(kind, self.subscription_id)) is not None]
        writes = [RecordWrite(each.kind, each.id, None, stamp.version, each.version) for each in present]
        return Effects(None, records=writes)
