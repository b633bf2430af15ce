"""What an entity was like after each change, made again from its history.

A history row is one instance of one attribute as a change left it; the rows of one version of an entity are one change. So
the entity after a change is what it was before, with the rows of the change laid over it. What it was before the first
change that is asked for is looked up attribute by attribute.

What the history does not tell: types are those of the entity now, or those it had when it was deleted; a change of types
alone, and an entity that never had an attribute, left no row. A device's observation that came late was no change.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from broker.clock import DAY, iso
from broker.ngsild.change import AttributeTrigger, EntityChange
from broker.ngsild.model import Attributes, Entity, Iri
from broker.ngsild.names import SCOPE
from broker.stores.base import ENTITY_DELETED, HISTORY_ONLY, HistoryRow, TenantStore

ENTITIES: Final = 1000
"""Entities whose state is kept between two changes, count."""
AHEAD: Final = DAY
"""How far ahead of its recording an observation is looked for, microseconds."""
LOOKED_AT: Final = 100
"""Rows of an attribute that are looked at for what it was, count: of those a few may have come late."""


def changes_of(rows: Iterable[HistoryRow]) -> Iterator[list[HistoryRow]]:
    """The rows of each change, in order of version; `rows` are so ordered."""
    for _, some in groupby(rows, key=lambda row: row.version):
        by_entity: dict[str, list[HistoryRow]] = {}
        for row in some:
            by_entity.setdefault(row.entity_id, []).append(row)
        yield from by_entity.values()


@dataclass(slots=True)
class _Held:
    """An entity between two changes. `rows`: attribute, datasetId -> the row that holds."""

    types: list[Iri]
    created: str
    rows: dict[tuple[Iri, str], HistoryRow] = field(default_factory=dict)

    def entity(self, entity_id: str, modified: str) -> Entity:
        """As an entity."""
        attrs: Attributes = {}
        scope: list[str] | None = None
        for (name, _), row in self.rows.items():
            assert row.instance is not None
            if name == SCOPE:
                value = row.instance["value"]
                scope = value if isinstance(value, list) else [value]
            else:
                attrs.setdefault(name, []).append(row.instance)
        created = self.created or min(
            (one.get("createdAt", modified) for some in attrs.values() for one in some), default=modified
        )
        made: Entity = {
            "id": entity_id,
            "type": self.types,
            "attrs": attrs,
            "createdAt": created,
            "modifiedAt": modified,
        }
        if scope is not None:
            made["scope"] = scope
        return made


class Rebuilder:
    """Goes through changes in order of version; keeps what the last entities were like."""

    def __init__(self, store: TenantStore, wanted: Callable[[str, list[Iri] | None], bool] = lambda *_: True) -> None:
        """`wanted`: whether anybody asks for an entity of this id, of these types (None: not known yet)."""
        self._store = store
        self._wanted = wanted
        self._held: OrderedDict[str, _Held | None] = OrderedDict()
        """None: not wanted."""

    async def change(self, rows: list[HistoryRow]) -> EntityChange | None:
        """The change that these rows are of; None where it changed nothing, or nothing is known of the entity."""
        entity_id, version, recorded = rows[0].entity_id, rows[0].version, iso(rows[0].recorded_at)
        if not self._wanted(entity_id, None):
            return None
        if entity_id in self._held:
            self._held.move_to_end(entity_id)
        else:
            self._held[entity_id] = await self._before(entity_id, version)
            if len(self._held) > ENTITIES:
                self._held.popitem(last=False)
        held = self._held[entity_id]
        if held is None:
            return None
        before = held.entity(entity_id, recorded) if held.rows else None
        there = {name for name, _ in held.rows}
        attributes: dict[Iri, AttributeTrigger] = {}
        for row in rows:
            if not _lay(held.rows, row):
                continue
            if row.instance is None:
                left = any(name == row.attribute for name, _ in held.rows)
                attributes[row.attribute] = "attributeUpdated" if left else "attributeDeleted"
            else:
                attributes[row.attribute] = "attributeUpdated" if row.attribute in there else "attributeCreated"
        if not attributes:
            return None
        attributes.pop(SCOPE, None)
        if held.rows:
            return EntityChange(entity_id, before, held.entity(entity_id, recorded), attributes)
        del self._held[entity_id]  # it may come back as something else
        gone = any(ENTITY_DELETED in (row.lineage or {}) for row in rows)
        after = None if gone else held.entity(entity_id, recorded)
        return EntityChange(entity_id, before, after, attributes) if before is not None else None

    async def _before(self, entity_id: str, version: int) -> _Held | None:
        """The entity as it was before a version."""
        stored = await self._store.entity(entity_id)
        held = _Held(stored.entity["type"], stored.entity["createdAt"]) if stored is not None else _Held([], "")
        if held.types and not self._wanted(entity_id, held.types):
            return None
        for attribute in await self._store.history_attributes(entity_id):
            for row in sorted(await self._earlier(entity_id, attribute, version), key=lambda row: row.version):
                _lay(held.rows, row)
        if stored is None:
            held.types = await self._types_at_the_end(entity_id)
        if not held.types:
            record = await self._store.record("evolution", entity_id)
            if record is None:
                return None
            held.types = record.body["type"]
        return held if self._wanted(entity_id, held.types) else None

    async def _earlier(self, entity_id: str, attribute: Iri, version: int) -> list[HistoryRow]:
        """The newest rows of an attribute from before a version, by when they were observed."""
        found: list[HistoryRow] = []
        until = version + AHEAD  # versions are times
        while True:
            page = await self._store.history(entity_id, attribute, until=until, limit=LOOKED_AT, newest_first=True)
            found += [row for row in page if row.version < version]
            if len(page) < LOOKED_AT or len(found) >= LOOKED_AT:
                return found
            last = page[-1].observed_at
            until = last + 1 if last + 1 < until else last

    async def _types_at_the_end(self, entity_id: str) -> list[Iri]:
        """The types that an entity had when it was deleted."""
        for row in await self._store.history(entity_id, limit=LOOKED_AT, newest_first=True):
            if row.lineage is not None and ENTITY_DELETED in row.lineage:
                types: list[Iri] = row.lineage[ENTITY_DELETED]
                return types
        return []


def _lay(held: dict[tuple[Iri, str], HistoryRow], row: HistoryRow) -> bool:
    """Lay a row over what is held; False where it changes nothing."""
    if row.lineage is not None and HISTORY_ONLY in row.lineage:
        return False
    place = (row.attribute, row.dataset_id)
    there = held.get(place)
    if row.instance is None:
        held.pop(place, None)
        return there is not None
    if row.uplink_id is not None and there is not None and row.observed_at < there.observed_at:
        return False  # late
    held[place] = row
    return True
