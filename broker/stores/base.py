"""What a store is: the protocol both stores implement, and the change set they commit whole or not at all.

Every write goes through `TenantStore.commit(ChangeSet)`. Registry things (devices, virtual sensors, subscriptions, …)
are `Record`s: JSON documents of a kind, with a version and index keys. A store keeps one counter a kind, its *epoch*,
which every commit that writes records of that kind moves on by one: caches compare epochs to know that they are in step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import Struct

from broker.clock import Micros
from broker.ngsild.model import IMPLAUSIBLE, Entity, Instance, Iri
from broker.query.ast import EntityQuery

RecordKind = Literal[
    "device_model",
    "device",
    "device_state",
    "virtual_sensor",
    "binding",
    "subscription",
    "delivery_state",
    "context",
    "context_use",
    "tenant",
    "identity",
    "swap",
    "reattribution",
    "revision",
    "sensor_state",
    "alarm",
    "sensor_health",
    "device_command",
    "place",
    "evolution",
    "reprocessing",
    "reprocessing_part",
    "steering",
    "replay",
    "stream_use",
    "device_key",
    "oscore_state",
    "tick",
]
UNCOUNTED_KINDS: frozenset[RecordKind] = frozenset(
    {
        "device_state",
        "delivery_state",
        "context_use",
        "swap",
        "reattribution",
        "revision",
        "sensor_state",
        "alarm",
        "sensor_health",
        "device_command",
        "evolution",
        "reprocessing",
        "reprocessing_part",
        "replay",
        "oscore_state",
        "tick",
    }
)
"""Kinds without an epoch: written with every uplink or delivery, or just to count; never cached by epoch."""

BYTES_DROPPED: Final = "bytesDropped"
"""In a kept uplink's meta: its bytes are not kept any more. The whole message is still known by its frame key."""

FOLLOWED_KINDS: frozenset[RecordKind] = frozenset({"subscription"})
"""Kinds of which `TenantStore.moved` tells what changed: memory holds all of them."""
MOVES_KEPT: Final = 10_000
"""Commits of a followed kind whose ids are kept, count."""

UplinkStatus = Literal["applied", "quarantined", "rejected", "discarded"]

MOST_SORTED: Final = 100_000
"""Entities that are sorted in memory at most, count: only their sort keys are kept there, some 20 MB."""


class PositionGone(Exception):
    """The feed cannot be read on from a position: what came behind it is not kept any more."""


ENTITY_DELETED: Final = "entityDeleted"
"""In the lineage of a deleted attribute's history row: the entity went with it, and had these types."""
HISTORY_ONLY: Final = "historyOnly"
"""In the lineage of a history row that was added to the history alone: the entity did not change by it (5.6.11)."""


class Conflict(Exception):
    """Another process changed what a change set expected; nothing was written. Load again, apply again, commit again."""


class StoreTooNew(Exception):
    """The store was written by a newer version; the text says which."""


# --- what is read -----------------------------------------------------------------------------------------------------


class StoredEntity(Struct, frozen=True):
    """An entity as kept, with the version of its last change."""

    entity: Entity
    version: int


class Record(Struct, frozen=True):
    """A JSON document of a kind. `keys` find it by other things than its id, e.g. a binding by 'device:a81758…'."""

    kind: RecordKind
    id: str
    body: dict[str, Any]
    version: int
    keys: tuple[str, ...] = ()


class Latest(Struct, frozen=True):
    """Asks for the newest history row of an attribute's default instance that would be left, if those that a binding
    brought since a time did not hold. Values that failed a check are passed over.
    """

    entity_id: str
    attribute: Iri
    binding_id: str
    since: Micros


@dataclass(slots=True)
class Needs:
    """What commands want to see before they are applied; one read fetches it all."""

    entities: set[str] = field(default_factory=set)
    records: set[tuple[RecordKind, str]] = field(default_factory=set)
    found: set[tuple[RecordKind, str]] = field(default_factory=set)
    """(kind, key): all records of a kind that carry a key."""
    frames: set[str] = field(default_factory=set)
    """Frame keys of uplinks, to learn which were applied before."""
    latest: set[Latest] = field(default_factory=set)
    brought: set[str] = field(default_factory=set)
    """Ids of uplinks, to see the history rows that they brought and that hold."""

    def add(self, other: Needs) -> None:
        """Take over what `other` needs."""
        self.entities |= other.entities
        self.records |= other.records
        self.found |= other.found
        self.frames |= other.frames
        self.latest |= other.latest
        self.brought |= other.brought

    def minus(self, other: Needs) -> Needs:
        """What is needed here and not there."""
        return Needs(
            self.entities - other.entities,
            self.records - other.records,
            self.found - other.found,
            self.frames - other.frames,
            self.latest - other.latest,
            self.brought - other.brought,
        )

    def __bool__(self) -> bool:
        return bool(self.entities or self.records or self.found or self.frames or self.latest or self.brought)


