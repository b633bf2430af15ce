"""Devices' keys: what proves over CoAP which device speaks. Commands to add and revoke them, and what OSCORE remembers.

A device may have several at once: a new one is added, the old ones end after a while, so that the device can be told in
between. A revoked key's secret is gone from the store at once; that it was there stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import msgspec
from msgspec import Struct

from broker.clock import SECOND, Micros, Stamp
from broker.errors import AlreadyExists, Conflict, ResourceNotFound
from broker.stores.base import Needs, Record, RecordWrite, Snapshot
from broker.stores.command import Effects, View

Scheme = Literal["oscore", "dtls-psk"]
IN_FORCE: Final = 8
"""Keys of one device that hold at once, count."""
KEPT: Final = 50
"""Keys of one device that are remembered, ended ones included, count."""
FLOOR_EPOCH: Final[Micros] = 1_735_689_600 * SECOND
"""2025-01-01T00:00:00Z; see `TakeOscore`."""
FLOOR_PER_SECOND: Final = 64
"""Sequence numbers that the floor rises a second: 2^40 of them last 544 years."""


class DeviceKey(Struct, frozen=True, kw_only=True, rename="camel"):
    """The body of a record of kind 'device_key'."""

    device: str
    scheme: Scheme
    identity: str
    """The PSK identity; of OSCORE the device's Sender ID (our Recipient ID) in hexadecimal."""
    sealed: str
    """The pre-shared key or the Master Secret, see `broker.devices.sealing`; '' once it is revoked."""
    context: str | None = None
    """OSCORE's ID Context in hexadecimal; None: none."""
    ours: str = ""
    """Our Sender ID in hexadecimal (OSCORE)."""
    salt: str = ""
    """OSCORE's Master Salt in hexadecimal."""
    created_at: Micros
    ends_at: Micros | None = None
    """It holds until then; None: until it is revoked."""
    revoked_at: Micros | None = None
    by: str = ""
    note: str = ""

    def holds(self, at: Micros) -> bool:
        """Whether a device may prove itself by it."""
        return self.revoked_at is None and (self.ends_at is None or at < self.ends_at)

    @property
    def credential(self) -> str:
        """What a message names it by: unique among all keys."""
        return f"{self.scheme}:{self.identity}:{self.context if self.context is not None else '-'}"


def as_key(record: Record) -> DeviceKey:
    """The key of a record of kind 'device_key'."""
    return msgspec.convert(record.body, DeviceKey)


def about(key_id: str, device: str) -> str:
    """What a sealed secret belongs to."""
    return f"{key_id}/{device}"


def _write(key_id: str, key: DeviceKey, stamp: Stamp, expected: int) -> RecordWrite:
    keys = (f"device:{key.device}", f"credential:{key.credential}")
    return RecordWrite("device_key", key_id, msgspec.to_builtins(key), stamp.version, expected, keys)


@dataclass(frozen=True, slots=True)
class AddKey:
    """Give a device a key. `others_end`: its other keys of the scheme end so many seconds from now; None leaves them."""

    id: str
    key: DeviceKey
    others_end: int | None = None
    fresh: bool = False
    """An OSCORE key that nobody has used yet: its replay window is known to be empty."""

    def needs(self, seen: Snapshot) -> Needs:
        """The device's keys, and whether the credential is another's."""
        return Needs(
            # The device, which need not be there, so that keys of a personal one are personal.
            records={("device_key", self.id), ("device", self.key.device)},
            found={
                ("device_key", f"device:{self.key.device}"),
                ("device_key", f"credential:{self.key.credential}"),
            },
        )

    def apply(self, view: View, stamp: Stamp) -> Effects[DeviceKey]:
        """The key, and the others with their end."""
        if view.found("device_key", f"credential:{self.key.credential}"):
            raise AlreadyExists(
                f"There is a key with the {'identity' if self.key.scheme == 'dtls-psk' else 'senderId and idContext'} "
                f"'{self.key.identity[:80]}' already; one that was used is never used again."
            )
        others = view.found("device_key", f"device:{self.key.device}")
        holding = [one for one in others if as_key(one).holds(stamp.now)]
        if len(holding) >= IN_FORCE:
            raise Conflict(f"The device '{self.key.device}' has {IN_FORCE} keys in force; revoke one first.")
        records = [_write(self.id, self.key, stamp, 0)]
        if self.others_end is not None:
            ends = stamp.now + self.others_end * SECOND
            for one in holding:
                other = as_key(one)
                if other.scheme == self.key.scheme and (other.ends_at is None or other.ends_at > ends):
                    ended = msgspec.structs.replace(other, ends_at=ends)
                    records.append(_write(one.id, ended, stamp, one.version))
        ended_ones = sorted((one for one in others if one not in holding), key=lambda one: one.id)
        records += [RecordWrite("device_key", one.id, None, stamp.version, one.version) for one in ended_ones[:-KEPT]]
        if self.fresh:
            records.append(RecordWrite("oscore_state", self.id, msgspec.to_builtins(OscoreState(0, (0, 0))), 1, 0))
        return Effects(self.key, records=records)


