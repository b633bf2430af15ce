"""How signals become alarms, and alarms end. Pure.

    good --bad--> pending --for long and often enough, not shelved--> open --acknowledge--> acknowledged
                     |                                                  |                       |
                  not bad                                             good, swap, by hand -> closed
                     v
                   good

What is closed by hand while it is still wrong is dismissed: it does not open again before it was good once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

import msgspec

from broker.clock import Micros
from broker.devices.alarms.model import FOLLOW_DEVICE, Because, Health, Pending, Shelf
from broker.devices.alarms.rules import Signal


@dataclass(slots=True)
class Judged:
    """A virtual sensor's health after a look at it, and what opens and closes."""

    health: Health
    opened: list[tuple[str, Pending]] = field(default_factory=list)
    """(id of the new alarm, what is wrong)"""
    closed: list[tuple[str, Because]] = field(default_factory=list)
    """(id of the alarm, why)"""


def judge(
    health: Health,
    signals: Iterable[Signal],
    *,
    at: Micros,
    now: Micros,
    rules: Collection[str],
    device: str,
    new_id: Callable[[], str],
) -> Judged:
    """What signals of the moment `at` make of a virtual sensor's health; without any, what time alone makes of it.

    `device`: that is the virtual sensor now, '' for none; what another one had ends. `rules`: the keys that may be pending or open (`rules_of`); what else is, ends. Delays are counted to `at`, so that what
    waited at a network while the broker was away is judged in its own time; `now` is for the shelf.
    """
    shelf = health.shelf if health.shelf is not None and health.shelf.until > now else None
    judged = cured(health, device)
    health = judged.health
    pending, open_now, dismissed = dict(health.pending), dict(health.open), set(health.dismissed)
    for key in [key for key in open_now if key not in rules]:
        judged.closed.append((open_now.pop(key), "rule removed"))
    for key in [key for key in pending if key not in rules]:
        del pending[key]
    dismissed &= set(rules)
    for signal in signals:
        key = signal.key
        if signal.level == "good":
            dismissed.discard(key)
            if key in open_now:
                judged.closed.append((open_now.pop(key), "recovered"))
        if signal.level != "bad":
            pending.pop(key, None)
        elif key not in open_now and key not in dismissed and key in rules:
            pending[key] = _pending(pending.get(key), signal, at)
    if shelf is None:
        for key in [key for key, one in pending.items() if one.due is not None and one.due <= at]:
            alarm_id = new_id()
            judged.opened.append((alarm_id, pending.pop(key)))
            open_now[key] = alarm_id
    judged.health = _health(pending, open_now, dismissed, device, shelf, health.look_at)
    return judged


def cured(health: Health, device: str) -> Judged:
    """Without what was wrong with a device that the virtual sensor is not any more."""
    if health.device == device or not health.follows_device:
        return Judged(health)
    return without_device(health, "swap" if device else "unbound")


def _health(
    pending: dict[str, Pending],
    open_now: dict[str, str],
    dismissed: Collection[str],
    device: str,
    shelf: Shelf | None,
    look_at: Micros | None,
) -> Health:
    health = Health(
        pending=pending,
        open=open_now,
        dismissed=tuple(sorted(dismissed)),
        device=device,
        shelf=shelf,
        look_at=look_at,
    )
    return health if health.follows_device else msgspec.structs.replace(health, device="")


def _pending(before: Pending | None, signal: Signal, at: Micros) -> Pending:
    begun = before.since if before is not None else at
    count = before.count + 1 if before is not None else 1
    return Pending(
        kind=signal.kind,
        rule=signal.rule,
        since=signal.since if signal.since is not None else begun,
        count=count,
        due=begun + signal.delay if count >= signal.count else None,
        severity=signal.severity,
        text=signal.text,
        data=signal.data,
    )


def shelved(health: Health, shelf: Shelf) -> Health:
    """Nothing opens until the shelf's end."""
    return msgspec.structs.replace(health, shelf=shelf)


def closed_by_hand(health: Health, alarm_id: str) -> Health:
    """The alarm is not open any more, and does not open again before it was good once."""
    keys = {key for key, open_id in health.open.items() if open_id == alarm_id}
    return msgspec.structs.replace(
        health,
        open={key: open_id for key, open_id in health.open.items() if key not in keys},
        dismissed=tuple(sorted({*health.dismissed, *keys})),
    )


def without_device(health: Health, because: Because) -> Judged:
    """Nothing that is about the device is pending, open or dismissed any more."""
    return Judged(
        _health(
            {key: one for key, one in health.pending.items() if key not in FOLLOW_DEVICE},
            {key: alarm_id for key, alarm_id in health.open.items() if key not in FOLLOW_DEVICE},
            [key for key in health.dismissed if key not in FOLLOW_DEVICE],
            "",
            health.shelf,
            health.look_at,
        ),
        closed=[(alarm_id, because) for key, alarm_id in sorted(health.open.items()) if key in FOLLOW_DEVICE],
    )