@dataclass(slots=True)
class Snapshot:
    """What was found of the needs. What is absent was not there."""

    entities: dict[str, StoredEntity] = field(default_factory=dict)
    records: dict[tuple[RecordKind, str], Record] = field(default_factory=dict)
    found: dict[tuple[RecordKind, str], tuple[Record, ...]] = field(default_factory=dict)
    frames: set[str] = field(default_factory=set)
    """Those of the frame keys asked for that were applied before."""
    latest: dict[Latest, HistoryRow] = field(default_factory=dict)
    brought: dict[str, tuple[HistoryRow, ...]] = field(default_factory=dict)
    """Uplink id -> its rows that hold, in no order."""
    epochs: dict[RecordKind, int] = field(default_factory=dict)
    """All epochs, as of this read. A kind never written has none (count it as 0)."""

    def entity(self, entity_id: str) -> Entity | None:
        """An entity that was found, or None."""
        stored = self.entities.get(entity_id)
        return stored.entity if stored is not None else None

    def add(self, other: Snapshot) -> None:
        """Take over what `other` found (a later read of the same group)."""
        self.entities |= other.entities
        self.records |= other.records
        self.found |= other.found
        self.frames |= other.frames
        self.latest |= other.latest
        self.brought |= other.brought
        self.epochs = other.epochs


# --- what is written --------------------------------------------------------------------------------------------------


class EntityWrite(Struct, frozen=True):
    """The next state of one entity. `entity` None deletes it. `expected` is the version it was read at, 0 if absent."""

    id: str
    entity: Entity | None
    version: int
    expected: int
    touched: frozenset[Iri] | None = None
    """The attributes whose index entries may differ from before; None: all (types and scope may differ too)."""


class HistoryRow(Struct, frozen=True):
    """One attribute instance as it was observed or written; append-only.

    `instance` None says that the attribute was deleted. `observed_at` falls back to `recorded_at` where the instance
    has no observedAt.
    """

    entity_id: str
    attribute: Iri
    dataset_id: str
    """'' for the default instance."""
    observed_at: Micros
    recorded_at: Micros
    version: int
    """Of the change: orders rows. One change may bring several rows of one attribute (a device's log), so nothing but
    all members together names a row."""
    instance: Instance | None
    uplink_id: str | None = None
    device_id: str | None = None
    binding_id: str | None = None
    lineage: dict[str, Any] | None = None
    """How a device's value was made, JSON: the device model and virtual sensor with their versions, the raw value, …"""
    superseded: int | None = None
    """The version of the change since which the row does not hold any more. Not written with the row."""
    superseded_by: str | None = None
    """The reprocessing that said so, if it was one. Not written with the row."""


def plausible(row: HistoryRow) -> bool:
    """Whether the row's value failed no check of plausibility."""
    return row.instance is None or IMPLAUSIBLE not in row.instance.get("attrs", {})


class Superseded(Struct, frozen=True):
    """History rows of an entity that do not hold any more: kept, and passed over by readers.

    Those of a binding or of an uplink, or of both, with since <= observed_at < until, written before `version`, which is
    that of the change that says so.
    """

    entity_id: str
    version: int
    binding_id: str | None = None
    uplink_id: str | None = None
    since: Micros | None = None
    until: Micros | None = None
    attribute: Iri | None = None
    """Only rows of this one; None: of all."""
    by: str | None = None
    """Id of the reprocessing that says so."""


class OutboxRow(Struct, frozen=True):
    """A notification that is owed. `id` sorts in the order of the changes: `f"{version:016x}-…"`."""

    id: str
    subscription_id: str
    entity_id: str
    created_at: Micros
    body: bytes
    """JSON that `broker.subscriptions` made and reads."""