@dataclass(frozen=True, slots=True)
class RevokeKey:
    """End a device's key at once, for ever. Its secret is forgotten. Revoking again changes nothing."""

    device: str
    id: str
    by: str = ""

    def needs(self, seen: Snapshot) -> Needs:
        """The key, and whose it is."""
        return Needs(records={("device_key", self.id), ("device", self.device)})

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """The key without its secret."""
        record = view.record("device_key", self.id)
        if record is None or as_key(record).device != self.device:
            raise ResourceNotFound(f"The device '{self.device[:80]}' has no key '{self.id[:80]}'.")
        key = as_key(record)
        if key.revoked_at is not None:
            return Effects(None)
        note = f"{key.note} Revoked by {self.by}.".strip() if self.by else key.note
        revoked = msgspec.structs.replace(key, sealed="", revoked_at=stamp.now, note=note)
        writes = [_write(self.id, revoked, stamp, record.version)]
        return Effects(None, records=[*writes, RecordWrite("oscore_state", self.id, None, stamp.version)])


class OscoreState(Struct, frozen=True):
    """The body of a record of kind 'oscore_state', under its key's id: what must not be forgotten of a context."""

    sequence: int = 0
    """Sender Sequence Numbers below were, or may have been, used."""
    window: tuple[int, int] | None = None
    """The replay window (its lowest number, and the bits of those seen) as an orderly stop left it; None: not known."""


@dataclass(frozen=True, slots=True)
class TakeOscore:
    """Take the next `count` Sender Sequence Numbers of a key. Result: the first of them, and the replay window.

    The window is given once, to whoever `begins`: what is seen from now on is not in it. No number is given twice, to
    another process neither. A floor that rises with the time keeps that true for a store that was restored from a backup.
    """

    id: str
    count: int
    begins: bool

    def needs(self, seen: Snapshot) -> Needs:
        """What is remembered of it."""
        return Needs(records={("device_key", self.id), ("oscore_state", self.id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[OscoreState]:
        """The state beyond the numbers taken."""
        key = view.record("device_key", self.id)
        if key is None or not as_key(key).holds(stamp.now):
            raise ResourceNotFound("The key is not in force any more.")
        record = view.record("oscore_state", self.id)
        before = msgspec.convert(record.body, OscoreState) if record is not None else OscoreState()
        first = max(before.sequence, (stamp.now - FLOOR_EPOCH) * FLOOR_PER_SECOND // SECOND)
        after = OscoreState(first + self.count, None if self.begins else before.window)
        version, expected = (record.version + 1, record.version) if record is not None else (1, 0)
        write = RecordWrite("oscore_state", self.id, msgspec.to_builtins(after), version, expected)
        return Effects(OscoreState(first, before.window if self.begins else None), records=[write])


@dataclass(frozen=True, slots=True)
class RestOscore:
    """Keep the replay windows of contexts that are not used any more: an orderly stop."""

    windows: dict[str, tuple[int, int]]
    """By key id."""

    def needs(self, seen: Snapshot) -> Needs:
        """What is remembered of each."""
        return Needs(records={("oscore_state", one) for one in self.windows})

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """The states with their windows. One whose key was revoked is gone and stays so."""
        records = []
        for one, window in self.windows.items():
            record = view.record("oscore_state", one)
            if record is not None:
                state = msgspec.structs.replace(msgspec.convert(record.body, OscoreState), window=window)
                body = msgspec.to_builtins(state)
                records.append(RecordWrite("oscore_state", one, body, record.version + 1, record.version))
        return Effects(None, records=records)
