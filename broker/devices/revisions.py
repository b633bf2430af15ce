"""What registry things were before: every state of a device model and a virtual sensor is kept, so that any value can be
explained by the configuration of its time.
"""

from __future__ import annotations

from typing import Final

from broker.clock import Stamp
from broker.stores.base import RecordKind, RecordWrite

PERSONAL: Final = "personal"
"""The key that revisions of virtual sensors carry that were marked as personal data."""


def revision_key(kind: RecordKind, thing_id: str) -> str:
    """The key that all revisions of a thing carry."""
    return f"{kind}:{thing_id}"


def revision_id(kind: RecordKind, thing_id: str, version: int) -> str:
    """The id of the revision that a thing's record was at a version. Ids of one thing are in order of versions."""
    return f"{kind}:{thing_id}:{version:016x}"


def revision(write: RecordWrite, stamp: Stamp) -> RecordWrite:
    """The record that keeps what `write` makes of a thing."""
    return RecordWrite(
        "revision",
        revision_id(write.kind, write.id, write.version),
        {"of": write.kind, "id": write.id, "version": write.version, "at": stamp.now, "body": write.body},
        stamp.version,
        0,
        (revision_key(write.kind, write.id), *((PERSONAL,) if write.body and write.body.get("personal") else ())),
    )