class Told(Struct, frozen=True):
    """A notification that was delivered."""

    subscription_id: str
    owed_at: Micros
    delivered_at: Micros


class Backlog(Struct, frozen=True):
    """What a subscription is owed, and what was given up on."""

    owed: int = 0
    """Rows in the outbox, count."""
    oldest: Micros | None = None
    """When the first of them was made."""
    dead: int = 0
    """Dead letters, count."""


class FeedRow(Struct, frozen=True):
    """One change of one entity, for those who follow all changes; kept for a while."""

    version: int
    entity_id: str
    at: Micros
    body: bytes
    """JSON that `broker.pipeline.feed` made and reads."""


class Tail(Protocol):
    """Reads the feed on from a position, in the order of the commits, those of other processes too."""

    @property
    def position(self) -> str:
        """Behind the last row that was given: where another tail goes on. Text without '.' and line ends."""
        ...

    async def read(self, seconds: float) -> list[tuple[str, FeedRow]]:
        """(position behind it, row) of the next rows; waits so long for the first, then none. Raises PositionGone."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class RecordWrite(Struct, frozen=True):
    """The next state of a record. `body` None deletes it. `expected` None: whatever is there; 0: must be absent."""

    kind: RecordKind
    id: str
    body: dict[str, Any] | None
    version: int
    expected: int | None = None
    keys: tuple[str, ...] = ()


class UplinkRow(Struct, frozen=True):
    """A raw uplink as it came in, and what became of it. The quarantine is the rows whose status says so."""

    id: str
    status: UplinkStatus
    reason: str
    """Why it is not applied, for people; '' when applied."""
    source: str
    """Adapter and name, e.g. 'mqtt:chirpstack', 'http:chirpstack', 'coap'."""
    received_at: Micros
    device_id: str | None
    frame_key: str | None
    """The network's identification of the frame; unique, so that a redelivered frame is known. None: has none."""
    raw: bytes
    """The message exactly as it came in."""
    meta: dict[str, Any] = msgspec.field(default_factory=dict)
    """What the adapter needs to read `raw` again (topic, path, content format) and what is known (fCnt, rssi, …)."""


class UplinkUpdate(Struct, frozen=True):
    """A quarantined uplink's next status (claimed: 'applied', or 'discarded'). Conflict if it is not as expected."""

    id: str
    status: UplinkStatus
    reason: str = ""
    expected: UplinkStatus = "quarantined"


