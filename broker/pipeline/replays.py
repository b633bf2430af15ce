"""Replays: what the history holds of a period, or what was given up on, is owed to a subscription again.

A replay is a record (kind 'replay', by its subscription's id); whichever process holds its lease does the next part of it.
The rows that a part owes and how far it came are one commit, so a replay goes on after any end, and owes nothing twice.

    {"id": …, "what": "history", "from": micros, "to": micros, "cursor": version, "rows": count, "state": "running", …}
    {"id": …, "what": "deadLetters", "cursor": row id, "to": row id, …}
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from broker.clock import Clock, Micros, Stamp, iso
from broker.errors import AlreadyExists, BrokerError, ResourceNotFound, StoreUnavailable
from broker.history.rebuild import Rebuilder, changes_of
from broker.ngsild.model import Entity, Iri
from broker.pipeline.personal import PersonalData
from broker.query.ast import EntityQuery
from broker.query.match import compile_query
from broker.stores.base import ChangeSet, Conflict, Needs, OutboxRow, Record, RecordWrite, Snapshot, TenantStore
from broker.stores.command import Effects, View
from broker.subscriptions.delivery import Delivery
from broker.subscriptions.index import SubscriptionIndex
from broker.subscriptions.lane import REPLAYED
from broker.subscriptions.linked import Pending, owed_by_links
from broker.subscriptions.model import UNLIMITED
from broker.subscriptions.owed import owed
from broker.subscriptions.subscription import Subscription, compile_subscription

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
"""How often it is looked for replays to go on with."""
CONFLICT_SECONDS: Final = 0.05
ROWS: Final = 500
"""History rows, or dead letters, of one part, count."""
AHEAD: Final = 2000
"""Rows that a subscription may be owed while its replay goes on, count: beyond it, the replay waits for the delivery."""
OPEN: Final = "open"
"""Key of replays that are not done."""
SHOWN: Final = ("id", "what", "state", "rows")


@dataclass(frozen=True, slots=True)
class StartReplay:
    """Begin a replay. Raises ResourceNotFound; AlreadyExists while another of the same subscription runs."""

    subscription_id: str
    body: dict[str, Any]

    def needs(self, seen: Snapshot) -> Needs:
        """The subscription, and its last replay."""
        return Needs(records={("subscription", self.subscription_id), ("replay", self.subscription_id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[dict[str, Any]]:
        """The record."""
        if view.record("subscription", self.subscription_id) is None:
            raise ResourceNotFound(f"There is no subscription '{self.subscription_id}'.")
        present = view.record("replay", self.subscription_id)
        if present is not None and present.body["state"] == "running":
            raise AlreadyExists(
                f"A replay of '{self.subscription_id}' is under way already ({present.body['id']}): wait for its end, or "
                "discard what is owed, which ends it."
            )
        body = {**self.body, "id": view.new_id(), "state": "running", "rows": 0, "startedAt": stamp.now}
        expected = present.version if present is not None else 0
        write = RecordWrite("replay", self.subscription_id, body, stamp.version, expected, (OPEN,))
        return Effects(body, records=[write])


@dataclass(frozen=True, slots=True)
class EndReplay:
    """End a replay that runs: it owes nothing more."""

    subscription_id: str
    state: str = "cancelled"

    def needs(self, seen: Snapshot) -> Needs:
        """The replay."""
        return Needs(records={("replay", self.subscription_id)})

    def apply(self, view: View, stamp: Stamp) -> Effects[None]:
        """Its record says so."""
        present = view.record("replay", self.subscription_id)
        if present is None or present.body["state"] != "running":
            return Effects(None)
        body = {**present.body, "state": self.state, "endedAt": stamp.now}
        write = RecordWrite("replay", self.subscription_id, body, stamp.version, present.version)
        return Effects(None, records=[write])


def history_replay(since: Micros, until: Micros) -> dict[str, Any]:
    """A replay of what was recorded from `since` on and before `until`."""
    return {"what": "history", "from": since, "to": until, "cursor": since}


def letters_replay(version: int) -> dict[str, Any]:
    """A replay of the dead letters of changes before a version."""
    return {"what": "deadLetters", "to": f"{version:016x}", "cursor": ""}


def shown_replay(record: Record | None) -> dict[str, Any] | None:
    """As the management API shows it."""
    if record is None:
        return None
    body = record.body
    shown: dict[str, Any] = {name: body[name] for name in SHOWN}
    shown["startedAt"], shown["endedAt"] = iso(body["startedAt"]), iso(body["endedAt"]) if "endedAt" in body else None
    if body["what"] == "history":
        shown |= {"from": iso(body["from"]), "to": iso(body["to"]), "position": iso(min(body["cursor"], body["to"]))}
    return shown


class Replays:
    """One tenant's. `run` until `stop`."""

    def __init__(
        self,
        store: TenantStore,
        delivery: Delivery,
        clock: Clock,
        personal: PersonalData,
        owner: str,
        lease_seconds: float,
    ) -> None:
        """`owner` names this process in leases."""
        self._lease_seconds = lease_seconds
        self._store = store
        self._delivery = delivery
        self._clock = clock
        self._personal = personal
        self._owner = owner
        self._stopped = asyncio.Event()
        self._rebuilders: dict[str, tuple[str, int, Rebuilder]] = {}
        """Subscription id -> (replay, cursor, what the last entities were like there)."""

    async def run(self) -> None:
        """Do one part of each replay in turn, until `stop`."""
        while not self._stopped.is_set():
            try:
                moved = await self._round()
            except StoreUnavailable as error:
                log.warning("replay.store_unavailable", reason=error.detail)
                moved = False
            try:
                async with asyncio.timeout(0 if moved else LOOK_SECONDS):
                    await self._stopped.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """End after the part under way."""
        self._stopped.set()

    async def _round(self) -> bool:
        """Whether any replay came further."""
        moved = False
        records = await self._store.records("replay", key=OPEN, limit=100)
        for gone in self._rebuilders.keys() - {record.id for record in records}:
            del self._rebuilders[gone]
        for record in records:
            name = f"replay:{record.id}"
            if self._stopped.is_set() or not await self._store.lease(name, self._owner, self._lease_seconds):
                continue
            try:
                moved |= await self._part(record)
            except Conflict:
                self._rebuilders.pop(record.id, None)  # it was ended, or the delivery was at the same rows
                moved = True
                await asyncio.sleep(CONFLICT_SECONDS)
            except StoreUnavailable:
                raise
            except (BrokerError, LookupError, TypeError, ValueError):
                log.exception("replay.failed", subscription=record.id)
                await self._write(record, {"state": "failed", "endedAt": self._clock.now()}, ChangeSet())
            if not moved:
                await self._store.release([name], self._owner)
        return moved

    async def _part(self, record: Record) -> bool:
        backlog = (await self._store.backlogs([record.id])).get(record.id)
        if backlog is not None and backlog.owed >= AHEAD:
            return False
        if record.body["what"] == "history":
            return await self._history(record)
        return await self._letters(record)

    async def _letters(self, record: Record) -> bool:
        """Put dead letters back into the outbox, in order."""
        body = record.body
        page = await self._store.dead_letters(record.id, after=body["cursor"], limit=ROWS)
        ids = [row.id for row, _ in page if row.id <= body["to"]]
        changes = ChangeSet(revived=ids)
        if not ids:
            await self._write(record, _done(body, self._clock.now()), changes)
            return True
        steering = await self._store.record("steering", record.id)
        now = self._clock.now()
        fresh = {**(steering.body if steering is not None else {}), "fresh_at": now}
        version = self._clock.stamp().version
        expected = steering.version if steering is not None else 0
        changes.records.append(RecordWrite("steering", record.id, fresh, version, expected))
        await self._write(record, {"cursor": ids[-1], "rows": body["rows"] + len(ids)}, changes)
        self._delivery.refresh()
        self._delivery.look(record.id)
        return True

    async def _history(self, record: Record) -> bool:
        """Owe the next changes of the period, those that the subscription as it is now would be told of."""
        body = record.body
        subscription = await self._store.record("subscription", record.id)
        if subscription is None:
            await self._write(record, {"state": "cancelled", "endedAt": self._clock.now()}, ChangeSet())
            return True
        rows = await self._store.history_between(body["cursor"], body["to"], ROWS)
        if not rows:
            await self._write(record, _done(body, self._clock.now()), ChangeSet())
            return True
        index = SubscriptionIndex([subscription])
        rebuilder = self._rebuilder(record, subscription)
        personal = await self._personal.now()
        stamp = self._clock.stamp()
        made: list[OutboxRow] = []
        pending: list[Pending] = []
        serial = 0
        for some in changes_of(rows):
            change = await rebuilder.change(some)
            if change is None:
                continue
            then = Stamp(some[0].recorded_at, iso(some[0].recorded_at), stamp.version)
            granted = personal.entity(change.entity_id)
            if index.match(change, stamp.now, granted=granted):
                shows = index.shows_changes(record.id)
                made.append(owed(change, record.id, then.version, then.now, serial, body["id"], previous=shows))
            linked = index.match_linked(change, stamp.now, granted=granted)
            pending.extend(Pending(change, one, then, serial, body["id"], personal) for one in linked)
            serial += 1
        if pending:
            made += await owed_by_links(pending, View(Snapshot(), self._clock.new_id), self._store)
        made = [
            OutboxRow(f"{row.id}{REPLAYED}{body['id']}", row.subscription_id, row.entity_id, stamp.now, row.body)
            for row in made
        ]
        cursor = rows[-1].version + 1
        await self._write(record, {"cursor": cursor, "rows": body["rows"] + len(made)}, ChangeSet(outbox=made))
        self._rebuilders[record.id] = (body["id"], cursor, rebuilder)
        if made:
            self._delivery.look(record.id)
        return True

    def _rebuilder(self, record: Record, subscription: Record) -> Rebuilder:
        """The one that came as far as the replay has, else a fresh one."""
        replay, cursor, rebuilder = self._rebuilders.get(record.id, ("", 0, None))
        if rebuilder is None or (replay, cursor) != (record.body["id"], record.body["cursor"]):
            return Rebuilder(self._store, _wanted(compile_subscription(subscription.body, UNLIMITED)))
        return rebuilder

    async def _write(self, record: Record, members: dict[str, Any], changes: ChangeSet) -> None:
        """Commit a part together with how far it came. Raises Conflict when another was first."""
        body = {**record.body, **members}
        keys = (OPEN,) if body["state"] == "running" else ()
        version = self._clock.stamp(after=record.version).version
        changes.records.append(RecordWrite("replay", record.id, body, version, record.version, keys))
        await self._store.commit(changes)
        if body["state"] != "running":
            log.info("replay.ended", subscription=record.id, replay=body["id"], state=body["state"], rows=body["rows"])


def _wanted(subscription: Subscription) -> Callable[[str, list[Iri] | None], bool]:
    """Whether a subscription may be about an entity, as far as its id and its types tell."""
    queries = [selector.query for selector in subscription.selectors]
    tests = [
        (
            compile_query(EntityQuery(ids=each.ids, id_pattern=each.id_pattern)),
            compile_query(EntityQuery(types=each.types)),
        )
        for each in queries
    ]

    def wanted(entity_id: str, types: list[Iri] | None) -> bool:
        entity: Entity = {"id": entity_id, "type": types or [], "attrs": {}, "createdAt": "", "modifiedAt": ""}
        return any(by_id(entity) and (types is None or by_type(entity)) for by_id, by_type in tests)

    return wanted


def _done(body: dict[str, Any], now: Micros) -> dict[str, Any]:
    return {"state": "done", "endedAt": now}
