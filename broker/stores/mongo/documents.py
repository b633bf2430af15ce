"""Rows and entities as MongoDB documents, and back.

What users wrote stays JSON text, for BSON would change it (dots, dollars, number kinds); beside it stand the fields that
are looked up by. Raw bytes stay bytes. MongoDB's 64-bit numbers come as a type of their own: they are made plain here.
"""

from __future__ import annotations

from typing import Any

from broker.jsonio import dumps, loads
from broker.ngsild.model import Entity
from broker.query.mongo_fields import ALL, index_fields
from broker.stores.base import (
    FeedRow,
    HistoryRow,
    OutboxRow,
    Record,
    RecordKind,
    RecordWrite,
    StoredEntity,
    Superseded,
    UplinkRow,
)

Document = dict[str, Any]


def entity_document(entity: Entity, version: int, fields: tuple[str, ...] = ALL) -> Document:
    """The document of an entity, without its id and its `created`, and with these of the indexed fields."""
    return {"version": version, **index_fields(entity, fields), "doc": _text(entity)}


def entity_from(document: Document) -> StoredEntity:
    """The entity of a document with `doc` and `version`."""
    return StoredEntity(loads(document["doc"]), int(document["version"]))


def history_document(row: HistoryRow) -> Document:
    """The document of a history row; MongoDB gives it its _id."""
    document: Document = {
        "entity": row.entity_id,
        "attribute": row.attribute,
        "dataset": row.dataset_id,
        "observed": row.observed_at,
        "recorded": row.recorded_at,
        "version": row.version,
        "doc": None if row.instance is None else _text(row.instance),
    }
    origin = {
        "uplink": row.uplink_id,
        "device": row.device_id,
        "binding": row.binding_id,
        "lineage": None if row.lineage is None else _text(row.lineage),
    }
    return document | {name: value for name, value in origin.items() if value is not None}


def history_from(document: Document) -> HistoryRow:
    """The history row of a document."""
    return HistoryRow(
        entity_id=document["entity"],
        attribute=document["attribute"],
        dataset_id=document["dataset"],
        observed_at=int(document["observed"]),
        recorded_at=int(document["recorded"]),
        version=int(document["version"]),
        instance=None if document["doc"] is None else loads(document["doc"]),
        uplink_id=document.get("uplink"),
        device_id=document.get("device"),
        binding_id=document.get("binding"),
        lineage=loads(document["lineage"]) if "lineage" in document else None,
        superseded=int(document["superseded"]) if "superseded" in document else None,
        superseded_by=document.get("supersededBy"),
    )


def superseded_fields(mark: Superseded) -> Document:
    """What is noted in rows that do not hold any more."""
    return {"superseded": mark.version} | ({"supersededBy": mark.by} if mark.by is not None else {})


def superseded_filter(mark: Superseded) -> Document:
    """The rows that do not hold any more."""
    where: Document = {"entity": mark.entity_id, "superseded": None, "version": {"$lt": mark.version}}
    if mark.binding_id is not None:
        where["binding"] = mark.binding_id
    if mark.uplink_id is not None:
        where["uplink"] = mark.uplink_id
    if mark.attribute is not None:
        where["attribute"] = mark.attribute
    period = {operator: at for operator, at in (("$gte", mark.since), ("$lt", mark.until)) if at is not None}
    return where | {"observed": period} if period else where


def outbox_document(row: OutboxRow) -> Document:
    """The document of a notification that is owed."""
    return {
        "_id": row.id,
        "subscription": row.subscription_id,
        "entity": row.entity_id,
        "at": row.created_at,
        "body": row.body,
    }


def outbox_from(document: Document) -> OutboxRow:
    """The outbox row of a document (a dead letter's, too)."""
    return OutboxRow(
        document["_id"], document["subscription"], document["entity"], int(document["at"]), bytes(document["body"])
    )


def feed_document(row: FeedRow) -> Document:
    """The document of a change in the feed; MongoDB gives it its _id."""
    return {"version": row.version, "entity": row.entity_id, "at": row.at, "body": row.body}


def feed_from(document: Document) -> FeedRow:
    """The feed's row of a document."""
    return FeedRow(int(document["version"]), document["entity"], int(document["at"]), bytes(document["body"]))


def record_id(kind: RecordKind, record_id: str) -> str:
    """The _id of a record: kinds have no ':' in them, so ids of a kind are one range, in id order."""
    return f"{kind}:{record_id}"


def record_document(write: RecordWrite) -> Document:
    """The document of a record that is written."""
    return {
        "_id": record_id(write.kind, write.id),
        "kind": write.kind,
        "version": write.version,
        "keys": list(write.keys),
        "doc": _text(write.body),
    }


def record_from(document: Document) -> Record:
    """The record of a document."""
    return Record(
        kind=document["kind"],
        id=document["_id"].partition(":")[2],
        body=loads(document["doc"]),
        version=int(document["version"]),
        keys=tuple(document["keys"]),
    )


def uplink_document(row: UplinkRow) -> Document:
    """The document of a raw uplink. Without a frame key it has no `frame`, so that the unique index passes it over."""
    document: Document = {
        "_id": row.id,
        "status": row.status,
        "reason": row.reason,
        "source": row.source,
        "received": row.received_at,
        "device": row.device_id,
        "raw": row.raw,
        "doc": _text(row.meta),
    }
    return document if row.frame_key is None else document | {"frame": row.frame_key}


def uplink_from(document: Document) -> UplinkRow:
    """The raw uplink of a document."""
    return UplinkRow(
        id=document["_id"],
        status=document["status"],
        reason=document["reason"],
        source=document["source"],
        received_at=int(document["received"]),
        device_id=document["device"],
        frame_key=document.get("frame"),
        raw=bytes(document["raw"]),
        meta=loads(document["doc"]),
    )


def _text(value: Any) -> str:
    return dumps(value).decode()