@dataclass(slots=True)
class ChangeSet:
    """All of it or nothing. `epochs`: the kinds whose cached records it relied on, and at which epoch; Conflict if moved."""

    entities: list[EntityWrite] = field(default_factory=list)
    history: list[HistoryRow] = field(default_factory=list)
    superseded: list[Superseded] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    records: list[RecordWrite] = field(default_factory=list)
    uplinks: list[UplinkRow] = field(default_factory=list)
    uplink_updates: list[UplinkUpdate] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    """Ids of outbox rows that are settled and go."""
    delivered_at: Micros | None = None
    """When; it is remembered who was told what for as long as `forget_told` lets it."""
    given_up: list[tuple[str, str]] = field(default_factory=list)
    """(outbox row id, reason): moved to the dead letters, where they can be replayed from."""
    revived: list[str] = field(default_factory=list)
    """Ids of dead letters that go back to the outbox."""
    feed: list[FeedRow] = field(default_factory=list)
    epochs: dict[RecordKind, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(
            self.entities
            or self.history
            or self.superseded
            or self.outbox
            or self.records
            or self.uplinks
            or self.uplink_updates
            or self.delivered
            or self.given_up
            or self.revived
            or self.feed
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Entities in the order asked for, else in that of their first creation (version, then id)."""

    entities: list[Entity]
    total: int | None
    """How many the query selects; None unless it asked for a count."""
    more: bool = False
    """Whether others follow; never said of a page of none."""
    next: str | None = None
    """For `EntityQuery.after`, when others follow: where they begin. None too where the order has no positions (see
    `TenantStore.query`): then `offset` must do."""


class TypeInfo(Struct, frozen=True):
    """An entity type as it is in use (5.7.5–5.7.7)."""

    type: Iri
    count: int
    """Entities that have it."""
    attributes: dict[Iri, frozenset[str]]
    """The attributes that its entities have, each with the attribute types ('Property', …) it appears as among them."""


class AttributeInfo(Struct, frozen=True):
    """An attribute as it is in use (5.7.8–5.7.10)."""

    attribute: Iri
    count: int
    """Its instances, over all entities; each datasetId is one."""
    attribute_types: frozenset[str]
    entity_types: frozenset[Iri]
    """Of the entities that have it."""


@dataclass(frozen=True, slots=True)
class QuarantineGroup:
    """Uplinks of one device that wait, for the list."""

    device_id: str | None
    count: int
    first: Micros
    last: Micros
    reason: str
    """Of the newest."""


class TenantStore(Protocol):
    """One tenant's store. All methods raise StoreUnavailable when it cannot be reached."""

    async def load(self, needs: Needs) -> Snapshot:
        """All that `needs` names, and all epochs, in one consistent read as far as the store can."""
        ...

    async def commit(self, changes: ChangeSet) -> None:
        """Write all of it durably, or nothing. Raises Conflict when an expectation does not hold.

        Concurrent calls are served in the order of the calls.
        """
        ...

    async def epochs(self) -> dict[RecordKind, int]:
        """The epochs as they are now."""
        ...

    async def moved(self, kind: RecordKind, since: int) -> tuple[int, set[str]] | None:
        """An epoch of a followed kind, and the ids of all that was written of it by then since its epoch was `since`.
        None where that is not known any more.
        """
        ...

    async def entity(self, entity_id: str) -> StoredEntity | None:
        """One entity by id."""
        ...

    async def query(self, query: EntityQuery) -> Page:
        """The entities that `query` selects, whole (projection is the caller's).

        With `now`, entities whose own expiresAt is not after it are not there. Pages: by `offset`, whose cost grows with
        it, or by `after`, the `Page.next` of the page before, whose cost does not (`offset` is then passed over). Raises
        BadRequestData for an `after` that the store did not make for this order, TooManyResults when an order that no
        index gives would have to sort more than `MOST_SORTED` entities (offset and limit).
        """
        ...

    def stream(self, query: EntityQuery) -> AsyncIterator[list[Entity]]:
        """All entities that `query` selects, in its order, in batches of some hundreds; `limit`, `offset` and `after` do
        not count. Each entity is there once; all is as of one moment as far as the store can, and with a slow reader at
        least each batch. Raises as `query` does, with the first batch.
        """
        ...

    async def expiring(self, before: Micros, limit: int) -> list[str]:
        """Ids of entities of which something expires before the moment, soonest first: the entity or any instance of an
        attribute (4.22).
        """
        ...

    async def entity_types(self) -> list[Iri]:
        """The types that entities have, in order (5.7.5)."""
        ...

    async def attributes(self) -> list[Iri]:
        """The attributes that entities have, in order (5.7.8)."""
        ...

    async def type_details(self, entity_type: Iri | None = None) -> list[TypeInfo]:
        """What is known of all types, in order, or of one: empty when no entity has it (5.7.6, 5.7.7)."""
        ...

    async def attribute_details(self, attribute: Iri | None = None) -> list[AttributeInfo]:
        """What is known of all attributes, in order, or of one: empty when no entity has it (5.7.9, 5.7.10)."""
        ...

    async def record(self, kind: RecordKind, record_id: str) -> Record | None:
        """One record."""
        ...

    async def records(
        self, kind: RecordKind, *, key: str | None = None, after: str = "", limit: int | None = None
    ) -> list[Record]:
        """Records of a kind in id order, with `key` only those that carry it, after an id, at most `limit`."""
        ...

    async def history(
        self,
        entity_id: str,
        attribute: Iri | None = None,
        *,
        since: Micros | None = None,
        until: Micros | None = None,
        limit: int = 1000,
        newest_first: bool = False,
        superseded: bool = False,
    ) -> list[HistoryRow]:
        """History rows of an entity with since <= observed_at < until, in order of (observed_at, version). `superseded`:
        with those that do not hold any more.
        """
        ...

    async def history_attributes(self, entity_id: str) -> list[Iri]:
        """The attributes that an entity has a history of, in order."""
        ...

    async def uplink(self, uplink_id: str) -> UplinkRow | None:
        """One raw uplink."""
        ...

    async def uplinks(
        self,
        *,
        status: UplinkStatus | None = None,
        device_id: str | None = None,
        after: str = "",
        limit: int = 100,
        newest_first: bool = False,
    ) -> list[UplinkRow]:
        """Raw uplinks in id order (ids are time-ordered), filtered. `after` is an id: those behind it in the order asked."""
        ...

    async def quarantine(self) -> list[QuarantineGroup]:
        """The quarantine, grouped by device, the most recently heard first."""
        ...

    async def outbox_owed(self) -> dict[str, int]:
        """Subscription id -> how many rows wait for it."""
        ...

    async def outbox(self, subscription_id: str, *, after: str = "", limit: int = 100) -> list[OutboxRow]:
        """Rows owed to a subscription, in order, behind the row `after`."""
        ...

    async def dead_letters(
        self, subscription_id: str, *, after: str = "", limit: int = 1000
    ) -> list[tuple[OutboxRow, str]]:
        """What was given up on for a subscription, in order, behind the row `after`, with the reason."""
        ...

    async def backlogs(self, subscription_ids: Collection[str] | None = None) -> dict[str, Backlog]:
        """What these subscriptions are owed; those that are owed nothing are left out. None: all. Counted along an index."""
        ...

    async def history_between(self, since: int, until: int, limit: int) -> list[HistoryRow]:
        """History rows of all entities with since <= version < until that still hold, in order of version: at least `limit`
        where there are as many, and of the last version all, so that another call can go on behind it.
        """
        ...

    async def tail(self, position: str | None) -> Tail:
        """The feed from a position on; None: from now on. Raises PositionGone, also for what is no position."""
        ...

    async def forget_feed(self, before: Micros, limit: int) -> int:
        """Delete at most `limit` rows of the feed from before a time: how many."""
        ...

    async def told(self, entity_id: str, version: int) -> list[Told]:
        """Who was told of a change of an entity, in the order of delivery, as far as it is remembered."""
        ...

    async def forget_told(self, before: Micros) -> int:
        """Forget who was told before a time: how many notifications."""
        ...

    async def forget_history(
        self, entity_id: str, attribute: Iri | None, since: Micros, before: Micros, limit: int
    ) -> int:
        """Delete for good at most `limit` history rows of an entity, of one attribute or of all, with since <= observed_at
        < before; superseded ones, too: how many.
        """
        ...

    async def forget_uplinks(self, device_id: str, since: Micros, before: Micros, limit: int) -> int:
        """Delete for good at most `limit` raw uplinks of a device, received with since <= time < before: how many. Their
        frames are not known any more.
        """
        ...

    async def drop_bytes(self, after: str, before: Micros, limit: int) -> tuple[int, str]:
        """Drop for good the bytes of applied uplinks that came in before a time, and note it in their meta (`BYTES_DROPPED`).

        `limit` uplinks behind the id `after` are looked at. Gives how many were dropped, and the id of the last one that was
        looked at: '' when none was left.
        """
        ...

    async def forget_letters(self, entity_ids: Collection[str], before: Micros) -> int:
        """Delete for good what is owed, was given up on, or stands in the feed, of changes of these entities before a
        time: how many.
        """
        ...

    async def lease(self, name: str, owner: str, seconds: float) -> bool:
        """Take or renew a lease; False when another owner holds it. (An embedded store has one process: always True.)"""
        ...

    async def release(self, names: Iterable[str], owner: str) -> None:
        """Give leases back early."""
        ...

    async def lease_holders(self, names: Collection[str]) -> dict[str, str]:
        """Name -> owner, of those leases that are held. (An embedded store has none.)"""
        ...


class Store(Protocol):
    """A place that holds tenants."""

    async def open(self) -> None:
        """Connect, create what is missing, migrate. Raises StoreTooNew, StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Finish what was committed, let go of everything."""
        ...

    async def ping(self) -> None:
        """Raises StoreUnavailable when the store does not answer."""
        ...

    async def follow(self, moved: Callable[[str], None], alive: Callable[[], None]) -> None:
        """Hear of what other processes write: `moved` is told the tenant whose epochs may have moved, `alive` is called at
        least every other second while nothing can have been missed. Runs until cancelled; returns where there are no
        other processes.
        """
        ...

    async def tenant(self, name: str = "") -> TenantStore:
        """The tenant's store, created if it is not there; '' is the default tenant."""
        ...


def changed_kinds(records: Sequence[RecordWrite]) -> set[RecordKind]:
    """The kinds whose epoch a commit of `records` moves on."""
    return {write.kind for write in records} - UNCOUNTED_KINDS
