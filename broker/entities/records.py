"""Commands on records: put and delete registry things that need no rule beyond 'is it there'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from broker.clock import Stamp
from broker.errors import AlreadyExists, ResourceNotFound
from broker.stores.base import Needs, RecordKind, RecordWrite, Snapshot
from broker.stores.command import Effects, View

WORDS: dict[RecordKind, str] = {
    "device_model": "device model",
    "device": "device",
    "virtual_sensor": "virtual sensor",
    "binding": "binding",
    "subscription": "subscription",
    "context": "@context",
    "tenant": "tenant",
    "identity": "identity",
    "device_key": "device key",
}
"""What people call the kinds."""


@dataclass(frozen=True, slots=True)
class PutRecord:
    """Create or change one record. `when` 'absent' refuses one that is there, 'present' one that is not.

    The result is True when it was created.
    """

    kind: RecordKind
    id: str
    body: dict[str, Any]
    keys: tuple[str, ...] = ()
    when: Literal["any", "absent", "present"] = "any"

    def needs(self, seen: Snapshot) -> Needs:
        """The record as it is."""
        return Needs(records={(self.kind, self.id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[bool]:
        """One record write."""
        present = view.record(self.kind, self.id)
        if present is not None and self.when == "absent":
            raise AlreadyExists(f"The {WORDS[self.kind]} '{self.id}' exists already.")
        if present is None and self.when == "present":
            raise ResourceNotFound(f"There is no {WORDS[self.kind]} '{self.id}'.")
        expected = present.version if present is not None else 0
        write = RecordWrite(self.kind, self.id, self.body, stamp.version, expected, self.keys)
        return Effects(result=present is None, records=[write])


@dataclass(frozen=True, slots=True)
class DeleteRecord:
    """Delete one record; ResourceNotFound when it is not there."""

    kind: RecordKind
    id: str

    def needs(self, seen: Snapshot) -> Needs:
        """The record as it is."""
        return Needs(records={(self.kind, self.id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """One record write."""
        present = view.record(self.kind, self.id)
        if present is None:
            raise ResourceNotFound(f"There is no {WORDS[self.kind]} '{self.id}'.")
        return Effects(result=None, records=[RecordWrite(self.kind, self.id, None, stamp.version, present.version)])
